"""The suites of what the seed page names: each can be read, differs in what it is about, and has a benchmark."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench import registry
from bench.core.cell import Cell
from bench.registry.optimizers import OPTIMIZERS
from bench.runner.session import builtin_suites
from bench.stats.scaling import BATCH, scalings
from bench.suite.file import read_suite
from bench.suite.sweep import expand
from benchmarks.seed_page.topics import TOPICS
from tests.records import make_record

SUITES = sorted({suite for topic in TOPICS for suite in topic.suites})
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "bench_axes.py"


def cells(suite: str) -> tuple[Cell, ...]:
    return expand(read_suite(builtin_suites()[suite]).sweeps)


def options(cell: Cell, key: str) -> str | None:
    written = cell.model.partition("@")[2]
    return dict(pair.split("=") for pair in written.split(",")).get(key) if written else None


@pytest.mark.parametrize("suite", SUITES)
def test_every_model_of_a_suite_is_there_with_these_options(suite: str) -> None:
    for model in dict.fromkeys(cell.model for cell in cells(suite)):
        registry.resolve(model)


@pytest.mark.parametrize("suite", SUITES)
def test_no_suite_hides_a_model(suite: str) -> None:
    assert suite not in registry.names()


def test_every_suite_is_a_benchmark_of_pytest() -> None:
    tree = ast.parse(BENCHMARKS.read_text(encoding="utf-8"))
    marks = {node.name: ast.unparse(node.decorator_list[0]) for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert set(marks) == {f"bench_{suite}" for suite in SUITES}
    assert all(f"suite='{name.removeprefix('bench_')}'" in mark for name, mark in marks.items())


def test_the_axes_hold_every_value_that_the_page_names() -> None:
    assert {options(cell, "activation") for cell in cells("activation")} == {"relu", "sigmoid", "tanh", "softmax"}
    assert {options(cell, "loss") for cell in cells("loss")} == {"cross_entropy", "bce", "mse"}
    assert {cell.optimizer for cell in cells("optimizer")} == set(OPTIMIZERS)
    assert {options(cell, "dropout") for cell in cells("dropout")} == {"0", "0.5"}
    assert {options(cell, "pool") for cell in cells("pooling")} == {"true", "false"}
    assert {options(cell, "dense") for cell in cells("convolution")} == {"true", "false"}
    assert {cell.model for cell in cells("gates")} == {"rnn", "lstm", "gru"}
    assert {cell.model for cell in cells("modes")} == set(registry.names())


@pytest.mark.parametrize(
    ("suite", "axis"),
    [
        ("scaling_batch", BATCH),
        ("scaling_depth", "depth"),
        ("scaling_depth", "layers"),
        ("scaling_width", "width"),
        ("scaling_length", "sequence_length"),
    ],
)
def test_a_scaling_suite_has_a_group_that_can_be_fitted(suite: str, axis: str) -> None:
    found = scalings([make_record(cell.model, cell.batch_size, step=0.01) for cell in cells(suite)])
    assert any(one.axis == axis and len(one.sizes) >= 3 for one in found)
