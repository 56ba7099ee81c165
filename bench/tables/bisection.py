"""What a bisection found: a row per confirmed step, then in sentences what explains the rest and what is not known."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.bisection import Bisected, BisectVerdict, Commit, Narrowed, Settled, Step
from bench.core.units import counted, format_duration
from bench.tables.comparison import change, fact_lines, short_names
from bench.tables.document import Block, Document, Notes, Rows, Text
from bench.tables.figures import plain
from bench.tables.history import sparkline
from bench.tables.table import Column

_NAME = 9
_BLOCKS_OF_A_STRIP = 24


def bisection_document(bisected: Bisected) -> Document:
    """Write the answer of `bench bisect`."""
    blocks: list[Block] = [Text(text=_headline(bisected), style=_style(bisected))]
    if bisected.steps:
        blocks.append(Rows(columns=_columns(bisected.steps)))
    lines = [f"{named(step.commits)}: {fact}" for step in bisected.steps for fact in fact_lines(step.comparison)]
    lines += [f"{_range_text(step.commits)}" for step in bisected.steps if len(step.commits) > 1]
    lines += bisected.notes
    lines += [
        f"{one.cell_id}: {one.share * 100:.0f} % in {counted(len(one.commits), 'commit')}: {named(one.commits)}"
        for one in bisected.likely
    ]
    lines += [f"{_short(one.commit)} cannot be measured: {one.reason}" for one in bisected.unmeasured]
    if lines:
        blocks.append(Notes(lines=[plain(line) for line in dict.fromkeys(lines)]))
    return blocks


def named(commits: Sequence[Commit]) -> str:
    """Name a commit, or the first and the last of several."""
    if len(commits) == 1:
        return _short(commits[0])
    return f"{_short(commits[0])}..{_short(commits[-1])}"


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
    """Draw where the step is looked for: the mass of the suspects, oldest left."""
    size = max(1, -(-len(posterior) // _BLOCKS_OF_A_STRIP))
    masses = [sum(posterior[start : start + size]) for start in range(0, len(posterior), size)]
    return sparkline(masses)


def _short(commit: Commit) -> str:
    return commit.name[:_NAME]


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


def _style(bisected: Bisected) -> str | None:
    return {BisectVerdict.FOUND: "red", BisectVerdict.NO_STEP: "green"}.get(bisected.verdict, "yellow")


def _range_text(commits: Sequence[Commit]) -> str:
    return f"one of these {len(commits)}, all but the last of which cannot be measured: " + ", ".join(
        _short(commit) for commit in commits
    )


def _columns(steps: Sequence[Step]) -> list[Column]:
    found = [step.comparison for step in steps]
    names, _ = short_names([one.cell_id for one in found])
    interval = tuple(
        "-" if one.low is None or one.high is None else f"{change(one.low)}..{change(one.high)}" for one in found
    )
    p = tuple("-" if one.p_adjusted is None else f"{one.p_adjusted:.3f}" for one in found)
    return [
        Column(name="commit", cells=tuple(named(step.commits) for step in steps), right=False, key=True),
        Column(name="cell", cells=tuple(names), right=False, key=True),
        Column(name="change", unit="%", cells=tuple(change(one.shift) for one in found)),
        Column(name="interval 95%", cells=interval, rank=1),
        Column(name="p", cells=p),
        Column(name="subject", cells=tuple(plain(step.commits[-1].subject) for step in steps), right=False),
    ]
