"""The growth of cost along one size, and with several processes: columns, notes and the table `scaling`."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.cell import ScalingMode
from bench.core.record import Record
from bench.stats.rank_scaling import rank_scalings
from bench.stats.scaling import BATCH, Scaling
from bench.stats.summary import summarise
from bench.tables.cell_values import CellRow, key_columns
from bench.tables.cells import CELLS
from bench.tables.columns import Shown, TableColumn, flag, read, real, shown_columns, text
from bench.tables.document import Block, Document, Notes, Rows, Text
from bench.tables.figures import first, percent, plain, significant

_READING = {
    "batch": "Step time = a + b * batch; a: overhead, b: one more example; "
    "90 %: batch of 90 % of the highest throughput.",
    "size": "Step time ~ size^k; k (FLOPs): exponent of the FLOPs. Off: how far the worst point is from the fit.",
}


def scaling_document(scalings: Sequence[Scaling]) -> Document:
    """Make one table for the batch and one for the sizes of models, with doubts below; empty without groups."""
    blocks: list[Block] = []
    for view, what in (("batch", "the batch"), ("size", "sizes of models")):
        if rows := [one for one in scalings if (one.axis == BATCH) == (view == "batch")]:
            blocks += [
                Text(text=_READING[view], style="dim"),
                Rows(
                    columns=shown_columns(SCALING, rows, view),
                    styles={row: "yellow" for row, one in enumerate(rows) if one.reason},
                    caption=f"Step time along {what}",
                ),
                Notes(lines=_notes(rows), first="", indent="  "),
            ]
    return blocks


def _notes(rows: Sequence[Scaling]) -> list[str]:
    """Name groups whose fit is missing or does not hold, a sentence per reason."""
    by_reason: dict[str, list[str]] = {}
    for one in rows:
        if one.reason:
            by_reason.setdefault(one.reason, []).append(one.group)
    return [f"{plain(', '.join(groups))}: {reason}." for reason, groups in by_reason.items()]


def _sizes(one: Scaling) -> str:
    return f"{one.axis} " + ", ".join(map(str, one.sizes))


def _two(value: float) -> str:
    return f"{value:.2f}"


SCALING_WORDS = {
    ScalingMode.WEAK: "each process has the batch, efficiency = step of one process / step of all",
    ScalingMode.STRONG: "they share the batch of one process, efficiency = its step / (processes x step of all)",
}

_KEYS = ("model", "world_size", "nodes", "parallel", "batch_size")


def ranks_document(records: Sequence[Record], most: int | None = None) -> Document:
    """Make one row per cell of several processes, the first `most`; empty if there is none."""
    every = rank_scalings(records)
    found, rest = first(every, len(every) if most is None else most, "rows")
    if not found:
        return []
    by_key = {record.cell.key: record for record in records}
    rows = [CellRow(by_key[one.cell.key], summarise(by_key[one.cell.key]), one) for one in found]
    shown = [row.record for row in rows]
    methods = {record.cell.parallel for record in shown}
    hidden = {
        *(() if any(record.cell.nodes > 1 for record in shown) else ("nodes",)),
        *(() if len(methods) > 1 else ("parallel",)),
    }
    keys = [key for key in _KEYS if key not in hidden]
    kinds = {one.scaling for one in found}
    caption = [
        *(methods if len(methods) == 1 else ()),
        *(f"{k}: {SCALING_WORDS[k]}" for k in ScalingMode if k in kinds),
    ]
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.reason is not None:
            reasons.setdefault(one.reason, []).append(one.cell.id)
    return [
        Text(text=" · ".join([*caption, "comm = communicating and waiting, share of the step"]), style="dim"),
        Rows(columns=[*key_columns(shown, keys), *shown_columns(CELLS, rows, "ranks")]),
        Notes(
            lines=[
                f"comm % of {plain(ids[0]) if len(ids) == 1 else f'{len(ids)} cells'}: {plain(reason)}"
                for reason, ids in reasons.items()
            ]
            + ([rest] if rest else [])
        ),
    ]


def _interval(name: str, stem: str, suffix: str, unit: str, meaning: str, shown: Shown) -> tuple[TableColumn, ...]:
    return (
        real(f"{stem}{suffix}", unit, meaning, f"{name}.point", shown),
        real(f"{stem}_low{suffix}", unit, "lower end of its 95 % interval", f"{name}.low"),
        real(f"{stem}_high{suffix}", unit, "upper end", f"{name}.high"),
    )


SCALING = (
    text(
        "group",
        "the cells, with `*` for the size in which they differ",
        "group",
        Shown(name="cells", view="batch size", place=1, right=False, key=True),
    ),
    text("axis", "`batch_size`, or the model's option", "axis"),
    text(
        "sizes",
        "sizes that were measured, joined by `;`",
        lambda r: ";".join(map(str, r.sizes)),
        Shown(name="sizes", view="batch size", place=9, rank=2, get=_sizes, right=False),
    ),
    *_interval(
        "overhead_seconds",
        "overhead",
        "_seconds",
        "s",
        "a of step = a + b * batch: the cost at any batch",
        Shown(name="a", view="batch", place=2, scale="s", half=read("overhead_seconds.half_width"), always=True),
    ),
    *_interval(
        "example_seconds",
        "example",
        "_seconds",
        "s",
        "b of the same: the cost of one more example",
        Shown(name="b", view="batch", place=3, scale="s", half=read("example_seconds.half_width"), always=True),
    ),
    *_interval(
        "batch_of_90_percent",
        "batch_of_90_percent",
        "",
        "examples",
        "9 a / b: where throughput reaches 90 % of its limit",
        Shown(name="90 % batch", view="batch", place=4, write=lambda value: significant(value, 2), always=True),
    ),
    *_interval(
        "exponent",
        "exponent",
        "",
        "of the size",
        "k of step ~ size^k, along an option",
        Shown(
            name="k",
            view="size",
            place=5,
            write=_two,
            noise=lambda r: _two(half) if (half := read("exponent.half_width")(r)) is not None else "",
            always=True,
        ),
    ),
    real(
        "flops_exponent",
        "of the size",
        "the same k of the step's FLOPs",
        "flops_exponent",
        Shown(name="k (FLOPs)", view="size", place=6, write=_two, always=True),
    ),
    real(
        "misfit_fraction",
        "fraction",
        "how far the worst point is from the fit",
        "misfit",
        Shown(name="off", unit="%", view="batch size", place=8, rank=1, write=percent, always=True),
    ),
    flag("follows", "whether the times follow the fit within noise", "follows"),
    text("reason", "why a figure is missing or doubtful", "reason"),
)
