"""Cells that are compared by their number of processes have the same threads in each."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import bench
from bench.core.cell import Cell, Parallel
from bench.core.errors import BenchError, UsageError
from bench.core.record import Outcome
from bench.runner import plan
from bench.runner.plan import Plan, check_here, share_out, share_threads
from bench.runner.processes import Ending
from bench.runner.workers.answers import Preflight
from tests.records import ENVIRONMENT

CELL = Cell(model="net", batch_size=8)
HERE = {"cpu": replace(ENVIRONMENT, threads=8), "cuda:0": replace(ENVIRONMENT, threads=8)}


def threads(*cells: Cell) -> list[int | None]:
    return [cell.threads for cell in share_threads(cells, HERE)]


def of(size: int, **fields: object) -> Cell:
    return replace(CELL, world_size=size, **fields)


@pytest.mark.parametrize("sizes, shared", [((1, 2), 4), ((1, 2, 4), 2), ((4, 1), 2), ((1, 16), 1), ((1, 3), 2)])
def test_each_process_has_the_share_of_the_largest_cell(sizes: tuple[int, ...], shared: int) -> None:
    assert threads(*map(of, sizes)) == [shared] * len(sizes)


def test_strong_scaling_shares_out_what_the_ranks_have_together() -> None:
    assert threads(of(1), of(2, batch_size=4)) == [4, 4]
    assert threads(of(1), of(2, batch_size=4), of(4, batch_size=2)) == [2, 2, 2]


def test_cells_that_meet_in_a_third_have_the_same_threads() -> None:
    # The 2 x 8 are compared with 8 alone and with 16 alone, beside which 4 x 4 stand.
    met = (of(1), of(2), of(1, batch_size=16), of(4, batch_size=4), of(1, batch_size=5))
    assert threads(*met) == [2, 2, 2, 2, None]
    assert threads(*reversed(met)) == [None, 2, 2, 2, 2]


def test_ways_to_train_in_parallel_share_the_cell_of_one_process() -> None:
    assert threads(of(1), of(2), of(4, parallel=Parallel.FSDP2)) == [2, 2, 2]


@pytest.mark.parametrize(
    "cells",
    [
        (of(1),),
        (of(2), of(4)),
        (of(1), of(2, batch_size=3)),
        (of(1, device="cuda:0"), of(2, device="cuda:0")),
    ],
    ids=["one process", "nothing to compare with", "another batch", "a GPU"],
)
def test_cells_that_are_not_compared_keep_what_torch_takes(cells: tuple[Cell, ...]) -> None:
    assert threads(*cells) == [None] * len(cells)


def test_threads_that_were_asked_for_stay() -> None:
    assert threads(of(1, threads=3), of(2, threads=3)) == [3, 3]


def test_a_dry_run_asks_torch_only_for_accelerators_and_own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def call(place: str, devices: tuple[str, ...], models: tuple[str, ...], **_: Any) -> SimpleNamespace:
        asked.append((devices, models))
        return SimpleNamespace(error=UsageError("no CUDA device here"))

    monkeypatch.setattr("bench.runner.plan.processes.call", call)
    monkeypatch.setattr("bench.device.cuda.CudaBackend.is_missing", lambda: False)
    check_here([Cell(model="mlp", batch_size=8), Cell(model="mlp", batch_size=8, device="auto")])
    assert asked == []
    with pytest.raises(UsageError, match="no CUDA device here"):
        check_here([Cell(model="mlp", batch_size=8), Cell(model="mlp", batch_size=8, device="cuda")])
    assert asked == [(("cuda",), ())]
    with pytest.raises(UsageError, match="no CUDA device here"):
        check_here([Cell(model="torch.nn:Identity", batch_size=8)])
    assert asked[1:] == [((), (("torch.nn:Identity", None),))]
    with pytest.raises(UsageError, match="no CUDA device here"):
        check_here([Cell(model="mlp@width=3", batch_size=8)])
    assert asked[2:] == [((), (("mlp@width=3", None),))], "only the model knows which options make sense together"


def test_a_run_says_why_auto_passes_over_a_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a GPU whose driver is too old would be a run on the CPU without a word (B5)."""
    answer = Preflight(devices=(("auto", "cpu"),), environments=(("cpu", ENVIRONMENT),), notes=("auto takes it",))
    monkeypatch.setattr(plan.processes, "call", lambda *_, **__: Ending(outcome=Outcome.OK, value=answer))
    monkeypatch.setattr(plan.processes, "preload_libraries", lambda _: None)
    assert plan.make_plan([Cell(model="mlp", batch_size=8, device="auto")]).cells[0].device == "cpu"
    assert capsys.readouterr().err == "auto takes it\n"


def test_a_dry_run_refuses_what_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Ending(outcome=Outcome.TIMED_OUT, reason="took longer than 10 s")
    limits = []
    monkeypatch.setattr(plan.processes, "call", lambda *_, **given: limits.append(given["timeout_seconds"]) or ending)
    for check in (plan.check_here, plan.make_plan):
        with pytest.raises(BenchError, match="the machine could not be read: took longer than 10 s"):
            check([Cell(model="mlp@width=3", batch_size=8)], timeout_seconds=plan.preflight_limit(0.5))
    assert limits == [10.0, 10.0]
    assert (plan.preflight_limit(None), plan.preflight_limit(60.0)) == (None, 60.0)


@pytest.mark.parametrize(("size", "nodes", "fitting"), [(3, 2, 4), (2, 4, 4), (7, 3, 6)])
def test_processes_that_do_not_fill_their_nodes_are_told_how_many_do(size: int, nodes: int, fitting: int) -> None:
    with pytest.raises(UsageError, match=f"{size} processes .* over {nodes} nodes; write .*--world-size {fitting}$"):
        plan.check_nodes(of(size, nodes=nodes))


@pytest.mark.parametrize("progress", [False, True])
def test_python_hears_of_progress_where_it_asks_for_it(monkeypatch: pytest.MonkeyPatch, progress: bool) -> None:
    heard: list[int] = []

    def execute(*_: Any, observers: tuple[Any, ...], **__: Any) -> SimpleNamespace:
        heard.append(len(observers))
        return SimpleNamespace(records=())

    monkeypatch.setattr("bench.runner.session.execute", execute)
    assert bench.run(models="mlp", batch_size=2, progress=progress) == ()
    assert heard == [int(progress)]


def test_cells_of_accelerators_are_shared_out_in_turn() -> None:
    sizes = [replace(CELL, device="cuda:0", batch_size=size) for size in (1, 2, 3)]
    ranks = replace(CELL, device="cuda:0", world_size=2)
    found = share_out([CELL, *sizes, ranks], ("cuda:0", "cuda:1"))
    assert [cell.device for cell in found] == ["cpu", "cuda:0", "cuda:1", "cuda:0", "cuda:0"]
    assert share_out([CELL], ()) == [CELL]


@pytest.mark.parametrize(("workers", "words"), [(("cpu",), "cpu is none"), (("cuda:0",), "add -d cuda")])
def test_what_has_no_worker_of_its_own_is_refused(workers: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        share_out([CELL], workers)


def test_gpus_of_one_numa_node_share_a_lane_where_that_is_asked() -> None:
    first, second, third = (replace(CELL, device=f"cuda:{index}") for index in range(3))
    plain = Plan(cells=(), environments={})
    assert [plain.lane(cell) for cell in (CELL, first, second)] == [None, "cuda:0", "cuda:1"]
    near = {"cuda:0": frozenset({0, 1}), "cuda:1": frozenset({0, 1}), "cuda:2": frozenset({2, 3})}
    exclusive = replace(plain, near=near)
    assert exclusive.lane(first) == exclusive.lane(second) != exclusive.lane(third)
    assert exclusive.lane(replace(first, world_size=2)) is None
