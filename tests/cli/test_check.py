"""`bench check`: which claims fail a build, and where claims of time stand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.claims.files import timm_file
from bench.cli import run_command
from bench.cli.check import exit_code
from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.core.errors import ExitCode
from bench.core.estimate import Estimate
from bench.runner.claims import _is_compared
from tests.records import make_claims

MATCH, _, MISMATCH, *_ = make_claims()
INTERVAL = Estimate(point=1.2, low=1.1, high=1.3, confidence=0.95, n=8, n_effective=8, method="test")
FALSE_HERE = replace(MISMATCH, interval=INTERVAL)
OPEN = CheckedClaim(claim=MATCH.claim, measured=1.0, verdict=ClaimVerdict.INCONCLUSIVE, interval=INTERVAL)
FILE = """
[document]
title = "A page"

[[ratio]]
id = "tanh.parameters"
quantity = "parameters"
subject = "mlp@activation=tanh"
reference = "mlp"
documented = 1

[[ratio]]
id = "tanh.time"
quantity = "step_seconds"
subject = "mlp@activation=tanh"
reference = "mlp"
below = 1
"""


@pytest.mark.parametrize(
    ("checked", "plain", "strict"),
    [
        ([MATCH], ExitCode.FINE, ExitCode.FINE),
        ([MATCH, MISMATCH], ExitCode.REGRESSION, ExitCode.REGRESSION),
        ([FALSE_HERE], ExitCode.FINE, ExitCode.REGRESSION),
        ([OPEN], ExitCode.FINE, ExitCode.INCONCLUSIVE),
        ([OPEN, FALSE_HERE], ExitCode.FINE, ExitCode.REGRESSION),
    ],
)
def test_a_time_fails_only_when_strict(checked: list[CheckedClaim], plain: ExitCode, strict: ExitCode) -> None:
    assert exit_code(checked, is_strict=False) is plain
    assert exit_code(checked, is_strict=True) is strict


def test_a_file_of_ratios_is_checked_and_its_times_are_left_unmeasured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ratios.toml"
    file.write_text(FILE)
    assert run_command(["check", str(file), "--format", "json"]) == 0
    count, time = json.loads(capsys.readouterr().out)["claims"]
    assert (count["verdict"], count["measured"], count["interval"]) == ("match", 1.0, None)
    assert (time["verdict"], time["claim"]["relation"]) == ("unmeasured", "below")
    assert "bench check --time" in time["reason"]


def test_a_model_that_is_not_there_costs_its_own_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ratios.toml"
    file.write_text(FILE.replace('reference = "mlp"', 'reference = "mpl"', 1))
    assert run_command(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "UNMEASURED" in out and "'mpl'" in out


@pytest.mark.slow
def test_timms_published_figures_are_checked_and_only_what_is_wrong_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm", reason="timm is an extra; it is installed wherever CI runs")
    own = [line for line in timm_file().read_text().splitlines() if '"timm:convnext_atto_ols"' in line]
    file = tmp_path / "timm.toml"
    monkeypatch.setattr("bench.runner.claims.timm_file", lambda: file)

    def check(lines: list[str]) -> int:
        file.write_text("\n".join(["claim = [", *lines, "]", "[document]", 'title = "timm"']))
        return run_command(["check", "--timm"])

    assert len(own) == 3
    assert check(own) == ExitCode.FINE
    out = capsys.readouterr().out
    assert "convnext" not in out and "3 claims" in out and "--all" in out
    wrong = own[0].replace("value = 3700000", "value = 3710000")
    assert wrong != own[0]
    assert check([wrong, *own[1:]]) == ExitCode.REGRESSION
    assert "MISMATCH" in capsys.readouterr().out


def test_timm_and_torchvision_are_two_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--torchvision", "--timm"]) == ExitCode.USAGE
    assert run_command(["check", "--timm", "--time"]) == ExitCode.USAGE
    assert capsys.readouterr().err.count("\n") == 2


def test_torchvision_has_no_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--torchvision", "--time"]) == ExitCode.USAGE
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("models", "is_compared"),
    [
        (["gru", "lstm"], True),
        (["gru@hidden=64", "lstm@hidden=64"], True),
        (["gru"], False),
        (["gru", "gru@layers=2"], False),
    ],
)
def test_a_run_checks_the_ratios_of_what_it_compares(models: list[str], is_compared: bool) -> None:
    ratio = replace(MATCH.claim, model="gru", relative_to="lstm")
    assert _is_compared(ratio, models) is is_compared


def test_a_run_checks_no_ratio_of_a_model_with_itself() -> None:
    assert not _is_compared(replace(MATCH.claim, model="mlp", relative_to="mlp"), ["mlp"])
    activations = replace(MATCH.claim, model="mlp@activation=tanh", relative_to="mlp@activation=relu")
    assert _is_compared(activations, ["mlp@width=9,activation=relu", "mlp@width=9,activation=tanh"])
    assert not _is_compared(activations, ["mlp"])
