"""`bench run --resume` through the real command line and real processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.advice import Advice, AdviceKind
from bench.core.errors import ExitCode
from bench.core.record import Outcome
from bench.store import runs as store
from bench.store.runs import RunFolder, latest

MODEL = "from torch import nn\n\ndef net():\n    return nn.Linear(4, 3)\n"
BROKEN = "from torch import nn\n\ndef net():\n    return nn.Linear(5, 3)\n"
QUICK = ("--budget", "0.01s", "--input-shape", "4", "-b", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.py").write_text(MODEL)
    Path("two.py").write_text(MODEL)


def bench(capsys, *arguments):
    """Run a command; return exit code and stderr."""
    code = run_command([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


def last_run():
    return RunFolder.open(latest(Path("results")))


def test_a_resumed_run_measures_what_changed_and_only_that(capsys):
    Path("two.py").write_text(BROKEN)
    assert bench(capsys, "run", "one.py:net", "two.py:net", *QUICK)[0] == ExitCode.FINE
    folder = last_run()
    one, two = (folder.records_path / f"{cell.key}.json" for cell in folder.run.cells)
    kept = one.stat().st_mtime_ns
    (folder.records_path / ".x.json.1-ab.tmp").write_text("half a record of a killed writer")

    assert run_command(["run", "--resume", "latest", "--dry-run"]) == ExitCode.FINE
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["two.py:net/train/b2/cpu/fp32/4/t1", "1 cell; nothing was measured (--dry-run)"]
    assert not last_run().run.resumptions

    code, err = bench(capsys, "run", "--resume", "latest", "--keep-failed")
    assert "2 records kept, nothing is left" in err, err
    assert code == ExitCode.FINE

    Path("two.py").write_text(MODEL)
    _, err = bench(capsys, "run", "--resume", folder.path.name[:15])
    assert "1 records kept, 1 to measure: 1 whose model was edited" in err
    assert [record.outcome for record in folder.records()] == [Outcome.OK] * 2

    two.write_text('{"schema": 1, "cell"')
    _, err = bench(capsys, "run", "--resume", folder.path)
    assert f"{two.name} is not whole JSON" in err
    assert "1 records kept, 1 to measure: 1 without a record" in err
    assert [record.outcome for record in folder.records()] == [Outcome.OK] * 2

    assert one.stat().st_mtime_ns == kept
    assert {path.name for path in folder.records_path.iterdir()} == {one.name, two.name}
    run = last_run().run
    assert len(run.resumptions) == 3
    assert (run.id, run.command, run.started_at) == (folder.path.name, folder.run.command, folder.run.started_at)


def test_only_what_is_doubted_is_measured_longer(capsys):
    bench(capsys, "run", "one.py:net", "two.py:net", *QUICK)
    folder = last_run()
    one, two = (replace(record, advice=()) for record in folder.records())
    folder.append(one)
    folder.append(replace(two, advice=(Advice(kind=AdviceKind.FEW_SAMPLES),)))
    kept = (folder.records_path / f"{one.cell.key}.json").stat().st_mtime_ns

    code, err = bench(capsys, "run", "--resume", "latest", "--retry", "doubted", "--budget", "0.02s")
    assert code == ExitCode.FINE, err
    assert "1 records kept, 1 to measure: 1 whose times are in doubt" in err
    assert (folder.records_path / f"{one.cell.key}.json").stat().st_mtime_ns == kept
    budgets = {record.cell.model: record.sampling.budget_seconds for record in folder.records()}
    assert budgets == {"one.py:net": 0.01, "two.py:net": 0.02}

    _, err = bench(capsys, "run", "--resume", "latest")
    assert "2 records kept, nothing is left" in err, "what was measured longer stands, and the run asks for no more"


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_cold_starts(capsys):
    bench(capsys, "run", "one.py:net", "two.py:net", *QUICK, "--cold-start", "--max-cells", "1")
    bench(capsys, "run", "--resume", "latest")
    records = last_run().records()
    assert [(record.outcome, len(record.cold_starts)) for record in records] == [(Outcome.OK, 1)] * 2


@pytest.mark.slow
def test_order_and_limits_leave_the_rest_to_a_resume(capsys, monkeypatch):
    def sizes():
        return [record.cell.batch_size for record in last_run().records()]

    code = run_command(["run", "one.py:net", *QUICK, "-b", "8,1", "--order", "short", "--max-cells", "1"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"2 cells not measured; to continue: `bench run --resume {last_run().path}`" in said
    assert code == ExitCode.FINE
    assert [cell.batch_size for cell in last_run().run.cells] == [2, 8, 1]
    assert sizes() == [1]
    with monkeypatch.context() as patch:
        patch.setattr("bench.cli.options.parse_clock", lambda *_: datetime.now(UTC))
        code, err = bench(capsys, "run", "--resume", "latest", "--until", "07:30")
    assert (code, sizes()) == (ExitCode.FINE, [1]), err
    bench(capsys, "run", "--resume", "latest", "--max-cells", "1")
    assert sizes() == [2, 1]


def test_a_resumed_run_with_targets_grows_and_shrinks_no_records(capsys):
    bench(capsys, "run", "one.py:net", *QUICK)
    folder = last_run()
    (first,) = folder.records()
    _, err = bench(capsys, "run", "one.py:net", *QUICK, "-b", "4", "--resume", "latest")
    assert "1 records kept, 1 to measure: 1 without a record" in err
    _, err = bench(capsys, "run", "two.py:net", *QUICK, "--resume", "latest")
    assert "0 records kept, 1 to measure: 1 without a record" in err
    assert [record.cell.id for record in last_run().records()] == [
        "two.py:net/train/b2/cpu/fp32/4/t1",
        "one.py:net/train/b2/cpu/fp32/4/t1",
        "one.py:net/train/b4/cpu/fp32/4/t1",
    ]
    assert first in last_run().records()
    assert len(list(Path("results").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--resume", "latest"), "no runs in results"),
        (("--resume", "20990101"), "no run '20990101' in results"),
        (("one.py:net", "--input-shape", "4", "--resume", "20990101", "--dry-run"), "no run '20990101' in results"),
        (("--resume", "latest", "-b", "8"), "name the targets to change batch_size"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_resumed_is_one_line(capsys, arguments, words):
    code, err = bench(capsys, "run", *arguments)
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1)
    assert words in err


def test_a_full_disk_ends_the_run_in_one_line_and_keeps_what_was_there(capsys, monkeypatch):
    real, written = os.fsync, []

    def fsync(handle):
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
        if "/records/." in path:
            written.append(path)
            if len(written) == 2:
                raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(store.os, "fsync", fsync)
    code, err = bench(capsys, "run", "one.py:net", "two.py:net", *QUICK, "-q")
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1), err
    assert "the disk is full" in err
    monkeypatch.undo()
    monkeypatch.chdir(Path(written[0]).parents[3])
    assert [record.cell.model for record in last_run().records()] == ["one.py:net"]
    code, err = bench(capsys, "run", "--resume", "latest")
    assert "1 records kept, 1 to measure: 1 without a record" in err
    assert json.loads((last_run().path / "run.json").read_text())["resumptions"]


AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def said_with(variables, *arguments):
    """Run a command in an environment with these variables; return exit code and all it said."""
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_records_of_another_instruction_set_are_measured_again():
    assert said_with({}, "run", "one.py:net", *QUICK)[0] == ExitCode.FINE
    wide = last_run()
    (before,) = wide.records()
    code, said = said_with(AVX2, "run", "one.py:net", *QUICK)
    assert code == ExitCode.FINE, said
    code, said = said_with({}, "compare", wide.path.name, last_run().path.name)
    assert code == ExitCode.UNFIT, said
    assert "Another environment: instruction set" in " ".join(said.split())
    code, said = said_with(AVX2, "run", "--resume", wide.path.name)
    assert code == ExitCode.FINE, said
    assert "0 records kept, 1 to measure: 1 measured in another environment" in said
    (after,) = wide.records()
    assert dict(after.environment.variables).items() >= AVX2.items()
    assert after.environment.fingerprint != before.environment.fingerprint
