from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import StoreError
from bench.store.pytest_benchmark import read_session


def test_a_real_file_of_the_installed_pytest_benchmark_is_read(tmp_path: Path) -> None:
    (tmp_path / "test_real.py").write_text("def test_sum(benchmark):\n    benchmark(sum, range(100))\n")
    options = ["-q", "-p", "no:cacheprovider", "--benchmark-json", "real.json", "--benchmark-max-time", "0.01"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    session = read_session(tmp_path / "real.json")
    (benchmark,) = session.benchmarks
    stats = json.loads((tmp_path / "real.json").read_text())["benchmarks"][0]["stats"]
    assert benchmark.name == "test_real.py::test_sum"
    assert benchmark.median_seconds == pytest.approx(stats["median"])
    assert len(benchmark.seconds) in (0, stats["rounds"])
    assert session.version
    assert session.written_at is not None
    assert session.fingerprint is not None
    assert session.environment is None


def write(path: Path, **changes: Any) -> Path:
    benchmark = {"fullname": "x", "stats": {"median": 0.1}}
    path.write_text(json.dumps({"benchmarks": [benchmark], **changes}))
    return path


@pytest.mark.parametrize("commit", [{}, {"id": "unversioned", "dirty": True}, {"id": None}])
def test_a_commit_that_is_no_hash_is_none(commit: dict[str, Any], tmp_path: Path) -> None:
    assert read_session(write(tmp_path / "x.json", commit_info=commit)).commit is None


def test_a_file_that_names_no_machine_has_no_fingerprint(tmp_path: Path) -> None:
    assert read_session(write(tmp_path / "x.json", machine_info={"node": "ci-7"})).fingerprint is None


@pytest.mark.parametrize("median", [0, -1.0, float("nan"), float("inf")])
def test_a_median_that_is_no_duration_was_not_measured(median: float, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", benchmarks=[{"fullname": "x", "stats": {"median": median}}])
    assert read_session(path).benchmarks[0].median_seconds is None


@pytest.mark.parametrize(
    "text", ["[1, 2]", "{}", '{"benchmarks": [{"fullname": "x"}]}', '{"benchmarks": 3}', "{", "\ud800"]
)
def test_what_is_something_else_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(StoreError, match=r"x\.json is neither a run nor a JSON file of pytest-benchmark"):
        read_session(path)
