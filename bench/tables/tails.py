"""The tail of a series in tables: p50, p95 and p99 with their intervals, and whether a limit is kept.

Also the tables of cases in files: `generations` and `images`, one row per measured case.
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
from bench.tables.columns import Shown, TableColumn, flag, integer, read, real, shown_columns, text
from bench.tables.document import Block, Document, Notes, Rows
from bench.tables.figures import plain
from bench.tables.table import Column

Series = Callable[[Any], tuple[float, ...]]


def tail_columns(name: str, what: str, series: Series, *, skips_median: bool = False) -> tuple[TableColumn, ...]:
    """Make the columns of a series' quantiles, in files and, in the view `tail`, on screens.

    Args:
        name: Begins the columns' names.
        what: The values, in words.
        series: Reads them off a row, in the order they were taken.
        skips_median: The table has it already.
    """
    columns: list[TableColumn] = []
    for place, probability in enumerate(PROBABILITIES):
        short = f"p{probability * 100:.0f}"

        def get(field: str, probability: float = probability) -> Callable[[Any], Any]:
            return lambda row: read(field)(tail_of(series(row), probability))

        def words(row: Any, probability: float = probability) -> str | None:
            return _text(row, series, probability)

        shown = Shown(name=short, view="tail", place=90 + place, get=words, write=str)
        if skips_median and probability == 0.5:
            columns.append(real(f"{name}_{short}_seconds", "s", "", get("point"), shown, stored=False))
            continue
        worth = f"empty below {counted(round(1 / (1 - probability)), 'independent value')}"
        columns += [
            real(
                f"{name}_{short}_seconds",
                "s",
                f"{probability * 100:.0f} % of {what} took at most so long; {worth}",
                get("point"),
                shown,
            ),
            real(f"{name}_{short}_low_seconds", "s", "lower end of its 95 % interval; alone, a bound", get("low")),
            real(f"{name}_{short}_high_seconds", "s", "upper end; empty where the values are too few", get("high")),
        ]
    return tuple(columns)


def _text(row: Any, series: Series, probability: float) -> str | None:
    found = tail_of(series(row), probability)
    return None if found is None else tail_text(found)


def tail_text(found: Tail) -> str:
    """Write `12.3 ms (11.9 ms..13.1 ms)`, or the bound and how many values an interval needs."""
    if found.high is not None and found.point is not None:
        return f"{format_seconds(found.point)} ({format_seconds(found.low)}..{format_seconds(found.high)})"
    bound = "-" if found.low is None else f"≥ {format_seconds(found.low)}"
    return f"{bound} ({found.n} of {found.needed})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailed:
    """Cases whose tail was asked for.

    Attributes:
        rows: Those that were measured.
        names: Of the cases, for people.
        what: The values, in words.
    """

    columns: Sequence[TableColumn]
    rows: Sequence[Any]
    names: Sequence[str]
    series: Series
    what: str

    def check(self, limit: Limit | None) -> tuple[CheckedLimit, ...]:
        """Hold each against a limit; none without one."""
        if limit is None:
            return ()
        pairs = zip(self.names, self.rows, strict=True)
        return tuple(check_limit(name, self.series(row), limit) for name, row in pairs)

    def document(self, checked: Sequence[CheckedLimit], *, has_tail: bool) -> Document:
        """Write the quantiles, where they were asked for, and whether the limit is kept."""
        blocks: list[Block] = []
        if has_tail and self.rows:
            values = tuple(str(len(self.series(row))) for row in self.rows)
            names = Column(name="tail", cells=tuple(plain(name) for name in self.names), right=False, key=True)
            shown = shown_columns(self.columns, self.rows, "tail")
            caption = f"Quantiles of {self.what} with 95 % intervals; ≥ is a bound (values of those an interval needs)"
            columns = [names, *shown, Column(name="values", cells=values, rank=1)]
            blocks.append(Rows(columns=columns, caption=caption, shows_caption=True))
        if checked:
            blocks.append(Notes(lines=[plain(_limit_text(one)) for one in checked], first="", indent="  "))
        return blocks


def tailed_cases(measured: Sequence[Any]) -> Tailed:
    """Take the generations, or the sampled images, that were measured."""
    rows = [one for one in measured if one.times is not None]
    is_text = not any(isinstance(one, Sampled) for one in measured)
    return Tailed(
        columns=GENERATIONS if is_text else IMAGES,
        rows=rows,
        names=[one.case.id for one in rows],
        series=token_seconds if is_text else step_seconds,
        what="the further tokens" if is_text else "the denoising steps",
    )


def tailed_cells(records: Sequence[Record]) -> Tailed:
    """Take the inferences that were measured."""
    rows = [_Cell(record) for record in records if record.outcome is Outcome.OK and record.cell.mode is Mode.INFER]
    columns = tail_columns("step", "", infer_seconds)
    return Tailed(
        columns=columns, rows=rows, names=[r.record.cell.id for r in rows], series=infer_seconds, what="steps"
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    record: Record


def _limit_text(one: CheckedLimit) -> str:
    limit = f"{one.limit.name} <= {format_seconds(one.limit.seconds)}"
    over = f"{one.over} of {counted(one.n, 'value')} over it, worth {one.n_effective:.0f}"
    verdict = one.verdict.value
    if one.verdict is LatencyVerdict.UNDECIDED:
        verdict = f"needs {one.more} more, none of them over it"
    return f"{one.name}: {limit}: {verdict} ({over})"


def infer_seconds(row: Any) -> tuple[float, ...]:
    """Return the steps of an inference's row; of a training none, whose tail nobody waits for."""
    record = row.record
    return tuple(record.sample_seconds(Phase.STEP)) if record.cell.mode is Mode.INFER else ()


def _case(*own: TableColumn) -> tuple[TableColumn, ...]:
    return (
        text("case_id", "the case's name for people", "case.id"),
        text("model", "as typed, with its options", "case.cell.model"),
        integer("batch_size", "examples", "texts or images at once", "case.cell.batch_size"),
        text("device", "where it ran", "case.cell.device"),
        text("precision", "of weights and arithmetic", "case.cell.precision"),
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
        integer("prompt_tokens", "tokens", "of every text", "case.prompt_tokens"),
        integer("new_tokens", "tokens", "written per text", "case.new_tokens"),
        flag("uses_cache", "false reads the whole text for every token", "case.uses_cache"),
    ),
    *_estimate("first_token", "the time to the first token", lambda row: summarise_generation(row).first_token),
    *tail_columns("token", "the further tokens", token_seconds),
    real(
        "prefill_tokens_per_second",
        "tokens/s",
        "of the prompts",
        lambda row: summarise_generation(row).prefill_tokens_per_second,
    ),
    real(
        "decode_tokens_per_second",
        "tokens/s",
        "of the further tokens, all texts of the batch",
        lambda row: summarise_generation(row).decode_tokens_per_second,
    ),
)
IMAGES = (
    *_case(
        integer("steps", "steps", "of denoising", "case.steps"),
        real("guidance", "", "weight of the text; 1 is none", "case.guidance"),
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
