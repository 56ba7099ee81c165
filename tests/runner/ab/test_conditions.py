"""`--cold-cache` and `--lock-clocks` of `bench ab`: both reach what measures, and the environment says which held."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import run_command
from bench.core.cell import Cell, Mode
from bench.core.environment import LOCKED
from bench.core.errors import ExitCode, UsageError
from bench.core.jsonio import to_json
from bench.device import clocks
from bench.device.clocks import locked_environments
from bench.measure.clock import ColdClock, HostClock
from bench.runner.ab import ratios, run
from bench.runner.ab.arm import LiveArm
from bench.runner.ab.servers import Servers
from bench.runner.ab.sides import Side
from bench.runner.workers.arm import _Worker
from tests.records import ENVIRONMENT

CELL = Cell(model="mlp", batch_size=2, mode=Mode.INFER)
ON_GPU = replace(ENVIRONMENT, gpu="NVIDIA H100", gpu_uuid="some")


STOP = UsageError("enough")


@pytest.mark.parametrize(
    ("arguments", "module", "name"),
    [
        (("HEAD", "HEAD"), run, "compare_sides"),
        (("--model-a", "mlp", "--set-b", "batch-size=2"), ratios, "compare_cells"),
    ],
)
def test_the_command_passes_both_on(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], module: Any, name: str
) -> None:
    seen: list[Any] = []

    def compare(*given: Any) -> None:
        seen.append(given[0].settings if name == "compare_sides" else given[2])
        raise STOP

    monkeypatch.setattr(module, name, compare)
    for options in (("--cold-cache", "--lock-clocks"), ()):
        assert run_command(["ab", *arguments, *options]) == ExitCode.USAGE
    assert [(one.cold_cache, one.lock_clocks) for one in seen] == [(True, True), (False, False)]


@pytest.mark.parametrize(("is_cold", "sent"), [(True, {"cold": True}), (False, {})])
def test_every_worker_of_a_cold_comparison_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_cold: bool, sent: dict[str, bool]
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(LiveArm, "_start", lambda *_: None)
    monkeypatch.setattr(LiveArm, "_send", lambda *_, **arguments: asked.append(arguments))
    side = Side(name="base", given=".", folder=tmp_path, root=tmp_path)
    with Servers({"base": side}, is_bound=False, forks=False, is_cold=is_cold) as servers:
        arm = servers.start("base")
        arm.start_build(CELL)
        arm.close()
    assert {name: value for name, value in asked[0].items() if name == "cold"} == sent


@pytest.mark.parametrize(("is_cold", "clock"), [(True, ColdClock), (False, HostClock)])
def test_a_worker_empties_the_cache_where_it_is_told(
    monkeypatch: pytest.MonkeyPatch, is_cold: bool, clock: type[object]
) -> None:
    worker = _Worker()
    worker.build(to_json(CELL), root=".", foreign=None, own_models=False, cold=is_cold)
    assert type(worker._clock) is clock
    assert len(worker.visit(2)["seconds"]) == 2
    worker.free()


@pytest.fixture
def _refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def locked(uuids: Sequence[str]) -> Iterator[dict[str, str]]:
        yield {uuid: "needs an administrator" for uuid in uuids if uuid == "other"}

    monkeypatch.setattr(clocks, "locked_clocks", locked)


@pytest.mark.usefixtures("_refuses")
def test_environments_say_which_clocks_are_locked(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"cuda:0": ON_GPU, "cuda:1": replace(ON_GPU, gpu_uuid="other"), "cpu": ENVIRONMENT}
    with locked_environments(given, is_asked=True) as found:
        assert {device: LOCKED in dict(one.gpu_settings or ()) for device, one in found.items()} == {
            "cuda:0": True,
            "cuda:1": False,
            "cpu": False,
        }
    assert found["cuda:0"].fingerprint != ON_GPU.fingerprint
    assert capsys.readouterr().err == "the clock of cuda:1 was not locked: needs an administrator\n"
    with locked_environments(given, is_asked=False) as found:
        assert found == given


@pytest.mark.usefixtures("_refuses")
def test_two_cells_are_measured_and_stored_under_the_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored: list[Any] = []

    def open_run(*_: Any, environment: Any, **__: Any) -> None:
        stored.append(environment)
        raise STOP

    monkeypatch.setattr(ratios, "_look", lambda *_: ({"cuda:0": ON_GPU}, {}))
    monkeypatch.setattr(ratios, "open_run", open_run)
    a = replace(CELL, device="cuda:0")
    for is_asked in (True, False):
        with pytest.raises(UsageError, match="enough"):
            ratios.compare_cells(a, replace(a, batch_size=4), ratios.Settings(lock_clocks=is_asked), tmp_path)
    assert [LOCKED in dict(one.gpu_settings or ()) for one in stored] == [True, False]
