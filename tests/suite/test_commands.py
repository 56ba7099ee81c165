"""Cells, back to the commands that measure them."""

from __future__ import annotations

import shlex
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bench.core.cell import Cell, GradMode, Mode, Precision, ScalingMode
from bench.core.record import Sampling
from bench.suite.axes import AXES
from bench.suite.commands import longer_commands, run_commands
from bench.suite.sweep import sweep_of

SHAPES = ((3, 8, 8), (3, 9, 9))
PRODUCT = [
    cell
    for shape in SHAPES
    for cell in sweep_of(
        models=("a", "b"),
        mode=(Mode.TRAIN, Mode.INFER),
        batch_size=(2, 8),
        precision=(Precision.FP32, Precision.BF16_AMP),
        optimizer=("sgd", "adam"),
        input_shape=(shape,),
    ).cells()
]


def test_cells_are_written_as_the_command_that_measures_them() -> None:
    train = Cell(model="net.py:Net", batch_size=8, input_shape=(3, 8, 8), optimizer="sgd", device="cuda:0")
    infer = replace(train, mode=Mode.INFER, optimizer=None, grad_mode=GradMode.NO_GRAD, batch_size=16)
    assert run_commands([train, infer], ["--budget", "10s"]) == (
        "bench run net.py:Net --mode train,infer -b 8,16 -p fp32 --device cuda:0 --optimizer sgd --input-shape 3x8x8 "
        "--grad-mode no_grad --budget 10s",
    )
    own, spread = Cell(model="my net.py:f", batch_size=2), Cell(model="mlp", batch_size=2, world_size=4, nodes=2)
    assert run_commands([train, own])[1] == "bench run 'my net.py:f' --mode train -b 2 -p fp32"
    assert run_commands([spread]) == (
        "bench run mlp --mode train -b 2 -p fp32 --world-size 4 --nodes 2 --executor slurm",
    )


def cells_of(command: str) -> tuple[Cell, ...]:
    """Expand a typed command without looking its models up."""
    words = shlex.split(command)[2:-2]  # bench run ... --budget 10s
    first = next(place for place, word in enumerate(words) if word.startswith("-"))
    names = {flag: axis for axis in AXES.values() for flag in axis.flags}
    axes = {names[flag].name: text for flag, text in zip(words[first::2], words[first + 1 :: 2], strict=True)}
    typed = {name: text if name == "input_shape" else text.split(",") for name, text in axes.items()}
    return sweep_of(models=words[:first], **typed).cells()


@given(st.sets(st.sampled_from(PRODUCT), min_size=1))
def test_cells_are_measured_longer_by_commands_that_measure_no_others(cells: set[Cell]) -> None:
    chosen = [cell for cell in PRODUCT if cell in cells]
    commands = longer_commands(chosen, Sampling(), 10.0, "results/some run")
    if commands == ("bench run --resume 'results/some run' --retry doubted --budget 10s",):
        groups = [[cell for cell in chosen if cell.input_shape == shape] for shape in SHAPES]
        swept = [cells_of(run_commands(group, ["--budget", "10s"])[0]) for group in groups if group]
        assert {*chosen} < {cell for cells in swept for cell in cells}
    else:
        assert {cell for command in commands for cell in cells_of(command)} == {*chosen}


def test_what_a_command_cannot_say_is_measured_by_resuming_the_run() -> None:
    strong = sweep_of(models="mlp", batch_size=8, world_size=(1, 2), scaling=ScalingMode.STRONG).cells()
    many = [Cell(model=f"m{n}", batch_size=n, threads=n, seed=n) for n in range(1, 12)]
    for cells in (strong, many):
        (command,) = longer_commands(cells, Sampling(), 20.0, "RUN")
        assert command == "bench run --resume RUN --retry doubted --budget 20s"
