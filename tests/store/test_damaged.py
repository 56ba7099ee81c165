"""Files as no stepbench wrote them: every reader ends in a value or in one line, never in a traceback.

Valid documents are changed at random: values, keys and bytes. 100 of each kind here, 2,000 in `make test-all`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.claims.files import load, load_ratios
from bench.core.errors import BenchError
from bench.core.jsonio import to_json
from bench.report import formats
from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.runner.recorder import extra_info
from bench.store.cases import write_case
from bench.store.expected import read_expected
from bench.store.history.accepted import read_accepted
from bench.store.history.sources import list_source
from bench.store.runs import RunFolder, RunInfo
from bench.store.stored import StoredRun, read_stored_run, read_stored_session
from bench.suite.file import read_suite
from bench.tables.table import Page
from tests.damaged import changed, many
from tests.records import STARTED_AT, make_claims, make_record
from tests.report.profiles import PROFILE
from tests.scenario_cases import make_generation, make_sampled
from tests.trainings import make_training

ROOT = Path(__file__).parents[2]


def show(run: StoredRun) -> None:
    """Do what `show` and `export` do with a run, in every format."""
    for name in formats.names():
        chosen = formats.load(name)
        if chosen.holds_failures or run.measured:
            chosen.write(run, formats.Asked(page=Page(width=100), extra_info=extra_info))
    assert all("\n" not in problem for problem in run.problems)


def read_run(path: Path) -> None:
    folder = RunFolder.open(path.parent if path.name == "run.json" else path.parent.parent)
    show(read_stored_run(folder))
    make_rows(folder.path)


def make_rows(path: Path) -> None:
    """Do what `history ingest` does."""
    for listed, _ in list_source(path):
        for one in listed:
            one.make()


def read_case(path: Path) -> None:
    read_stored_run(RunFolder.open(path.parent.parent))


def read_side_file(path: Path) -> None:
    read_stored_run(RunFolder.open(path.parent))


def report(path: Path) -> None:
    """Do what `report` does."""
    folder = RunFolder.open(next(above for above in path.parents if (above / "run.json").is_file()))
    render(make_data([read_stored_run(folder)]), made_by="stepbench")


def read_session(path: Path) -> None:
    read_stored_session(path)
    make_rows(path)


def store(root: Path) -> RunFolder:
    """Store one of everything."""
    made = RunFolder.create(root, RunInfo(started_at=STARTED_AT, cells=(make_record().cell,), settings={"a": [1]}))
    made.append(make_record())
    write_case(made, PROFILE)
    write_case(made, make_training())
    write_case(made, make_generation())
    write_case(made, make_sampled(5))
    (made.path / "claims.json").write_text(json.dumps(to_json(make_claims())))
    return made


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "record": ("records/*.json", read_run),
    "run": ("run.json", read_run),
    "profile": ("profile/*.json", read_case),
    "training": ("training/*.json", read_case),
    "generation": ("generation/*.json", read_case),
    "images": ("sampling/*.json", read_case),
    "claims of a run": ("claims.json", read_side_file),
    "pytest-benchmark": ("", read_session),
    "suite": ("", read_suite),
    "claims": ("", lambda path: (load(path), load_ratios(path))),
    "counters.csv": ("", lambda path: read_expected(path.parent)),
    "accepted.csv": ("", read_accepted),
}
FILES = {
    "suite": lambda: (ROOT / "bench/suite/builtin/quick.toml").read_bytes(),
    "claims": lambda: (ROOT / "models/gru.toml").read_bytes(),
    "counters.csv": lambda: (ROOT / "results/expected/counters.csv").read_bytes()[:3000],
    "accepted.csv": lambda: b"cell,commit,metric,reason\nmy_net/*,1a2b3c4d,step_median_seconds,a new layer\n",
    "pytest-benchmark": lambda: json.dumps(SESSION).encode(),
}
SESSION = {
    "version": "5.1.0",
    "datetime": "2026-11-23T12:00:00+00:00",
    "machine_info": {"node": "n", "cpu": {"brand_raw": "Test CPU"}, "python_version": "3.11"},
    "commit_info": {"id": "1a2b3c4d5e6f", "dirty": False},
    "benchmarks": [
        {
            "fullname": "tests/test_x.py::test_y",
            "stats": {"median": 0.01, "data": [0.01, 0.011, 0.009]},
            "extra_info": {"cell": {"model": "mlp", "batch_size": 8}, "parameters": 5, "flops": {"forward": 3}},
        }
    ],
}


def read_damaged(kind: str, there: Path, seed: int, read: Callable[[Path], object] | None = None) -> None:
    """Change one file at random and read it; it is whole again afterwards."""
    pattern, usual = READERS[kind]
    if pattern:
        (path,) = there.glob(f"*/{pattern}")
    else:
        path = there / "counters.csv" if kind == "counters.csv" else there / "file"
        path.write_bytes(FILES[kind]())
    whole, draw = path.read_bytes(), random.Random(seed)
    is_json = bool(pattern) or kind == "pytest-benchmark"
    path.write_bytes(changed(whole, draw, is_json=is_json))
    try:
        (read or usual)(path)
    except BenchError as error:
        assert "\n" not in str(error), str(error)
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("damaged")
    store(root)
    return root


@pytest.mark.parametrize("kind", READERS)
@many(100)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_ends_in_a_value_or_in_one_line(kind: str, there: Path, seed: int) -> None:
    read_damaged(kind, there, seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", READERS)
@many(2000)
@given(seed=st.integers(0, 2**32))
def test_thousands_of_damaged_files_end_in_a_value_or_in_one_line(kind: str, there: Path, seed: int) -> None:
    read_damaged(kind, there, seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [kind for kind, (pattern, _) in READERS.items() if pattern])
@many(500)
@given(seed=st.integers(0, 2**32))
def test_a_page_of_a_run_with_a_damaged_file_can_be_made(kind: str, there: Path, seed: int) -> None:
    read_damaged(kind, there, seed, report)
