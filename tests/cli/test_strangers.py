"""What SECURITY.md promises, each tried: files of strangers run nothing, secrets stay where they are."""

from __future__ import annotations

import ast
import json
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.store.runs import RunFolder, latest
from tests.cli.stored import store_run
from tests.records import make_record, make_sweep

ROOT = Path(__file__).parents[2]
USER = ROOT / "tests" / "runner" / "user_models.py"
LOADERS = ("pickle", "marshal", "shelve", "dill", "joblib")
SECRET = "hunter2-of-the-environment"
EVIL = "from pathlib import Path\nPath('executed').touch()\nfrom tests.runner.user_models import tiny as net\n"


class Marker:
    """Touches a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of somebody else, whose models lie beside them, and pickles under every name that we might open."""
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text(EVIL)
    Path("evilpkg").mkdir()
    for name in ("__init__.py", "sub.py"):
        (Path("evilpkg") / name).write_text(EVIL)
    models = ("evil.py:net", "evil:net", "evilpkg.sub:net")
    for day in (23, 24):
        when = f"2026-11-{day}T17:53:09+00:00"
        records = tuple(replace(make_record(model), started_at=when) for model in models)
        folder = store_run(Path("results"), (*records, *make_sweep()[:2]))
        for name in ("training/a.pt", "records/a.pkl", "tables/cells.pkl", "conftest.py"):
            (folder.path / name).parent.mkdir(exist_ok=True)
            (folder.path / name).write_text(EVIL)
            if not name.endswith(".py"):
                (folder.path / name).write_bytes(pickle.dumps(Marker()))
    return tmp_path


READING = [
    ["show"],
    ["show", "--format", "json"],
    ["report", "-o", "report.html"],
    ["history", "ingest"],
    ["history", "show"],
    ["history", "nominate"],
    ["export", "--to", "junit"],
    ["compare"],
    ["ci", "--folder", "answers", "comment"],
]


def test_what_reads_results_executes_nothing(strange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("answers").mkdir()
    (Path("answers") / "gate.json").write_bytes(pickle.dumps(Marker()))
    runs = sorted(path.name for path in Path("results").iterdir())
    for arguments in READING:
        code = run_command([*arguments, *(runs if arguments == ["compare"] else [])])
        said = capsys.readouterr().err
        assert "internal error" not in said, said
        assert code in (ExitCode.FINE, ExitCode.USAGE, ExitCode.NOTHING, ExitCode.UNFIT), (arguments, said)
    assert not Path("executed").exists()
    assert not {"evil", "evilpkg"} & set(sys.modules)


def test_one_broken_run_costs_only_itself_in_a_list_of_runs(strange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, whole = sorted(Path("results").iterdir())
    (broken / "run.json").write_text("{")
    document = json.loads((whole / "run.json").read_text()) | {"command": ["bench", "run", "\x1b]0;x"]}
    (whole / "run.json").write_text(json.dumps(document))
    assert run_command(["list", "runs"]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert whole.name in out and "]0;x" in out and "\x1b" not in out
    assert str(broken) in err and len(err.splitlines()) == 1


def test_a_pipe_in_the_place_of_a_file_is_named_and_not_waited_for(
    strange: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = latest(Path("results"))
    (run / "claims.json").unlink(missing_ok=True)
    os.mkfifo(run / "claims.json")
    assert run_command(["show"]) == ExitCode.USAGE
    assert "claims.json: it is no regular file" in capsys.readouterr().err


def test_resuming_removes_no_file_behind_a_link_of_a_stranger(strange: Path) -> None:
    *_, run = sorted(Path("results").iterdir())
    Path("home").mkdir()
    (Path("home") / ".mine.tmp").touch()
    (run / "extra").symlink_to(Path("home").resolve())
    (run / "records" / ".a.tmp").touch()
    RunFolder.open(run).remove_temporaries()
    assert (Path("home") / ".mine.tmp").exists()
    assert not (run / "records" / ".a.tmp").exists()


@pytest.mark.slow
def test_a_strangers_model_runs_only_if_named_and_keeps_no_secret(
    strange: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PIP_INDEX_URL", "STEPBENCH_PASSWORD", "TORCH_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    command = ["run", f"{USER}:tiny", "-b", "2", "--input-shape", "4", "--budget", "0.02s", "--results", "mine"]
    assert run_command(command) == ExitCode.FINE
    written = [path for path in Path("mine").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    assert not Path("executed").exists()
    assert run_command(["count", "evil.py:net", "-b", "2", "--input-shape", "4"]) == ExitCode.FINE  # the test can fail
    assert Path("executed").exists()


def test_no_file_is_unpickled_and_only_a_model_is_executed() -> None:
    """By reading the code: no loader of pickles, no `eval`, `exec` where a model file is loaded and nowhere else."""
    found = set()
    for path in sorted((ROOT / "bench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name, place = ast.unparse(node.func), path.relative_to(ROOT).as_posix()
                is_loader = name.split(".")[0] in LOADERS or name.endswith((".read_pickle", "np.load", "yaml.load"))
                is_unsafe = name == "torch.load" and "weights_only=True" not in ast.unparse(node)
                if name in ("eval", "exec") or is_loader or is_unsafe:
                    found.add((place, name))
    between_nodes = "bench/runner/workers/nodes.py"  # of one job, in a folder that it makes for itself and nobody else
    pickles = {(between_nodes, "pickle.dumps"), (between_nodes, "pickle.loads")}
    assert found == {("bench/registry/loading.py", "exec"), *pickles}
