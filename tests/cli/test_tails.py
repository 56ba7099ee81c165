"""`--tail` and `--latency` on the command line: the verdict, its exit code, and what stands in 80 columns."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.cli import run_command
from bench.core.cell import Mode
from bench.core.record import Outcome, Phase, Record
from bench.runner import session
from tests.records import make_record
from tests.stored_runs import make_run

RUN = ("run", "mlp", "--mode", "infer", "-q")


def record_of(n: int, slow: int, model: str = "mlp") -> Record:
    """Make an inference of n steps of 1 ms, of which so many, evenly spread, took about 3 ms."""
    every = n // slow if slow else 2 * n
    seconds = tuple(
        3e-3 * (1 + place * 7919 % 1000 / 1e5) if place % every == every // 2 else 1e-3 * (1 + place % 2 / 100)
        for place in range(n)
    )
    record = make_record(model, mode=Mode.INFER)
    step, *others = record.samples
    assert step.phase is Phase.STEP
    return replace(record, samples=(replace(step, seconds=seconds), *others))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Records that a run answers with, put in by the test; what was asked for comes behind them."""
    given: list[Any] = []
    monkeypatch.setenv("COLUMNS", "80")

    def execute(asked: Any, **_: Any) -> Any:
        records = tuple(given)
        given.append(asked)
        return make_run(records=records)

    monkeypatch.setattr(session, "execute", execute)
    return given


@pytest.mark.parametrize(
    ("records", "code", "words"),
    [
        ([record_of(1000, 0)], 0, "p99 <= 2 ms: PASS (0 of 1000 values over it"),
        ([record_of(1000, 40)], 1, "FAIL (40 of 1000 values over it"),
        ([record_of(99, 0)], 3, "needs 200 more, none of them over it (0 of 99 values over it"),
        ([record_of(99, 0), record_of(1000, 40, "my_net")], 1, "FAIL"),
        ([record_of(99, 0), record_of(1000, 0, "my_net")], 3, "PASS"),
        ([replace(record_of(9, 0), outcome=Outcome.KILLED, samples=(), reason="killed")], 5, "KILLED"),
    ],
)
def test_a_limit_is_answered_by_the_exit_code(
    asked: list[Any], capsys: pytest.CaptureFixture[str], records: list[Record], code: int, words: str
) -> None:
    asked += records
    assert run_command([*RUN, "--latency", "p99=2ms"]) == code
    out = capsys.readouterr().out
    assert words in " ".join(out.split()).replace("2.00 ms", "2 ms").replace("1,000", "1000")
    assert max(map(len, out.splitlines())) <= 80
    del asked[:]
    asked += records
    assert run_command([*RUN, "--latency", "p99=2ms", "--format", "json"]) == code
    verdicts = [one["verdict"] for one in json.loads(capsys.readouterr().out)["latency"]]
    assert len(verdicts) == sum(record.outcome is Outcome.OK for record in records)


def test_a_tail_shows_every_quantile_and_a_bound_where_steps_are_few(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked += [record_of(3000, 100), record_of(99, 0, "my_net")]
    assert run_command([*RUN, "--tail"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    lines = [line for line in out.splitlines() if " p50 " in line or " p95 " in line or " p99 " in line]
    assert len(lines) == 6
    assert lines[2].split()[-1] == "3,000", "enough for an interval"
    assert "≥" in lines[5] and " 99 of 1,000" in lines[5]
    assert (asked[-1].sampling.tail, asked[-1].sampling.processes) == (True, 3)


@pytest.mark.parametrize(
    ("typed", "most"), [(("--budget", "10s"), 200_000), (("--budget", "1s"), 10_000), ((), 10_000)]
)
def test_a_longer_budget_pays_for_more_steps(asked: list[Any], typed: tuple[str, ...], most: int) -> None:
    asked.append(record_of(99, 0))
    assert run_command([*RUN, *typed]) == 0
    assert asked[-1].sampling.max_steps == most


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "mlp", "--tail"), "--tail and --latency are for inferences"),
        (("run", "mlp", "--mode", "infer", "--latency", "p99"), "'p99' is no limit; write for example p99=50ms"),
        (("run", "mlp", "--mode", "infer", "--latency", "p101=1s"), "is no limit"),
        (("generate", "decoder_lm", "--latency", "p99=50"), "is no limit"),
    ],
)
def test_what_is_no_limit_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert run_command(list(arguments)) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
