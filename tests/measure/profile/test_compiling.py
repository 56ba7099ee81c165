"""torch.compile with a backend that compiles nothing: graphs, breaks and recompilations are the tracer's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.core.cell import CompileMode
from bench.device.prepare import prepare
from bench.measure.profile.passes import feed_batches, find_breaks, graphs_so_far
from tests.measure.profile.small import WIDTH, cell, workload

pytestmark = pytest.mark.filterwarnings("ignore")  # the tracer looks at tensors in ways that warn


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.layer(x).relu()


class Breaks(Plain):
    def forward(self, x):
        x = self.layer(x)
        torch._dynamo.graph_break()  # here
        return x.relu()


class Recompiles(Plain):
    """A Python value that differs in every step, and that a graph depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.names = [f"step {n}" for n in range(100)]
        self.name = ""

    def forward(self, x):
        return self.layer(x).relu() if self.name else self.layer(x)


@pytest.fixture(autouse=True)
def _forget():
    yield
    torch._dynamo.reset()


def compiled_step(build):
    return prepare(workload(build), cell())


def graphs_of(step, steps: int, before_each=lambda _: None) -> list[int]:
    counts = []
    step.model.compile(backend="eager")
    for _ in range(steps):
        before_each(step.model)
        before = graphs_so_far()
        step()
        counts.append(graphs_so_far() - before)
    return counts


def test_a_plain_model_is_one_graph_without_breaks_and_is_compiled_once() -> None:
    with compiled_step(Plain) as step:
        assert graphs_of(step, 3) == [1, 0, 0]
        assert find_breaks(step) == ()
        step()  # still runs


def test_a_break_is_named_with_its_line() -> None:
    with compiled_step(Breaks) as step:
        assert graphs_of(step, 2) == [2, 0]
        (found,) = find_breaks(step)
    assert found.file.endswith("test_compiling.py")
    assert "graph_break" in found.reason


def test_graphs_compiled_after_the_first_step_are_counted() -> None:
    def rename(model) -> None:
        model.name = model.names.pop()

    with compiled_step(Recompiles) as step:
        assert graphs_of(step, 3, rename) == [1, 1, 1]


def test_other_batches_cost_one_graph_where_the_batch_may_vary() -> None:
    with compiled_step(Plain) as step:
        graphs_of(step, 1)
        assert feed_batches(step, workload(Plain), (17, 18), "cpu") == 1


class CallsByBatch(Plain):
    def forward(self, x):
        for _ in range(x.shape[0] % 7):  # unrolled: another graph for each batch
            x = x + 1
        return self.layer(x)


def test_a_model_that_unrolls_over_its_batch_is_compiled_for_each() -> None:
    with compiled_step(CallsByBatch) as step:
        graphs_of(step, 1)
        assert feed_batches(step, workload(CallsByBatch), (17, 18), "cpu") == 2


def test_a_compiled_profile_has_a_row_per_graph(monkeypatch) -> None:
    from bench.core.profile import ProfileOptions
    from bench.measure.profile.profile import profile_cell

    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compile_(self, backend="aot_eager"))
    profile = profile_cell(workload(Breaks), cell(compile=CompileMode.DEFAULT), ProfileOptions(steps=4))
    graphs = [layer for layer in profile.layers if layer.name.startswith("(compiled graph")]
    assert len(graphs) == profile.compilation.graphs == 2
    assert all({cost.phase.value for cost in graph.costs} >= {"forward", "backward"} for graph in graphs)
    assert sum(layer.seconds for layer in profile.layers) == pytest.approx(profile.step_seconds)
    assert sum(layer.flops or 0 for layer in profile.layers) == profile.flops.total
    assert len(profile.compilation.breaks) == 1
    assert profile.start_up.first_step_seconds > profile.step_seconds
