"""The source of one row of `cells`, the readers of its columns, and the columns that name a row."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from bench.core.record import UNMARKED, Outcome, Phase, Record
from bench.stats.cold import Payback, Start, paybacks, start_of
from bench.stats.rank_scaling import RankScaling, main_rank_scalings
from bench.stats.summary import Summary, summarise
from bench.suite.axes import AXES
from bench.tables.figures import percent, plain, significant, with_noise
from bench.tables.table import Column


@dataclass(frozen=True)  # without slots, for `start`
class CellRow:
    """The source of one row of `cells`."""

    record: Record
    summary: Summary
    scaling: RankScaling | None = None
    payback: Payback | None = None

    @functools.cached_property  # seven columns ask
    def start(self) -> Start:
        """Figures of the cell's start."""
        return start_of(self.record)


def cell_rows(records: tuple[Record, ...]) -> list[CellRow]:
    """Make one row per cell, also of those that were skipped or failed."""
    found = zip(records, main_rank_scalings(records), paybacks(records, records), strict=True)
    return [CellRow(record, summarise(record), scaling, payback) for record, scaling, payback in found]


def process_count(row: CellRow) -> int | None:
    """Count the fresh processes that the steps come from."""
    return len({sample.process for sample in row.record.samples if sample.phase is Phase.STEP}) or None


def has_converged(row: CellRow) -> bool | None:
    """Whether all samples of the step reached their target; None if unknown."""
    known = [s.converged for s in row.record.samples if s.phase is Phase.STEP and s.converged is not None]
    return all(known) if known else None


def are_texts(rows: Sequence[CellRow]) -> bool:
    """Whether every cell that was timed takes tokens, so that tokens are what the table is about."""
    timed = [row.summary for row in rows if row.summary.step is not None]
    return bool(timed) and all(summary.tokens_per_second is not None for summary in timed)


def bound_mark(row: CellRow) -> str:
    """Return the sign before FLOPs that are a lower bound."""
    flops = row.record.counters.flops
    return "≥" if flops and flops.is_lower_bound else ""


def phase_share(summary: Summary, phase: Phase | str) -> float | None:
    """Divide a phase by the unsplit step."""
    seconds, step = summary.phase(phase), summary.step
    return seconds / step.point if seconds is not None and step and step.point else None


def own_phases(row: CellRow) -> str | None:
    """Name the phases that a user's own step marked, each with its share of the unsplit step."""
    own = (phase for phase, _ in row.summary.phases if phase not in tuple(Phase) and not _is_little(row, phase))
    return ", ".join(f"{plain(phase)} {percent(phase_share(row.summary, phase))}" for phase in own) or None


def _is_little(row: CellRow, phase: Phase | str) -> bool:
    """Whether it is what the marks leave between them: unmarked, and below 1 % of the step."""
    return phase == UNMARKED and (phase_share(row.summary, phase) or 0.0) < 0.01


def opinions(row: CellRow) -> str:
    """Describe whether every other counter agrees with ours, or its share of our count."""
    ours = row.record.counters.flops.forward if row.record.counters.flops else None
    return ", ".join(f"{plain(o.counter)} {_opinion(o.forward_flops, ours)}" for o in row.record.counters.opinions)


def _opinion(theirs: int | None, ours: int | None) -> str:
    if theirs is None:
        return "?"
    if not ours:
        return f"{theirs:,}"
    return "agrees" if theirs == ours else f"{significant(theirs / ours)}x"


def communication(row: CellRow) -> tuple[str | None, str]:
    """Write the share of communication and its noise."""
    one = row.scaling
    share, half = (one.communication_fraction, one.communication_half_width) if one else (None, None)
    if share is None:
        return None, ""
    if half is None or share <= 0:
        return f"{share * 100:.0f}", significant(half * 100, 1) if half else ""
    return with_noise(share * 100, half * 100)


def is_frozen(rows: Sequence[CellRow]) -> bool:
    """Whether a model has parameters without a gradient."""
    counters = [row.record.counters for row in rows]
    return any(c.trainable_parameters not in (None, c.parameters) for c in counters)


def peak_bytes(record: Record) -> tuple[int | None, str]:
    """Return the peak to show and its mark: `≈` if it is only predicted."""
    name, value = record.counters.shown_peak or ("", None)
    return value, "≈" if name == "predicted_peak_bytes" else ""


ALWAYS_KEYS = ("model", "batch_size", "precision")
FEW_KEYS = ("model", "batch_size")
"""Of tables that have no room for a precision that is the same in all rows."""

_KEY_ORDER = ("model", "mode", "device", "batch_size", "precision")


def varying_axes(records: Sequence[Record], always: Sequence[str] = ALWAYS_KEYS) -> tuple[str, ...]:
    """Return the axes that distinguish the rows of a table, and those that are always shown."""
    names = [*_KEY_ORDER, *(name for name in AXES if name not in _KEY_ORDER)]
    cells = [record.cell for record in records]
    return tuple(name for name in names if name in always or len(set(map(attrgetter(name), cells))) > 1)


def key_columns(records: Sequence[Record], always: Sequence[str] = ALWAYS_KEYS) -> list[Column]:
    """Make the columns that name a row."""
    return [
        Column(
            name=AXES[name].about.header or name,
            cells=tuple(plain(AXES[name].words(getattr(record.cell, name))) for record in records),
            right=AXES[name].is_number,
            key=True,
            tight=name == "precision",
        )
        for name in varying_axes(records, always)
    ]


def outcome_text(record: Record) -> str | None:
    """Explain why a row has no figures, `OUT OF MEMORY: ...`; None if it has some."""
    if record.outcome is Outcome.OK:
        return None
    name = record.outcome.value.replace("_", " ").upper()
    return f"{name}: {plain(record.reason)}" if record.reason else name


def outcome_styles(records: Sequence[Record]) -> dict[int, str | None]:
    """Colour the rows of cells that did not end ok."""
    return {
        row: "yellow" if record.outcome is Outcome.SKIPPED else "red"
        for row, record in enumerate(records)
        if record.outcome is not Outcome.OK
    }
