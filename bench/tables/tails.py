"""The tail of a series in tables: p50, p95 and p99 with their intervals, and whether a limit is kept.

Also the columns of `generations` and `images` in files, one row per measured case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.cell import Mode
from bench.core.claim import CheckedLimit, LatencyVerdict, Limit
from bench.core.generation import Sampled
from bench.core.record import Outcome, Phase, Record
from bench.core.units import counted, format_seconds
from bench.stats.generation import step_seconds, summarise_generation, summarise_sampling, token_seconds
from bench.stats.tails import PROBABILITIES, Tail, check_limit, tail_of
from bench.tables.columns import MISSING, TableColumn, flag, integer, read, real, text
from bench.tables.document import Block, Document, Notes, Rows
from bench.tables.figures import plain
from bench.tables.table import Column

Series = Callable[[Any], tuple[float, ...]]
STEPS = "steps"


def tail_columns(name: str, what: str, series: Series, *, skips_median: bool = False) -> tuple[TableColumn, ...]:
    """Make the columns of a series' quantiles in files.

    Args:
        name: Beginning of the columns' names.
        what: The values, in words.
        series: Reads the values from a row, in the order they were taken.
        skips_median: Whether the file has the median already.
    """
    columns: list[TableColumn] = []
    for probability in PROBABILITIES[skips_median:]:
        short = f"p{probability * 100:.0f}"

        def get(field: str, probability: float = probability) -> Callable[[Any], Any]:
            return lambda row: read(field)(tail_of(series(row), probability))

        worth = f"empty below {counted(round(1 / (1 - probability)), 'independent value')}"
        columns += [
            real(
                f"{name}_{short}_seconds",
                "s",
                f"{probability * 100:.0f} % of {what} took at most this long; {worth}",
                get("point"),
            ),
            real(
                f"{name}_{short}_low_seconds",
                "s",
                "lower end of its 95 % interval; without an upper end, a bound",
                get("low"),
            ),
            real(f"{name}_{short}_high_seconds", "s", "upper end; empty if there are too few values", get("high")),
        ]
    return tuple(columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailed:
    """Cases whose tail was asked for.

    Attributes:
        rows: Cases that were measured.
        names: Names of the cases, for people.
        what: The values, in words.
    """

    rows: Sequence[Any]
    names: Sequence[str]
    series: Series
    what: str

    def check(self, limit: Limit | None) -> tuple[CheckedLimit, ...]:
        """Compare each case with a limit; empty without a limit."""
        if limit is None:
            return ()
        pairs = zip(self.names, self.rows, strict=True)
        return tuple(check_limit(name, self.series(row), limit) for name, row in pairs)

    def document(self, checked: Sequence[CheckedLimit], *, has_tail: bool) -> Document:
        """Write the quantiles, if they were asked for, and whether the limit is kept."""
        blocks: list[Block] = []
        if has_tail and self.rows:
            caption = f"Quantiles of {self.what}; ≥ is a bound, where the values are fewer than an interval needs"
            blocks.append(Rows(columns=self._columns(), caption=caption, shows_caption=True))
        if checked:
            blocks.append(Notes(lines=[plain(self._limit_text(one)) for one in checked], first="", indent="  "))
        return blocks

    def _limit_text(self, one: CheckedLimit) -> str:
        of = "" if self.what == STEPS else f" of {self.what}"
        limit = f"{one.limit.name}{of} <= {format_seconds(one.limit.seconds)}"
        over = f"{one.over:,} of {counted(one.n, 'value')} over it, worth {one.n_effective:,.0f}"
        verdict = one.verdict.value
        if one.verdict is LatencyVerdict.UNDECIDED:
            verdict = f"needs {one.more:,} more, none of them over it"
        return f"{one.name}: {limit}: {verdict} ({over})"

    def _columns(self) -> list[Column]:
        """Make a line per quantile: side by side, three of them with their intervals are wider than a terminal."""
        lines = []
        for name, row in zip(self.names, self.rows, strict=True):
            n = len(self.series(row))
            for probability in PROBABILITIES:
                found = tail_of(self.series(row), probability)
                point = format_seconds(found.point) if found and found.high is not None else MISSING
                values = f"{n:,} of {found.needed:,}" if found and found.needed else f"{n:,}"
                interval = _interval(found) if found else MISSING
                lines.append((plain(name), f"p{probability * 100:.0f}", point, interval, values))
        names, quantiles, points, intervals, counts = zip(*lines, strict=True)
        return [
            Column(name="tail", cells=names, right=False, key=True),
            Column(name="", cells=quantiles, right=False, key=True),
            Column(name="at most", cells=points),
            Column(name="95 % interval", cells=intervals),
            Column(name="values", cells=counts),
        ]


def _interval(found: Tail) -> str:
    """Write `11.9 ms..13.1 ms`, or a bound where there is no upper end."""
    if found.high is not None:
        return f"{format_seconds(found.low)}..{format_seconds(found.high)}"
    return MISSING if found.low is None else f"≥ {format_seconds(found.low)}"


def tailed_cases(measured: Sequence[Any]) -> Tailed:
    """Return the tails of the generations, or of the sampled images, that were measured."""
    rows = [one for one in measured if one.times is not None]
    is_text = not any(isinstance(one, Sampled) for one in measured)
    return Tailed(
        rows=rows,
        names=[one.case.id for one in rows],
        series=token_seconds if is_text else step_seconds,
        what="the further tokens" if is_text else "the denoising steps",
    )


def tailed_cells(records: Sequence[Record]) -> Tailed:
    """Return the tails of the inferences that were measured."""
    rows = [record for record in records if record.outcome is Outcome.OK and record.cell.mode is Mode.INFER]
    return Tailed(rows=rows, names=[record.cell.id for record in rows], series=_step_seconds, what=STEPS)


def infer_seconds(row: Any) -> tuple[float, ...]:
    """Return the steps of an inference's row; none for a training, which has no tail."""
    return _step_seconds(row.record) if row.record.cell.mode is Mode.INFER else ()


def _step_seconds(record: Record) -> tuple[float, ...]:
    return tuple(record.sample_seconds(Phase.STEP))


def _case(*own: TableColumn) -> tuple[TableColumn, ...]:
    return (
        text("case_id", "the case's name for people", "case.id"),
        text("model", "model as typed, with its options", "case.cell.model"),
        integer("batch_size", "examples", "texts or images at once", "case.cell.batch_size"),
        text("device", "device on which it ran", "case.cell.device"),
        text("precision", "precision of weights and arithmetic", "case.cell.precision"),
        *own,
        text("outcome", "how the case ended; all but `ok` have a reason", "outcome"),
        text("reason", "why it did not end `ok`, or what could not be counted", "reason"),
    )


def _estimate(name: str, meaning: str, get: Callable[[Any], Any]) -> tuple[TableColumn, ...]:
    return (
        real(f"{name}_median_seconds", "s", f"median of {meaning}", lambda row: read("point")(get(row))),
        real(f"{name}_low_seconds", "s", "lower end of its 95 % interval", lambda row: read("low")(get(row))),
        real(f"{name}_high_seconds", "s", "upper end", lambda row: read("high")(get(row))),
    )


GENERATIONS = (
    *_case(
        integer("prompt_tokens", "tokens", "tokens of the prompt of every text", "case.prompt_tokens"),
        integer("new_tokens", "tokens", "tokens written per text", "case.new_tokens"),
        flag("uses_cache", "whether a cache is used; else the whole text is read for every token", "case.uses_cache"),
    ),
    *_estimate("first_token", "the time to the first token", lambda row: summarise_generation(row).first_token),
    *tail_columns("token", "the further tokens", token_seconds),
    real(
        "prefill_tokens_per_second",
        "tokens/s",
        "throughput of the prompts",
        lambda row: summarise_generation(row).prefill_tokens_per_second,
    ),
    real(
        "decode_tokens_per_second",
        "tokens/s",
        "throughput of the further tokens, of all texts of the batch",
        lambda row: summarise_generation(row).decode_tokens_per_second,
    ),
)
IMAGES = (
    *_case(
        integer("steps", "steps", "denoising steps", "case.steps"),
        real("guidance", "", "weight of the text; 1 is no guidance", "case.guidance"),
        text("sampler", "`ddim` or `ddpm`", "case.sampler"),
    ),
    *_estimate("image", "the time per image", lambda row: summarise_sampling(row).image),
    *tail_columns("step", "the denoising steps", step_seconds),
    real(
        "images_per_second",
        "images/s",
        "1 / `image_median_seconds`",
        lambda row: summarise_sampling(row).images_per_second,
    ),
)
