"""The columns of how a cell begins, in the files of every run and on screens with `--columns cold`."""

from __future__ import annotations

from bench.tables.cell_values import CellRow
from bench.tables.columns import Shown, integer, real
from bench.tables.figures import significant


def payback_text(row: CellRow) -> str | None:
    """Write after how many steps compiling has paid for itself, or why there is no such number."""
    found = row.payback
    return None if found is None else found.reason or f"{found.steps:,}"


START = (
    real(
        "build_seconds",
        "s",
        "building the model, its optimizer and a batch on the device, torch loaded before; of the slowest rank",
        "start.build_seconds",
        Shown(name="build", scale="s", view="cold", place=1, always=True),
    ),
    real(
        "first_step_seconds",
        "s",
        "the first step; compiles and allocates",
        "start.first_step_seconds",
        Shown(name="first step", scale="s", view="cold", place=2, always=True),
    ),
    real(
        "steps_until_steady",
        "steps",
        "first steps after which those of the warm-up take as long as timed ones; median over the processes",
        "start.steps_until_steady",
        Shown(name="steady after", unit="steps", view="cold", place=3, write=significant, always=True),
    ),
    real(
        "startup_seconds",
        "s",
        "build, and what the steps until steady took beyond steady ones",
        "start.startup_seconds",
        Shown(name="start-up", scale="s", view="cold", place=4, rank=2, always=True),
    ),
    integer(
        "compile_payback_steps",
        "steps",
        "steps after which the compiled cell has taken less time in all than the same one of the run not compiled",
        "payback.steps",
        Shown(name="paid off after", unit="steps", view="cold", place=6, rank=1, get=payback_text, write=str),
    ),
)
