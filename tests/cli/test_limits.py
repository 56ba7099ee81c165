"""Whatever asks a model waits for it no longer than it was told, and says so in one line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import BenchError
from bench.core.record import Outcome
from bench.runner import doctor, plan, processes
from bench.runner.endings import Ending

HANGS = """
import time
from dataclasses import replace

from torch import nn


def net():
    time.sleep(600)


class Stuck(nn.Linear):
    def forward(self, x):
        time.sleep(600)


def stuck():
    return Stuck(64, 10)


def text():
    from bench import registry

    whole = registry.resolve("decoder_lm@width=16,heads=2,layers=1,vocabulary=50")
    return replace(whole, generator=replace(whole.generator, prefill=lambda *_: time.sleep(600)))


def picture():
    from bench import registry

    whole = registry.resolve("diffusion@channels=8,text_length=4,text_width=16,heads=2,vocabulary=20")
    return replace(whole, sampler=replace(whole.sampler, encode=lambda *_: time.sleep(600)))
"""
CLAIMS = """
[document]
title = "A page"

[[claim]]
id = "net.parameters"
model = "hangs.py:net"
quantity = "parameters"
scope = "all"
value = 1

[[claim]]
id = "conv1.parameters"
model = "walkthrough_cnn"
layer = "conv1"
quantity = "parameters"
scope = "all"
value = 896
"""
SUITE = """
[[sweep]]
model = ["hangs.py:net"]
batch_size = 1
input_shape = "3"
"""
pytestmark = pytest.mark.slow

SHAPE = ["--input-shape", "3"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hangs.py").write_text(HANGS)
    (tmp_path / "claims.toml").write_text(CLAIMS)
    (tmp_path / "suite.toml").write_text(SUITE)
    (tmp_path / "never.py").write_text("import time\ntime.sleep(600)\n\n\ndef net(): ...\n")
    return tmp_path


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    started = time.monotonic()
    code = run_command(list(arguments))
    assert time.monotonic() - started < 280  # it would sleep for ten minutes
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out + captured.err


@pytest.mark.parametrize(
    "command",
    [
        ["count", "hangs.py:net", *SHAPE],
        ["fit", "hangs.py:net", *SHAPE, "--memory", "1GiB"],
        ["gate", "suite.toml", "--update"],
    ],
    ids=lambda command: command[0],
)
def test_a_model_that_never_comes_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, said = bench(capsys, *command, "--timeout", "8s")
    assert code == 2
    assert "took longer than 8 s" in said


def test_a_claim_about_a_model_that_never_comes_is_unmeasured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said = bench(capsys, "check", "claims.toml", "--timeout", "20s")
    assert code == 0
    assert "took longer than 20 s" in said
    assert "1 match" in said and "1 unmeasured" in said


def test_a_profile_of_a_model_that_never_comes_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = bench(capsys, "profile", "hangs.py:net", *SHAPE, "--timeout", "8s")
    assert code == 5
    assert "took longer than 8 s" in said


@pytest.mark.parametrize(
    "command",
    [
        *("count", "fit", "profile", "run", "run --dry-run", "train", "train --dry-run", "pipeline"),
        *("pipeline --dry-run", "generate", "generate --dry-run", "images", "images --dry-run"),
    ],
)
def test_a_file_whose_import_never_ends_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "LEAST_PREFLIGHT_SECONDS", 1.0)
    shape = () if command.startswith(("generate", "images")) else SHAPE
    code, said = bench(capsys, *command.split(), "never.py:net", *shape, "--timeout", "6s")
    assert code == 2
    assert "took longer than 6 s" in said
    assert not Path("results").exists()


def test_a_step_that_never_ends_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = bench(capsys, "run", "hangs.py:net", *SHAPE, "--timeout", "4s")
    assert code == 5
    assert "took longer than 4 s" in said


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "hangs.py:text", "--prompt", "4", "--new-tokens", "3"],
        ["images", "hangs.py:picture", "--steps", "2"],
        ["pipeline", "hangs.py:stuck", "--input-shape", "64", "--workers", "0", "-b", "2"],
        ["train", "hangs.py:stuck", "--input-shape", "64", "--limit-examples", "8", "-b", "2"],
    ],
    ids=lambda command: command[0],
)
def test_a_case_that_never_ends_is_a_row(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, said = bench(capsys, *command, "--timeout", "8s")
    assert code == 5
    assert ("no step ended within 8 s" if command[0] == "train" else "took longer than 8 s") in " ".join(said.split())


@pytest.mark.parametrize(
    "command",
    [
        ["ab", "--model-a", "hangs.py:stuck", "--set-b", "batch-size=16", "--sessions", "5", "--no-void"],
        ["machine", "noise", "hangs.py:net", "-b", "2"],
    ],
    ids=lambda command: command[0],
)
def test_a_side_that_never_answers_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shape = "64" if command[0] == "ab" else "3"
    code, said = bench(capsys, *command, "--input-shape", shape, "--timeout", "10s")
    assert code == 5
    assert "gave no answer within 10 s" in " ".join(said.split())


def test_the_limit_is_that_of_every_process_that_measures_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    def call(function: str, *_: object, timeout_seconds: float | None = None, **__: object) -> Ending:
        limits.append(timeout_seconds)
        return Ending(outcome=Outcome.OK if function.endswith(":nothing") else Outcome.TIMED_OUT, reason="took longer")

    monkeypatch.setattr(processes, "call", call)
    with pytest.raises(BenchError, match="could not be measured"):
        doctor.find_costs(timeout_seconds=7.0)
    assert set(limits) == {7.0}


def test_a_machine_that_does_not_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = bench(capsys, "machine", "--timeout", "10ms")
    assert code == 2
    assert "Machine " in said  # what is known without torch
    assert "took longer than" in said
