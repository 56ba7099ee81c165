"""What is read of a run's folder: all that can be read, and the name of each file that cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.store.cases import write_case
from bench.store.runs import RunFolder, RunInfo
from bench.store.stored import heading, read_stored_run, sides_in_words
from tests.records import STARTED_AT, make_record
from tests.report.profiles import PROFILE
from tests.scenario_cases import make_generation, make_sampled
from tests.trainings import make_training


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Store one of everything."""
    made = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, cells=(make_record().cell,)))
    made.append(make_record())
    write_case(made, PROFILE)
    write_case(made, make_training())
    write_case(made, make_generation())
    write_case(made, make_sampled(5))
    (made.path / "claims.json").write_text("[]")
    return made


def test_everything_in_a_folder_is_read(folder: RunFolder) -> None:
    run = read_stored_run(folder)
    assert (run.id, run.folder, run.missing, run.problems) == (folder.path.name, folder.path, (), ())
    assert run.records == (make_record(),)
    assert (run.profiles, run.trainings) == ((PROFILE,), (make_training(),))
    assert (run.generations, run.images) == ((make_generation(),), (make_sampled(5),))


@pytest.mark.parametrize("where", ["records", "profile", "training", "generation", "sampling", "."])
def test_a_bad_file_costs_itself_and_is_named(folder: RunFolder, where: str) -> None:
    path = next(path for path in sorted((folder.path / where).glob("*.json")) if path.name != "run.json")
    path.write_text(path.read_text()[:1])
    run = read_stored_run(folder)
    (problem,) = run.problems
    assert str(path) in problem
    found = (run.records, run.profiles, run.trainings, run.generations, run.images)
    assert sum(map(len, found)) == (5 if where == "." else 4)


def test_a_copied_folder_goes_by_its_own_name(folder: RunFolder) -> None:
    copied = folder.path.rename(folder.path.with_name("mine"))
    assert read_stored_run(RunFolder.open(copied)).id == "mine"


def document(base_python: str) -> dict:
    return {
        "base": {"given": "HEAD", "commit": "abcdef1234567", "python": base_python},
        "head": {"given": "HEAD", "commit": "abcdef1234567", "python": "/usr/bin/python"},
        "differing_fields": [],
        "settings": {"quads": 8, "seed": 7},
        "seconds": 200.0,
        "unfit": None,
        "is_cut_short": False,
        "sessions": [{"stage": "screen"}] * 6,
    }


def test_a_heading_names_another_interpreter_and_the_time_in_minutes() -> None:
    found = heading(document("OLD/bin/python"))
    assert (found.base, found.head) == ("HEAD (abcdef123) with OLD/bin/python", "HEAD (abcdef123)")
    assert found.method == "6 sessions of 8 quads, 3 min 20 s, seed 7"
    same = document("/usr/bin/python")
    assert sides_in_words(same["base"], same["head"]) == ("HEAD (abcdef123)", "HEAD (abcdef123)")
    whole = {**same["base"], "given": "abcdef1234567", "commit": "abcdef1234567"}
    assert sides_in_words(whole, same["head"])[0] == "abcdef123"
