from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.core.claim import ClaimVerdict
from bench.core.errors import ExitCode, NothingMeasuredError, StoreError, UsageError
from bench.runner.ci.steps import read_answer, read_results, run_step

CHECK = {"schema": 1, "command": "check", "claims": []}


@pytest.fixture
def no_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a program in the place of `python -m bench` that does what the file `script` says."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nshift 3\n. "$(dirname "$0")/script"\n')
    fake.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(fake))
    return tmp_path / "script"


def kept(folder: Path, name: str = "check") -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def test_an_answer_is_kept_with_its_exit_code(no_bench: Path, tmp_path: Path) -> None:
    no_bench.write_text(f"echo '{json.dumps(CHECK)}'; exit 1\n")
    folder = tmp_path / "kept"
    assert run_step("check", ["a.toml", "--all"], folder) == 1
    assert kept(folder)["answer"] == CHECK
    (result,) = read_results(folder)
    assert (result.name, result.command, result.exit_code) == ("check", "bench check a.toml --all", ExitCode.REGRESSION)
    assert result.answer == ()
    assert (folder / ".gitignore").read_text() == "*\n"


def test_json_is_asked_for_and_what_the_step_says_is_passed_on(no_bench, tmp_path, capfd) -> None:
    no_bench.write_text('echo "asked: $*" >&2; echo "bench: no such suite" >&2; exit 2\n')
    run_step("gate", ["x.toml"], tmp_path / "kept", "gate-x")
    assert "asked: gate x.toml --format json" in capfd.readouterr().err
    (result,) = read_results(tmp_path / "kept")
    assert (result.name, result.exit_code, result.answer) == ("gate-x", ExitCode.USAGE, None)
    assert result.problem == "bench: no such suite"


def test_a_users_folder_named_bench_is_not_this_package(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("raise SystemExit(77)\n")
    assert run_step("check", ["--help"], tmp_path / "kept") == ExitCode.FINE


def test_a_step_that_is_killed_is_no_verdict(no_bench: Path, tmp_path: Path) -> None:
    no_bench.write_text("kill -9 $$\n")
    assert run_step("check", [], tmp_path / "kept") == -9
    (result,) = read_results(tmp_path / "kept")
    assert result.exit_code is ExitCode.UNFIT
    assert "exit code -9" in result.problem


def test_a_step_that_never_ended_is_no_verdict(tmp_path: Path) -> None:
    document = {"schema": 1, "step": "ab", "arguments": [], "exit_code": None, "problem": "did not end", "answer": None}
    (tmp_path / "ab.json").write_text(json.dumps(document))
    (result,) = read_results(tmp_path)
    assert (result.exit_code, result.problem) == (ExitCode.UNFIT, "did not end")


def test_steps_stand_in_the_order_of_their_cost(no_bench: Path, tmp_path: Path) -> None:
    no_bench.write_text("exit 5\n")
    for step in ("ab", "check", "gate"):
        run_step(step, [], tmp_path / "kept")
    assert [result.name for result in read_results(tmp_path / "kept")] == ["gate", "check", "ab"]


def test_an_empty_folder_is_exit_code_5_and_a_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingMeasuredError, match="bench ci gate"):
        read_results(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(StoreError, match=r"notes\.json"):
        read_results(tmp_path)


@pytest.mark.parametrize(("step", "name"), [("run", None), ("gate", "../x"), ("gate", ".hidden")])
def test_a_step_or_name_that_makes_no_sense_is_refused(step: str, name: str | None, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        run_step(step, [], tmp_path, name)


def test_answers_are_read_as_printed_and_as_kept() -> None:
    claim = {
        "claim": {"id": "a", "model": "m", "quantity": "parameters", "value": 3},
        "measured": 4,
        "verdict": "mismatch",
        "reason": "",
    }
    printed = CHECK | {"claims": [claim]}
    for document in (printed, {"answer": printed}):
        (checked,), rows = read_answer(document)
        assert checked.verdict is ClaimVerdict.MISMATCH
        assert rows == ()
    with pytest.raises(ValueError, match="doctor"):
        read_answer({"command": "doctor"})


def test_a_name_taken_by_other_arguments_is_refused(no_bench, tmp_path) -> None:
    no_bench.write_text("echo no such suite >&2; exit 2\n")
    run_step("gate", ["typo/suite.toml"], tmp_path / "kept", "gate-suite")
    no_bench.write_text(f"echo '{json.dumps(CHECK)}'\n")
    for step, arguments in (("gate", ["b/suite.toml"]), ("check", ["typo/suite.toml"])):
        with pytest.raises(UsageError, match=r"gate-suite.*typo/suite\.toml.*--name"):
            run_step(step, arguments, tmp_path / "kept", "gate-suite")
    (result,) = read_results(tmp_path / "kept")
    assert (result.command, result.exit_code) == ("bench gate typo/suite.toml", ExitCode.USAGE)


def test_the_same_step_replaces_its_own_answer(no_bench: Path, tmp_path: Path) -> None:
    no_bench.write_text("exit 2\n")
    run_step("check", ["a.toml"], tmp_path / "kept")
    no_bench.write_text(f"echo '{json.dumps(CHECK)}'\n")
    run_step("check", ["a.toml"], tmp_path / "kept")
    (result,) = read_results(tmp_path / "kept")
    assert result.exit_code is ExitCode.FINE


def test_an_error_in_json_is_no_answer(no_bench: Path, tmp_path: Path) -> None:
    error = {"schema": 1, "error": "no such suite", "exit_code": 2}
    no_bench.write_text(f"echo '{json.dumps(error)}'; echo 'bench: no such suite' >&2; exit 2\n")
    run_step("gate", ["x.toml"], tmp_path / "kept")
    (result,) = read_results(tmp_path / "kept")
    assert (result.exit_code, result.answer, result.problem) == (ExitCode.USAGE, None, "bench: no such suite")


@pytest.mark.parametrize("code", [0, 1])
def test_a_step_that_answered_nothing_is_no_verdict(no_bench: Path, tmp_path: Path, code: int) -> None:
    no_bench.write_text(f"exit {code}\n")  # as `bench ci gate --help` does with 0
    run_step("gate", [], tmp_path / "kept")
    (result,) = read_results(tmp_path / "kept")
    assert result.exit_code is ExitCode.UNFIT
    assert result.problem == f"said nothing, exit code {code}"


def test_a_gate_that_only_put_counts_on_record_is_no_verdict(no_bench: Path, tmp_path: Path) -> None:
    answer = {"command": "gate", "suite": "s", "torch": "2.15", "is_updated": True, "rows": []}
    no_bench.write_text(f"echo '{json.dumps(answer)}'\n")
    run_step("gate", ["--update"], tmp_path / "kept")
    (result,) = read_results(tmp_path / "kept")
    assert result.exit_code is ExitCode.UNFIT
    assert "--update" in result.problem


def test_an_answer_whose_exit_code_is_no_number_is_refused(tmp_path: Path) -> None:
    kept = {"schema": 1, "step": "check", "arguments": [], "exit_code": False, "problem": "", "answer": CHECK}
    (tmp_path / "check.json").write_text(json.dumps(kept))  # False is equal to 0
    with pytest.raises(StoreError, match="exit_code"):
        read_results(tmp_path)
