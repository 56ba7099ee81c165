"""Two stored runs side by side: which is which, what differs, the ratio of every cell, and why this is no verdict.

A cell of another fingerprint, or of a side that was busy, is listed apart with the reason and nominates nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.core.comparison import Nominated, Nomination, Side
from bench.core.units import counted, format_count
from bench.tables.advice import WORDS, marks_of
from bench.tables.columns import MISSING
from bench.tables.comparison import short_names
from bench.tables.document import Block, Document, Dot, Dots, Doubts, Notes, Rows, Text, Verbatim
from bench.tables.figures import plain, significant, time_unit
from bench.tables.machine import environment_texts
from bench.tables.table import Column

WHY_NOT = (
    "These are nominations, not verdicts: each side is one process or a few, measured at another time. Every process "
    "has its own speed, and a machine's speed changes: two runs of unchanged code differed by 25 to 29 % on a shared "
    "machine."
)

_AXES = (
    (0.95, 1.0, 1.05),
    (0.9, 0.95, 1.0, 1.05, 1.1),
    (0.8, 0.9, 1.0, 1.1, 1.25),
    (0.67, 0.8, 1.0, 1.25, 1.5),
    (0.5, 0.7, 1.0, 1.4, 2.0),
    (0.2, 0.5, 1.0, 2.0, 5.0),
    (0.1, 0.3, 1.0, 3.0, 10.0),
    (0.01, 0.1, 1.0, 10.0, 100.0),
)
"""Ticks of ratios; the shortest axis that holds all points is used."""
_STRIP_WIDTH = 15


def nominations_document(nominated: Nominated) -> Document:
    """Make the comparison of two stored runs: the same blocks in the same order for every format."""
    common = [n for n in nominated.nominations if n.shift is not None]
    compared = sorted((n for n in common if not n.apart), key=lambda n: -(n.shift or 0.0))
    apart: dict[str, list[Nomination]] = {}
    for one in common:
        if one.apart:
            apart.setdefault(one.apart, []).append(one)
    blocks: list[Block] = [Text(text=headline(nominated), style="bold"), _which(nominated), *_differences(nominated)]
    blocks += _compared(compared) if compared else []
    for reason, cells in apart.items():
        caption = f"{counted(len(cells), 'cell')} apart, which nominate nothing. {reason[0].upper()}{plain(reason[1:])}"
        blocks.append(_cells(sorted(cells, key=lambda n: -(n.shift or 0.0)), caption))
    blocks += [
        Notes(lines=[f"{plain(n.cell_id)}: {plain(n.missing)}" for n in nominated.nominations if n.missing]),
        Doubts(sentences=_letters(common)),
        *([Text(text=WHY_NOT)] if compared else []),
        Text(text="To judge, run:" if nominated.commands else ""),
        Verbatim(lines=[f"  {plain(command)}" for command in nominated.commands], language="console", close=True),
    ]
    return blocks


def headline(nominated: Nominated) -> str:
    """State in one line the mean ratio, how many cells are nominated, and how many are listed apart."""
    compared = [n for n in nominated.nominations if n.shift is not None and not n.apart]
    apart = sum(bool(n.apart) for n in nominated.nominations)
    rest = f"; {counted(apart, 'cell')} apart" if apart else ""
    if not nominated.nominations:
        return f"{plain(nominated.base.id)} and {plain(nominated.head.id)} have no cell in common"
    reasons = {n.apart for n in nominated.nominations if n.apart}
    if not compared and len(reasons) == 1:
        return f"No cell may be compared ({plain(reasons.pop())})"
    if not compared:
        return f"No cell may be compared{rest or ': all are missing on a side'}"
    suspects = sum(n.is_suspect for n in compared)
    mean = mean_ratio(compared)
    of = "in the one cell that may be compared"
    if len(compared) > 1:
        ratios = [math.exp(n.shift or 0.0) for n in compared]
        of = f"(geometric mean of {len(compared)} cells, {_figure(min(ratios))} to {_figure(max(ratios))})"
    return f"Head takes {_figure(mean)} times as long as base {of}; {suspects or 'none'} nominated{rest}"


def mean_ratio(compared: Sequence[Nomination]) -> float:
    """Return the geometric mean of head / base over cells that may be compared."""
    return math.exp(math.fsum(n.shift or 0.0 for n in compared) / len(compared))


def _which(nominated: Nominated) -> Rows:
    sides = (nominated.base, nominated.head)
    commits = [
        f"{e.git_commit[:12]}{' (modified)' if e.git_dirty else ''}" if e is not None and e.git_commit else MISSING
        for e in (side.environment for side in sides)
    ]
    starts = [side.started_at[:16].replace("T", " ") for side in sides]
    columns = [
        Column(name="side", cells=("base", "head"), right=False, key=True),
        Column(name="run", cells=tuple(plain(side.id) for side in sides), right=False),
        Column(name="started", cells=tuple(plain(start) or MISSING for start in starts), right=False),
        Column(name="commit", cells=tuple(commits), right=False),
        Column(name="typed", cells=tuple(_typed(side) for side in sides), right=False, rank=1),
    ]
    return Rows(columns=columns, caption="Which run is which", shows_caption=True)


def _typed(side: Side) -> str:
    program = side.command[0].rsplit("/", 1)[-1] if side.command else MISSING
    return plain(" ".join([program, *side.command[1:]]))


def _differences(nominated: Nominated) -> list[Block]:
    """List the differences between the environments; cores busy with other work are always included."""
    base, head = (_environment(side) for side in (nominated.base, nominated.head))
    names = [name for name in dict.fromkeys([*base, *head]) if base.get(name) != head.get(name)]
    busy = [_busy(side) for side in (nominated.base, nominated.head)]
    cells = {name: (base.get(name, MISSING), head.get(name, MISSING)) for name in names}
    if set(busy) != {MISSING}:
        cells["cores busy with other work"] = (busy[0], busy[1])
    agree = f"Their environments agree: fingerprint {base['fingerprint']}." if not names and base else ""
    blocks: list[Block] = [Text(text=agree)] if agree else []
    if cells:
        columns = [
            Column(name="what differs", cells=tuple(plain(name.replace("_", " ")) for name in cells), right=False),
            *(
                Column(name=side, cells=tuple(plain(pair[n]) for pair in cells.values()), right=False)
                for n, side in enumerate(("base", "head"))
            ),
        ]
        blocks.append(Rows(columns=columns, caption="What differs between them"))
    return blocks


def _environment(side: Side) -> Mapping[str, str]:
    """Return the fields of an environment as text, without its commit, which is shown beside the run."""
    texts = environment_texts(side.environment) if side.environment is not None else {}
    return {name: text for name, text in texts.items() if name not in ("git_commit", "git_dirty")}


def _busy(side: Side) -> str:
    if side.busy_cores is None:
        return MISSING
    low, high = (f"{cores:.2f}" for cores in side.busy_cores)
    return low if low == high else f"{low} to {high}"


def _compared(compared: Sequence[Nomination]) -> list[Block]:
    names, common = short_names([n.cell_id for n in compared])
    ticks = _ticks(compared)
    caption = f"{counted(len(compared), 'cell')} that may be compared{f' ({common})' if common else ''}"
    dots = [
        Dot(
            name=name,
            text=_ratio(n.shift),
            value=math.exp(n.shift or 0.0),
            low=None if n.low is None else math.exp(n.low),
            high=None if n.high is None else math.exp(n.high),
            style="yellow" if n.is_suspect else None,
        )
        for name, n in zip(names, compared, strict=True)
    ]
    if len(compared) > 1:
        mean = mean_ratio(compared)
        dots.append(Dot(name="geometric mean", text=_figure(mean), value=mean, style="bold"))
    plot = Dots(caption="Ratio head / base: left of 1 the head is faster, right of it slower", rows=dots, ticks=ticks)
    return [_cells(compared, caption, plot), plot]


def _cells(cells: Sequence[Nomination], caption: str, plot: Dots | None = None) -> Rows:
    """Make the table of some cells, with the plot for a terminal if they may be compared."""
    names, _ = short_names([n.cell_id for n in cells])
    scale, unit = time_unit([s for n in cells for s in (n.base, n.head) if s is not None]) or (1.0, "s")

    def seconds(values: Sequence[float | None]) -> tuple[str, ...]:
        return tuple(MISSING if value is None else significant(value / scale) for value in values)

    intervals = tuple(
        MISSING if n.low is None or n.high is None else f"{_ratio(n.low)}..{_ratio(n.high)}" for n in cells
    )
    columns = [
        Column(name="cell", cells=tuple(names), right=False, key=True),
        Column(name="base", unit=unit, cells=seconds([n.base for n in cells])),
        Column(name="head", unit=unit, cells=seconds([n.head for n in cells])),
        Column(name="ratio", cells=tuple(_ratio(n.shift) for n in cells)),
        Column(name="interval 95%", cells=intervals, rank=1),
    ]
    if any((*n.base_doubts, *n.head_doubts) for n in cells):
        doubts = {"base": [n.base_doubts for n in cells], "head": [n.head_doubts for n in cells]}
        columns += [
            Column(name="doubts", unit=side, cells=tuple(map(marks_of, kinds)), right=False)
            for side, kinds in doubts.items()
        ]
    if any(n.is_suspect for n in cells):
        suspects = tuple("suspect" if n.is_suspect else "" for n in cells)
        columns.append(Column(name="nominated", cells=suspects, right=False))
    if plot is not None:
        strips = tuple(_strip(dot, plot) for dot in plot.rows[: len(cells)])
        ends = f"{plot.ticks[0]:g}{f'{plot.ticks[-1]:g}':>{_STRIP_WIDTH - len(f'{plot.ticks[0]:g}')}}"
        pages_only = frozenset({"html", "markdown", "latex"})
        columns.append(Column(name=ends, cells=strips, right=False, rank=2, hidden_in=pages_only))
    columns += _tokens(cells)
    styles = {row: "yellow" for row, n in enumerate(cells) if n.is_suspect}
    return Rows(columns=columns, caption=caption, shows_caption=True, styles=styles)


def _tokens(cells: Sequence[Nomination]) -> list[Column]:
    """Make the columns of throughput and cost of a token; none where no model takes tokens."""
    if all(n.tokens is None for n in cells):
        return []
    sides = {"base": [n.base for n in cells], "head": [n.head for n in cells]}
    costs = {
        side: [s / n.tokens if s is not None and n.tokens else None for s, n in zip(values, cells, strict=True)]
        for side, values in sides.items()
    }
    scale, unit = time_unit([cost for values in costs.values() for cost in values if cost is not None]) or (1.0, "s")
    rates = {side: [1 / cost if cost else None for cost in values] for side, values in costs.items()}
    return [
        *(Column(name=side, unit="tokens/s", cells=tuple(map(format_count, r)), rank=3) for side, r in rates.items()),
        *(
            Column(
                name=side,
                unit=f"{unit}/token",
                cells=tuple(MISSING if cost is None else significant(cost / scale) for cost in values),
                rank=4,
            )
            for side, values in costs.items()
        ),
    ]


def _strip(dot: Dot, plot: Dots) -> str:
    """Draw a ratio and its interval on the axis of a plot: `     ─●─ │          `."""
    places = range(_STRIP_WIDTH)
    at = {value: round(plot.place(value) / 100 * places[-1]) for value in (1.0, dot.value)}
    ends = [round(plot.place(end or dot.value) / 100 * places[-1]) for end in (dot.low, dot.high)]
    signs = ["─" if ends[0] <= place <= ends[1] else " " for place in places]
    signs[at[1.0]], signs[at[dot.value]] = "│", "●"
    return "".join(signs)


def _ticks(compared: Sequence[Nomination]) -> Sequence[float]:
    reach = max(abs(n.shift or 0.0) for n in compared)
    return next((axis for axis in _AXES if reach <= math.log(axis[-1])), _AXES[-1])


def _ratio(shift: float | None) -> str:
    return MISSING if shift is None else _figure(math.exp(shift))


def _figure(ratio: float) -> str:
    """Write a ratio with the same digits above and below 1."""
    return f"{ratio:.3f}" if 0.1 <= ratio < 10 else significant(ratio)


def _letters(cells: Sequence[Nomination]) -> list[tuple[str, str]]:
    """Explain the letters of the doubts."""
    kinds = {kind for n in cells for kind in (*n.base_doubts, *n.head_doubts)}
    found = dict.fromkeys(words for kind, words in WORDS.items() if kind in kinds)
    return [(words.mark, f"{words.title}: {words.meaning}.") for words in found]
