from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, Precision
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.estimate import Estimate
from bench.core.jsonio import to_json
from bench.core.record import Outcome, Record
from bench.runner.compare import _shift, compare_stored, read_run
from bench.store.runs import RunFolder, RunInfo
from bench.suite.commands import ab_commands
from bench.tables.nominations import WHY_NOT, headline, nominations_document
from tests.pages import on_page
from tests.records import ENVIRONMENT, STARTED_AT, make_samples

MLP = Cell(model="mlp", batch_size=8)
CNN = Cell(model="my_net", batch_size=32, precision=Precision.BF16_AMP)
CLEAN = replace(ENVIRONMENT, git_commit="a" * 40, git_dirty=False)
LATER = replace(ENVIRONMENT, git_commit="b" * 40, git_dirty=False)


def compare_runs(base, head, *, results, is_forced=False):
    return compare_stored(read_run(base, results), read_run(head, results), is_forced=is_forced)


def record(cell: Cell, seconds: float | None, environment: Environment) -> Record:
    return Record(
        cell=cell,
        outcome=Outcome.OK if seconds else Outcome.OUT_OF_MEMORY,
        reason=None if seconds else "no memory left",
        environment=environment,
        samples=make_samples(seconds) if seconds else (),
        started_at=STARTED_AT,
        duration_seconds=1.0,
        stepbench="0.1.0",
    )


def store(results: Path, environment: Environment, *cells: tuple[Cell, float | None]) -> str:
    folder = RunFolder.create(results, RunInfo(started_at=STARTED_AT, cells=tuple(cell for cell, _ in cells)))
    for cell, seconds in cells:
        folder.append(record(cell, seconds, environment))
    return folder.run.id


def test_a_changed_cell_is_nominated_with_the_judging_command(tmp_path: Path) -> None:
    base = store(tmp_path, CLEAN, (MLP, 0.010), (CNN, 0.020))
    head = store(tmp_path, LATER, (MLP, 0.0101), (CNN, 0.023))
    found = compare_runs(base, head, results=tmp_path)
    assert [n.is_suspect for n in found.nominations] == [False, True]
    assert found.nominations[1].shift == pytest.approx(math.log(1.15), abs=0.01)
    assert found.commands == ("bench ab aaaaaaaaaaaa bbbbbbbbbbbb my_net -b 32 -p bf16-amp",)
    text = on_page(nominations_document(found))
    assert "suspect" in text
    assert found.commands[0] in text
    assert WHY_NOT.split()[0] in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_cell_missing_on_a_side_is_a_row(tmp_path: Path) -> None:
    base = store(tmp_path, CLEAN, (MLP, 0.010), (CNN, 0.020))
    head = store(tmp_path, CLEAN, (MLP, 0.010), (CNN, None))
    other = store(tmp_path, CLEAN, (MLP, 0.010))
    assert compare_runs(base, head, results=tmp_path).nominations[1].missing == "head: out_of_memory: no memory left"
    assert compare_runs(base, other, results=tmp_path).nominations[1].missing == "head: no such cell"
    assert compare_runs(other, base, results=tmp_path).nominations[1].missing == "base: no such cell"


def test_a_cell_of_another_machine_stands_apart_unless_forced(tmp_path: Path) -> None:
    base = store(tmp_path, CLEAN, (MLP, 0.010), (CNN, 0.020))
    head = store(tmp_path, replace(CLEAN, malloc=(("MALLOC_ARENA_MAX", "1"),)), (MLP, 0.020))
    (one, _) = compare_runs(base, head, results=tmp_path).nominations
    assert (one.apart, one.is_suspect) == ("another environment: malloc", False)
    assert one.shift == pytest.approx(math.log(2), abs=0.02)  # shown all the same
    (forced, _) = compare_runs(base, head, results=tmp_path, is_forced=True).nominations
    assert (forced.apart, forced.is_suspect) == ("", True)


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_side_measured_on_a_busy_machine_nominates_nothing(tmp_path: Path, is_forced: bool) -> None:
    base = store(tmp_path, CLEAN, (MLP, 0.010))
    busy = replace(record(MLP, 0.5, CLEAN), advice=(Advice(kind=AdviceKind.BUSY_MACHINE),))
    head = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, cells=(MLP,)))
    head.append(busy)
    found = compare_runs(base, head.run.id, results=tmp_path, is_forced=is_forced)
    (one,) = found.nominations
    assert (one.apart, one.is_suspect, found.commands) == ("head: a busy machine", False, ())
    assert one.head_doubts == (AdviceKind.BUSY_MACHINE,)


def test_a_change_within_its_interval_is_no_suspect() -> None:
    wide, narrow = (
        [
            Estimate(point=p, low=p * (1 - w), high=p * (1 + w), confidence=0.95, n=9, n_effective=9, method="t")
            for p in s
        ]
        for w, s in ((0.2, (1.0, 1.1)), (0.01, (1.0, 1.1)))
    )
    for (base, head), is_beyond in ((wide, False), (narrow, True)):
        shift, low, high = _shift(base, head)
        assert low is not None and high is not None
        assert low < shift < high
        assert (low > 0) is is_beyond
    # MOVER by hand: log(1.1) - sqrt(log(1/0.99)^2 + log(1.01)^2)
    assert _shift(*narrow)[1] == pytest.approx(math.log(1.1) - math.hypot(math.log(1 / 0.99), math.log(1.01)))


def test_a_host_of_another_name_and_another_commit_are_no_other_machine(tmp_path: Path) -> None:
    base = store(tmp_path, CLEAN, (MLP, 0.010))
    head = store(tmp_path, replace(LATER, host="runner-7"), (MLP, 0.010))
    assert [one.apart for one in compare_runs(base, head, results=tmp_path).nominations] == [""]


def test_runs_without_a_common_cell_are_nothing_to_compare(tmp_path: Path) -> None:
    base, head = store(tmp_path, CLEAN, (MLP, 0.1)), store(tmp_path, CLEAN, (CNN, 0.1))
    found = compare_runs(base, head, results=tmp_path)
    assert found.nominations == ()
    assert headline(found) == f"{base} and {head} have no cell in common"


def test_a_dirty_commit_is_not_named_in_the_command() -> None:
    assert ab_commands(None, None, [MLP]) == ("bench ab BASE HEAD mlp -b 8",)
    assert ab_commands("a" * 40, "a" * 40, [MLP]) == (f"bench ab {'a' * 12} . mlp -b 8",)


def test_cells_that_differ_in_the_model_only_share_a_command() -> None:
    odd = Cell(model="my file.py:net", batch_size=8, input_shape=(3, 8, 8), threads=1)
    commands = ab_commands(None, None, [MLP, replace(MLP, model="rnn"), odd])
    assert commands[0] == "bench ab BASE HEAD mlp rnn -b 8"
    assert shlex.split(commands[1])[4:] == ["my file.py:net", "-b", "8", "--input", "3x8x8", "--threads", "1"]


def _pytest_benchmark(path: Path, environment: Environment | None, median: float, cell: Cell | None = MLP) -> str:
    machine: dict[str, Any] = {"node": "x"}
    if environment is not None:
        machine["stepbench"] = {"fingerprint": environment.fingerprint, "environment": to_json(environment)}
    extra = {} if cell is None else {"cell": to_json(cell), "cell_id": cell.id, "cell_key": cell.key}
    benchmark = {"fullname": "bench_x.py::bench_x", "stats": {"median": median}, "extra_info": extra}
    path.write_text(json.dumps({"machine_info": machine, "benchmarks": [benchmark]}))
    return str(path)


def test_a_json_file_of_pytest_benchmark_compares_with_a_run(tmp_path: Path) -> None:
    base = _pytest_benchmark(tmp_path / "base.json", CLEAN, 0.010)
    found = compare_runs(base, store(tmp_path, LATER, (MLP, 0.012)), results=tmp_path)
    assert found.nominations[0].is_suspect
    assert found.commands == ("bench ab aaaaaaaaaaaa bbbbbbbbbbbb mlp -b 8",)


def test_a_json_file_that_names_no_machine_stands_apart(tmp_path: Path) -> None:
    files = [_pytest_benchmark(tmp_path / f"{name}.json", None, 0.010, None) for name in "ab"]
    (one,) = compare_runs(*files, results=tmp_path).nominations
    assert one.apart == "base and head: no word on which machine it was measured"
    assert compare_runs(*files, results=tmp_path, is_forced=True).nominations[0].cell_id == "bench_x.py::bench_x"


def test_a_file_that_is_something_else_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1, 2]")
    with pytest.raises(StoreError, match="neither a run nor a JSON file of pytest-benchmark"):
        compare_runs(str(tmp_path / "x.json"), "latest", results=tmp_path)
