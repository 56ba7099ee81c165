"""Comparisons as text: a table, a reason per verdict, and doubts.

Every verdict gets its reason with the numbers behind it, in one line. A bisection has a row per confirmed step, then
sentences on what explains the rest and what is unknown.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from bench.core.comparison import (
    Bisected,
    BisectVerdict,
    Commit,
    Comparison,
    ComparisonReason,
    ComparisonVerdict,
    Heading,
    Likely,
    Narrowed,
    Settled,
    ShownBy,
    Step,
)
from bench.core.precision import Precision
from bench.core.units import counted, format_duration, listed
from bench.stats.looks import FEWEST_SESSIONS
from bench.tables.document import Block, Document, Notes, Rows, Text, Verdict
from bench.tables.figures import plain, significant, tally, time_unit
from bench.tables.history import sparkline
from bench.tables.table import Column

_COUNTS = {
    "parameters": "parameters",
    "trainable_parameters": "trainable parameters",
    "flops": "FLOPs per step",
    "dispatches": "operations per step",
    "bytes_touched": "bytes touched per step",
}


def change(shift: float | None) -> str:
    """Write a log-ratio as a change in percent with its sign: `+5.1`."""
    if shift is None:
        return "-"
    percent = math.expm1(shift) * 100
    return f"{percent:+.1f}" if abs(percent) < 99.95 else f"{percent:+.0f}"


def ratio_text(comparison: Comparison, a: str, b: str, per: str) -> str:
    """Write two cells' comparison as a ratio: `B takes 1.43 times as long as A per example (1.41 to 1.45): slower`."""
    if comparison.shift is None:
        return f"{b} against {a}, per {per}: not measured"
    interval = ""
    if comparison.low is not None and comparison.high is not None:
        interval = f" ({math.exp(comparison.low):.3f} to {math.exp(comparison.high):.3f})"
    ratio = f"{math.exp(comparison.shift):.3f}"
    return f"{b} takes {ratio} times as long as {a}{interval}: {comparison.verdict.value} per {per}"


def sessions_in_words(stages: Sequence[str]) -> str:
    """Count sessions, of older files by stage: `6 sessions + 8 to confirm + 6 to extend`."""
    further = "".join(f" + {stages.count(stage)} to {stage}" for stage in ("confirm", "extend") if stage in stages)
    return f"{counted(len(stages) - stages.count('confirm') - stages.count('extend'), 'session')}{further}"


def percent_of(shift: float | None) -> str:
    """Write a log-ratio as percent without a sign; `-` for None."""
    return change(shift).removeprefix("+")


def reason_text(comparison: Comparison) -> str:
    """Explain the verdict in one line."""
    facts = dict(comparison.facts)
    tolerated, fail_at = _share(facts, "tolerate", 0.05), _share(facts, "fail_at", 0.02)
    shift = f"{change(comparison.shift)} %"
    p = "" if comparison.p_adjusted is None else f", p {comparison.p_adjusted:.3f}"
    sees = percent_of(comparison.minimum_detectable)
    seen = _sessions_text(comparison)
    match comparison.reason:
        case ComparisonReason.SLOWDOWN_CONFIRMED:
            return f"{shift}{_shown_by(comparison)}, {seen}{p}; fails from {fail_at}"
        case ComparisonReason.SPEEDUP_CONFIRMED:
            return f"{shift}{_shown_by(comparison)}, {seen}{p}"
        case ComparisonReason.SLOWDOWN_EXCLUDED:
            highest = max((end for end in (comparison.high, comparison.mean_high) if end is not None), default=None)
            at_most = f"at most {change(highest)} %, so a slowdown of {tolerated} is excluded, {seen}"
            return f"{at_most}; {sees} % would have been seen"
        case ComparisonReason.SLOWDOWN_NOT_EXCLUDED:
            on_average = "" if comparison.mean_shift is None else f", on average {change(comparison.mean_shift)} %"
            shown = f"neither shown nor excluded: {shift}, up to {change(comparison.high)} %{on_average}"
            return f"{shown}, {seen}; tolerated is {tolerated}"
        case ComparisonReason.CANNOT_DETECT:
            what = "nothing" if comparison.minimum_detectable is None else f"only {sees} % or more"
            return f"cannot judge: with this noise {what} would be seen, tolerated is {tolerated}; more --quads help"
        case ComparisonReason.BUDGET_ENDED:
            known = "" if comparison.shift is None else f"{shift} "
            return f"{known}{seen}, undecided when the budget ended; give it more time"
        case ComparisonReason.SUSPECT_NOT_CONFIRMED:
            return f"suspect at {shift}, but its fresh sessions were not run; give it more time"
        case ComparisonReason.TOO_FEW_SESSIONS:
            return f"{seen}, of the {FEWEST_SESSIONS} that the first look needs"
        case ComparisonReason.MISSING_SIDE:
            return f"{facts.get('side', 'one side')}: {facts.get('error', 'has no such cell')}"
        case ComparisonReason.DIFFERENT_WORK:
            timed = "" if comparison.shift is None else f", so {shift} is no verdict on code (timed all the same)"
            return f"the parameters differ: not the same model{timed}"
        case ComparisonReason.OTHER_ENVIRONMENT:
            return f"measured in another environment: {facts.get('field', 'fields')} differs"


def _share(facts: Mapping[str, object], name: str, default: float) -> str:
    """Write a threshold in percent; the default if a foreign file has no number there."""
    share = facts.get(name)
    return f"+{(share if isinstance(share, int | float) else default) * 100:.3g} %"


def _sessions_text(comparison: Comparison) -> str:
    """Count the sessions that decided; of older files, the fresh ones."""
    count = counted(len(comparison.session_shifts), "session")
    if comparison.look is None:
        counts = "counts" if len(comparison.session_shifts) == 1 else "count"
        return f"{count} {counts}" if comparison.looks is not None else f"on {count}"
    return f"after {count} (look {comparison.look} of {comparison.looks})"


def _shown_by(comparison: Comparison) -> str:
    """Write which steps changed."""
    words = {ShownBy.EVERY_STEP: " every step", ShownBy.ON_AVERAGE: " on average (some steps)"}
    return words.get(comparison.shown_by, "") if comparison.shown_by else ""


def fact_lines(comparison: Comparison) -> list[str]:
    """Name which counts differ, what could not be counted, and which sessions were void."""
    facts = dict(comparison.facts)
    lines = []
    for name, what in _COUNTS.items():
        base, head = facts.get(f"{name}_base"), facts.get(f"{name}_head")
        if isinstance(base, int) and isinstance(head, int):
            ratio = f" ({(head / base - 1) * 100:+.2f} %)" if base else ""
            lines.append(f"{what} {base:,} -> {head:,}{ratio}, exactly")
    uncounted = [(side, facts.get(f"not_counted_{side}")) for side in ("base", "head")]
    lines += [f"{side} could not be counted: {reason}" for side, reason in uncounted if reason is not None]
    if "same_code" in facts:
        lines.append(f"both sides run the same file, outside their trees: {facts['same_code']}")
    if comparison.voided:
        reasons = ", ".join(f"{reason} {count}" for reason, count in comparison.voided)
        lines.append(f"void sessions: {reasons}")
    return lines


_STYLES = {
    ComparisonVerdict.SLOWER: "red",
    ComparisonVerdict.FASTER: "green",
    ComparisonVerdict.INCONCLUSIVE: "yellow",
    ComparisonVerdict.INCOMPARABLE: "yellow",
}

_COMMON = re.compile("|".join(["train|infer|cpu|[a-z]+:\\d+", *Precision]))

_RANGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

STRIP_WIDTH = 13


def comparison_document(comparisons: Sequence[Comparison], heading: Heading) -> Document:
    """Make a comparison: the sides, a table, a reason per verdict, doubts, and the count of verdicts."""
    scale = strip_range(comparisons)
    names, common = short_names([c.cell_id for c in comparisons])
    spans = {row: f"{c.verdict.value}: {plain(reason_text(c))}" for row, c in enumerate(comparisons) if c.shift is None}
    styles = {row: _STYLES.get(c.verdict) for row, c in enumerate(comparisons)}
    sides = sides_of(heading)
    columns = _columns(comparisons, names, scale, sides)
    return [
        Verdict(text=headline(comparisons, heading)),
        Text(text=f"{sides[0]} {plain(heading.base)} · {sides[1]} {plain(heading.head)}"),
        Text(text=" · ".join(filter(None, (common, heading.method))), style="dim", close=True),
        Rows(columns=columns, spans=spans, styles=styles) if comparisons else Text(text="no cells"),
        _notes(comparisons, names, scale),
        Text(text=f"UNFIT: {heading.unfit}" if heading.unfit else "", style="red"),
        Notes(lines=[f"Note: {note}" for note in heading.notes], first="", indent="  ", close=True),
    ]


def headline(comparisons: Sequence[Comparison], heading: Heading) -> str:
    """State the most important thing in one line."""
    if heading.per is not None:
        ratios = "; ".join(ratio_text(c, plain(heading.base), plain(heading.head), heading.per) for c in comparisons)
        return f"No verdict, the machine is unfit: {ratios}" if heading.unfit else ratios
    verdicts = {c.verdict for c in comparisons}
    if ComparisonVerdict.SLOWER in verdicts:
        return f"Slower: {summary(comparisons)}"
    if heading.unfit:
        return f"No verdict, the machine is unfit: {summary(comparisons)}"
    if verdicts & {ComparisonVerdict.INCOMPARABLE, ComparisonVerdict.INCONCLUSIVE}:
        return f"No regression shown, not all judged: {summary(comparisons)}"
    return f"No regression: {summary(comparisons)}"


def sides_of(heading: Heading) -> tuple[str, str]:
    """Name the sides as whoever asked does."""
    return ("base", "head") if heading.per is None else ("A", "B")


def summary(comparisons: Sequence[Comparison]) -> str:
    """Count the verdicts: `3 cells: 1 slower, 2 same`."""
    order = dict.fromkeys((ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER, *ComparisonVerdict))
    return tally("cell", (c.verdict for c in comparisons), order)


def short_names(cell_ids: Sequence[str]) -> tuple[list[str], str]:
    """Leave out of the cells' names what all have in common; return the names, and what was left out.

    A name may be that of two cells, `B : A`.
    """
    ids = [[one.split("/") for one in cell_id.split(" : ")] for cell_id in cell_ids]
    every = list(itertools.chain.from_iterable(ids))
    shared = [part for part in (every[0] if every else []) if _COMMON.fullmatch(part) and all(part in i for i in every)]
    names = [" : ".join("/".join(part for part in one if part not in shared) for one in pair) for pair in ids]
    return list(map(plain, names)), ", ".join(shared)


def strip(shifts: Sequence[float], scale: float) -> str:
    """Draw session shifts on a line from -scale to +scale; zero is in the middle, values outside are arrows."""
    marks = "∙•●"
    half = STRIP_WIDTH // 2
    cells = [" "] * STRIP_WIDTH
    cells[half] = "│"
    for place, count in Counter(round(max(-1.0, min(1.0, s / scale)) * half) + half for s in shifts).items():
        cells[place] = marks[min(count, len(marks)) - 1]
    if any(shift < -scale for shift in shifts):
        cells[0] = "‹"
    if any(shift > scale for shift in shifts):
        cells[-1] = "›"
    return "".join(cells)


def strip_range(comparisons: Sequence[Comparison]) -> float:
    """Choose one range for all strips: the smallest round one that holds nine of ten shifts."""
    shifts = sorted(abs(shift) for c in comparisons for shift in c.session_shifts)
    if not shifts:
        return _RANGES[2]
    wanted = shifts[min(len(shifts) - 1, math.floor(0.9 * len(shifts)))]
    return next((limit for limit in _RANGES if limit >= wanted), _RANGES[-1])


def _columns(
    comparisons: Sequence[Comparison], names: Sequence[str], scale: float, sides: tuple[str, str]
) -> list[Column]:
    points = [e.point for c in comparisons for e in (c.base, c.head) if e is not None]
    unit = time_unit(points) or (1.0, "s")

    def seconds(side: str) -> tuple[str, ...]:
        estimates = [getattr(c, side) for c in comparisons]
        return tuple("-" if e is None else significant(e.point / unit[0]) for e in estimates)

    strips = tuple(strip(c.session_shifts, scale) for c in comparisons)
    return [
        Column(name="cell", cells=tuple(names), right=False, key=True),
        Column(name=sides[0], unit=unit[1], cells=seconds("base")),
        Column(name=sides[1], unit=unit[1], cells=seconds("head")),
        Column(name="change", unit="%", cells=tuple(change(c.shift) for c in comparisons)),
        Column(name="interval 95%", cells=tuple(map(_interval, comparisons)), rank=1),
        Column(name="sees", unit="%", cells=tuple(percent_of(c.minimum_detectable) for c in comparisons)),
        Column(name="verdict", cells=tuple(_verdict(c) for c in comparisons), right=False),
        Column(name="p", cells=tuple(map(_p, comparisons)), rank=2),
        Column(name="sessions" + (f" ±{scale:.0%}" if scale < 0.5 else ""), cells=strips, right=False, rank=3),
    ]


def _interval(comparison: Comparison) -> str:
    is_known = comparison.low is not None and comparison.high is not None
    return f"{change(comparison.low)}..{change(comparison.high)}" if is_known else "-"


def _p(comparison: Comparison) -> str:
    return "-" if comparison.p_adjusted is None else f"{comparison.p_adjusted:.3f}"


def _verdict(comparison: Comparison) -> str:
    is_loud = comparison.verdict in (ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER)
    return comparison.verdict.value.upper() if is_loud else comparison.verdict.value


def _notes(comparisons: Sequence[Comparison], names: Sequence[str], scale: float) -> Notes:
    """Explain the verdict of every cell; then its facts and its void sessions."""
    lines, marks = [], []
    if any(c.session_shifts for c in comparisons):
        ends = (f"-{scale:.0%}", f"+{scale:.0%}") if scale < 0.5 else (f"{change(-scale)}%", f"{change(scale)}%")
        lines.append(f"one dot per session, from {ends[0]} to {ends[1]}")
        marks.append(f"[{'-':<6}0{'+':>6}] ")
    for comparison, name in zip(comparisons, names, strict=True):
        facts = fact_lines(comparison)
        lines += [f"{name}: {_verdict(comparison)}: {plain(reason_text(comparison))}"]
        lines += [f"{name}: {plain(fact)}" for fact in facts]
        drawn = f"[{strip(comparison.session_shifts, scale)}] " if comparison.session_shifts else ""
        marks += [drawn, *("" for _ in facts)]
    return Notes(lines=lines, indent="  ", marks=marks)


_BLOCKS_OF_A_STRIP = 24


def bisection_document(bisected: Bisected) -> Document:
    """Write the answer of `bench bisect`."""
    style = {BisectVerdict.FOUND: "red", BisectVerdict.NO_STEP: "green"}.get(bisected.verdict, "yellow")
    blocks: list[Block] = [Text(text=_headline(bisected), style=style)]
    if bisected.steps:
        blocks.append(Rows(columns=_step_columns(bisected.steps)))
    lines = [f"{named(step.commits)}: {fact}" for step in bisected.steps for fact in fact_lines(step.comparison)]
    lines += [
        f"one of these {len(step.commits)}, all but the last of which cannot be measured: "
        + ", ".join(map(_short, step.commits))
        for step in bisected.steps
        if len(step.commits) > 1
    ]
    lines += bisected.notes
    lines += map(likely_text, bisected.likely)
    lines += [f"{_short(one.commit)} cannot be measured: {one.reason}" for one in bisected.unmeasured]
    if lines:
        blocks.append(Notes(lines=[plain(line) for line in dict.fromkeys(lines)]))
    return blocks


def likely_text(one: Likely) -> str:
    """List the commits that hold a slowdown, four at most: others may lie between them."""
    names = listed(list(map(_short, one.commits)), 4)
    return f"{one.cell_id}: {one.share * 100:.0f} % in {counted(len(one.commits), 'commit')}: {names}"


def named(commits: Sequence[Commit]) -> str:
    """Name a commit, or the first and the last of several."""
    return "..".join(map(_short, commits if len(commits) == 1 else (commits[0], commits[-1])))


def event_text(event: Narrowed | Settled) -> str:
    """Describe in one line what a session changed, or whether a named commit was confirmed."""
    if isinstance(event, Settled):
        verdict = "confirmed" if event.is_confirmed else f"not confirmed: {event.comparison.verdict}"
        return plain(f"{named(event.commits)} {change(event.comparison.shift)} % {verdict}")
    found = event.reason or "not measured" if event.shift is None else f"{change(event.shift)} %"
    likely = f"most likely {_short(event.likely)}, {max(event.posterior) * 100:.0f} %"
    place = f"[{counted(event.sessions, 'session')}] {_short(event.commit)}"
    return f"{place} {plain(found)}; {likely} [{_strip(event.posterior)}]"


def _strip(posterior: Sequence[float]) -> str:
    """Draw where the step is searched: the probability of the suspects, oldest left."""
    size = max(1, -(-len(posterior) // _BLOCKS_OF_A_STRIP))
    masses = [sum(posterior[start : start + size]) for start in range(0, len(posterior), size)]
    return sparkline(masses)


def _short(commit: Commit) -> str:
    return commit.name[:9]


def _headline(bisected: Bisected) -> str:
    ends = f"{_short(bisected.good)}..{_short(bisected.bad)}"
    cost = f"{counted(bisected.sessions, 'session')}, {format_duration(bisected.seconds)}"
    among = f"{ends}, {counted(bisected.suspects, 'commit')}, {cost}"
    if bisected.verdict is BisectVerdict.FOUND:
        return plain(f"{counted(len(bisected.steps), 'step')} confirmed in {among}")
    words = {
        BisectVerdict.NO_STEP: "nothing to find",
        BisectVerdict.UNDECIDED: "undecided",
        BisectVerdict.UNBUILDABLE: "cannot be measured",
        BisectVerdict.UNFIT: "the machine is unfit",
    }[bisected.verdict]
    return plain(f"{words} in {among}: {bisected.reason}")


def _step_columns(steps: Sequence[Step]) -> list[Column]:
    found = [step.comparison for step in steps]
    names, _ = short_names([one.cell_id for one in found])
    return [
        Column(name="commit", cells=tuple(named(step.commits) for step in steps), right=False, key=True),
        Column(name="cell", cells=tuple(names), right=False, key=True),
        Column(name="change", unit="%", cells=tuple(change(one.shift) for one in found)),
        Column(name="interval 95%", cells=tuple(map(_interval, found))),
        Column(name="p", cells=tuple(map(_p, found))),
        Column(name="subject", cells=tuple(plain(step.commits[-1].subject) for step in steps), right=False),
    ]
