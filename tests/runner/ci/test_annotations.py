from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.claim import CheckedClaim, Claim, ClaimVerdict
from bench.core.comparison import ComparisonVerdict
from bench.core.errors import ExitCode
from bench.core.gate import GateVerdict
from bench.report.verdict import StepResult
from bench.runner.ci.annotations import Annotation, Level, find_annotations
from tests.report.ci_results import PASSED, SILENT, ab_result, comparison, gate_result
from tests.report.formats.runs import gate_row

NET = "import torch\n\n\nclass Other:\n    pass\n\n\ndef net():\n    return torch.nn.Linear(4, 4)\n"
CLAIMS = '[document]\ntitle = "a slide"\n\n[[claim]]\nid = "first"\n\n[[claim]]\nid = "second"\n'


@pytest.fixture(autouse=True)
def in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("claims.toml").write_text(CLAIMS)


def found(result: StepResult) -> list[Annotation]:
    return list(find_annotations([result], Path.cwd()))


def test_what_passes_is_not_annotated() -> None:
    assert find_annotations(PASSED, Path.cwd()) == ()


def test_a_gate_row_is_about_the_line_of_its_model() -> None:
    (one,) = found(gate_result(gate_row(GateVerdict.MORE), code=ExitCode.REGRESSION))
    assert (one.level, one.file, one.line) == (Level.ERROR, "net.py", 8)
    assert "dispatch_count 141 -> 145 (+2.8 %)" in one.message


def test_a_count_that_fell_is_a_notice() -> None:
    (one,) = found(gate_result(gate_row(GateVerdict.LESS), code=ExitCode.FINE))
    assert one.level is Level.NOTICE


def test_a_model_outside_the_repository_has_no_place() -> None:
    for model in ("torchvision:resnet18", "my_net", "absent.py:net", "../net.py:net", "no such model"):
        (one,) = found(ab_result(comparison(ComparisonVerdict.SLOWER, model), code=ExitCode.REGRESSION))
        assert (one.file, one.line) == (None, None)
        assert one.message.startswith(model)


def test_a_model_that_is_no_python_any_more_is_annotated_where_it_breaks() -> None:
    Path("net.py").write_text(NET + "\ndef broken(:\n")
    (one,) = found(ab_result(comparison(ComparisonVerdict.INCOMPARABLE), code=ExitCode.UNFIT))
    assert (one.level, one.file, one.line) == (Level.WARNING, "net.py", 11)
    assert "ImportError: no x" in one.message


def test_slower_is_an_error_and_inconclusive_a_warning() -> None:
    result = ab_result(
        comparison(ComparisonVerdict.SLOWER),
        comparison(ComparisonVerdict.INCONCLUSIVE),
        comparison(ComparisonVerdict.SAME),
        code=ExitCode.REGRESSION,
    )
    assert [one.level for one in found(result)] == [Level.ERROR, Level.WARNING]
    assert "+10.0 %" in found(result)[0].message


def check_result(command: str) -> StepResult:
    claim = Claim(id="second", model="net.py:net", quantity="parameters", value=3)
    checked = CheckedClaim(claim=claim, measured=20, verdict=ClaimVerdict.MISMATCH, reason="it is 20")
    fine = replace(checked, verdict=ClaimVerdict.MATCH)
    return StepResult(name="check", command=command, exit_code=ExitCode.REGRESSION, answer=(fine, checked))


def test_a_wrong_claim_is_about_its_own_line_else_about_its_model() -> None:
    (one,) = found(check_result("bench check claims.toml"))
    assert (one.file, one.line) == ("claims.toml", 8)
    assert "documented 3, measured 20" in one.message
    (one,) = found(check_result("bench check"))
    assert (one.file, one.line) == ("net.py", 8)


def test_a_step_without_an_answer_is_annotated_with_its_error() -> None:
    (one,) = found(SILENT)
    assert one.level is Level.ERROR
    assert one.file is None
    assert "bench gate --update" in one.message
