from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.advice import DOUBTED, Advice, AdviceKind
from bench.core.cell import Cell
from bench.core.errors import StoreError
from bench.core.record import SCHEMA, Counters, Outcome, Sampling
from bench.registry.code import code_hash
from bench.runner.plan import Again, remaining
from bench.runner.session import plan_resumption
from bench.store.codec import migrate
from bench.store.runs import RunFolder, RunInfo
from tests.records import ENVIRONMENT, STARTED_AT, make_record

CELL = make_record("my_net").cell
HERE = {"cpu": ENVIRONMENT}
SAMPLING = Sampling()


def measured(**changes):
    return replace(make_record("my_net"), code=code_hash("my_net"), **changes)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, cells=(CELL,)))


def why(folder, cell=CELL, environments=HERE, sampling=SAMPLING, **options):
    """Say why one cell would be measured; None if its record is kept."""
    left = remaining(folder, (cell,), environments, sampling, **options)
    assert len(left.kept) + len(left.again) == 1
    return left.again[0][1] if left.again else None


def test_a_finished_cell_is_never_measured_again(folder):
    folder.append(measured())
    assert why(folder) is None
    assert remaining(folder, (CELL,), HERE, Sampling()).kept == (measured(),)


def test_a_cell_without_a_record_is_measured(folder):
    assert why(folder) is Again.NO_RECORD


def test_another_cell_of_the_same_model_is_measured(folder):
    folder.append(measured())
    assert why(folder, Cell(model="my_net", batch_size=9)) is Again.NO_RECORD


@pytest.mark.parametrize("code", ["0123456789abcdef", None], ids=["edited", "not recorded"])
def test_a_cell_whose_code_differs_is_measured_again(folder, code):
    folder.append(replace(measured(), code=code))
    assert why(folder) is Again.CODE


def test_a_model_whose_code_cannot_be_found_is_measured_again(folder):
    cell = Cell(model="no.such.module:net", batch_size=8)
    folder.append(replace(measured(), cell=cell, code=None))
    assert why(folder, cell) is Again.CODE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"torch": "2.16.0"}, Again.ENVIRONMENT),
        ({"threads": 8}, Again.ENVIRONMENT),
        ({"malloc": (("MALLOC_ARENA_MAX", "1"),)}, Again.ENVIRONMENT),
        ({"host": "elsewhere"}, None),
        ({"git_commit": "abc"}, None),
    ],
    ids=str,
)
def test_the_environment_counts_as_far_as_it_decides_a_speed(folder, change, reason):
    folder.append(measured(environment=replace(ENVIRONMENT, **change)))
    assert why(folder) is reason


def test_other_sampling_settings_are_another_measurement(folder):
    folder.append(measured())
    assert why(folder, sampling=Sampling(budget_seconds=9)) is Again.SAMPLING


def test_what_was_sampled_for_longer_stands(folder):
    folder.append(measured(sampling=Sampling(budget_seconds=9, max_steps=10**6)))
    assert why(folder) is None
    assert why(folder, sampling=Sampling(target=0.01)) is Again.SAMPLING


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (AdviceKind.NOISY_SAMPLES, Again.DOUBTED),
        (AdviceKind.BUSY_MACHINE, Again.DOUBTED),
        (AdviceKind.UNUSED_PARAMETERS, None),
    ],
)
def test_only_doubted_times_are_measured_again_where_that_is_asked(folder, kind, reason):
    folder.append(measured(advice=(Advice(kind=kind),)))
    assert why(folder) is None
    for sampling in (SAMPLING, Sampling(budget_seconds=9)):
        assert why(folder, sampling=sampling, retried=(DOUBTED,)) is reason


def test_doubted_is_no_bad_ending(folder):
    folder.append(measured(outcome=Outcome.FAILED, reason="why", samples=()))
    assert why(folder, retried=(DOUBTED,)) is None
    assert why(folder, retried=(DOUBTED, Outcome.FAILED)) is Again.ENDED_BADLY


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.KILLED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY])
def test_what_ended_badly_is_tried_again_unless_it_is_to_be_kept(folder, outcome):
    folder.append(measured(outcome=outcome, reason="why", samples=()))
    assert why(folder) is Again.ENDED_BADLY
    assert why(folder, retried=()) is None
    assert why(folder, retried=(outcome,)) is Again.ENDED_BADLY
    assert why(folder, retried={*Outcome} - {outcome}) is None


@pytest.mark.parametrize(
    "lost",
    [{"counters": Counters()}, {"advice": (Advice(kind=AdviceKind.MEMORY_UNMEASURED, facts=()),)}],
    ids=["count", "memory"],
)
def test_a_cell_whose_count_was_lost_is_tried_again(folder, lost):
    folder.append(measured(**lost))
    assert why(folder) is Again.INCOMPLETE


@pytest.mark.parametrize(
    ("advice", "reason"), [((), None), ((Advice(kind=AdviceKind.COUNT_FAILED, facts=()),), Again.INCOMPLETE)]
)
def test_a_skipped_cell_is_tried_again_only_if_its_count_was_lost(folder, advice, reason):
    folder.append(measured(outcome=Outcome.SKIPPED, reason="why", samples=(), counters=Counters(), advice=advice))
    assert why(folder) is reason
    assert why(folder, retried=()) is None


def test_what_failed_in_code_that_was_edited_since_is_tried_again_even_so(folder):
    folder.append(replace(measured(outcome=Outcome.FAILED, reason="why"), code="0123456789abcdef"))
    assert why(folder, retried=()) is Again.CODE


def test_what_the_device_cannot_do_stays_skipped(folder):
    folder.append(measured(outcome=Outcome.SKIPPED, reason="tf32 needs CUDA", samples=()))
    assert why(folder) is None


def test_what_did_not_fit_is_asked_again_because_memory_may_be_free_now(folder):
    advice = Advice(kind=AdviceKind.MEMORY_TOO_SMALL, facts=(("predicted_bytes", 2), ("free_bytes", 1)))
    folder.append(measured(outcome=Outcome.SKIPPED, reason="too large", samples=(), advice=(advice,)))
    assert why(folder) is Again.MEMORY
    assert why(folder, retried=()) is Again.MEMORY


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1, "cell": 3}'])
def test_a_record_that_cannot_be_read_is_measured_again_and_said(folder, text):
    path = folder.append(measured())
    path.write_text(text)
    left = remaining(folder, (CELL,), HERE, Sampling())
    assert [reason for _, reason in left.again] == [Again.NO_RECORD]
    assert [path.name in str(problem) for problem in left.problems] == [True]


def test_a_record_of_a_newer_stepbench_is_refused_not_overwritten(folder):
    path = folder.append(measured())
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}'))
    with pytest.raises(StoreError, match="newer stepbench") as caught:
        remaining(folder, (CELL,), HERE, Sampling())
    assert caught.value.is_other_version
    with pytest.raises(StoreError) as of_rubbish:
        migrate([], "f")
    assert not of_rubbish.value.is_other_version


def test_a_run_is_measured_by_one_process_at_a_time(folder):
    with folder.locked():
        with pytest.raises(StoreError, match="being measured by another process"), RunFolder.open(folder.path).locked():
            pass
        other = RunFolder.create(folder.path.parent, RunInfo(started_at=STARTED_AT))
        with other.locked():  # another run in the same results folder is not disturbed
            other.append(measured())
    with folder.locked():
        assert folder.records() == ()


def test_temporaries_of_killed_writers_are_removed_and_nothing_else(folder):
    path = folder.append(measured())
    (folder.path / "tables").mkdir()
    for left in (folder.path / ".run.json.1-ab.tmp", path.with_name(".x.json.1-ab.tmp"), folder.path / "tables/.c.tmp"):
        left.write_text("half")
    (folder.path / "notes.tmp").write_text("the user's own")
    folder.remove_temporaries()
    assert sorted(entry.name for entry in folder.path.rglob("*") if entry.is_file()) == sorted(
        ["notes.tmp", "run.json", path.name]
    )


@pytest.mark.parametrize(
    ("command", "settings", "said"),
    [
        (("/v/bin/bench", "profile", "a.py:net"), {"profile": {"steps": None}}, "bench profile a.py:net"),
        (("/v/pytest/__main__.py", "--benchmark-only"), None, "pytest --benchmark-only"),
    ],
)
def test_a_run_that_bench_run_did_not_make_names_the_command_that_did(tmp_path, command, settings, said):
    info = RunInfo(started_at=STARTED_AT, cells=(CELL,), command=command, settings=settings)
    with pytest.raises(StoreError, match=f"cannot be resumed.*: {said}$"):
        plan_resumption(RunFolder.create(tmp_path, info).run.id, tmp_path)
