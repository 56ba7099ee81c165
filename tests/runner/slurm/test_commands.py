"""Slurm without a Slurm: its commands are replaced by a function, its answers are lines that a real one printed."""

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli import run_command as run_bench
from bench.core.cell import Cell, CompileMode
from bench.core.environment import LOCKED
from bench.core.errors import BenchError, ExitCode, ModelError, UsageError
from bench.core.record import Outcome, Record, Sampling
from bench.core.units import now
from bench.runner.plan import Plan
from bench.runner.scenarios import GENERATION, IMAGES, Asked
from bench.runner.session import Session
from bench.runner.slurm import run as slurm_run
from bench.runner.slurm import task as slurm_task
from bench.runner.slurm.collect import collect, read_status
from bench.runner.slurm.commands import (
    Completed,
    Slurm,
    TaskStatus,
    parse_indices,
    parse_sacct,
    parse_scontrol,
    run_command,
)
from bench.runner.slurm.files import FINISHED, OUT_OF_TIME, SlurmFiles, TaskNote, Work, unrecorded
from bench.runner.slurm.script import MOST_TASKS, TASK_SECONDS, JobOptions, estimated_seconds, pack, script_text
from bench.runner.slurm.status import judge
from bench.store.runs import RunFolder
from tests.records import ENVIRONMENT, STARTED_AT
from tests.scenario_cases import make_generation, make_sampled

NAME = "bench-x-0"
SHOWN = f"""\
JobId=8 ArrayJobId=8 ArrayTaskId=3-4%2 JobName={NAME} JobState=PENDING Reason=JobArrayTaskLimit ExitCode=0:0 ReqNodeList=n7 NodeList=(null) BatchHost=n1
JobId=11 ArrayJobId=8 ArrayTaskId=2 ArrayTaskThrottle=2 JobName={NAME} JobState=RUNNING Reason=None ExitCode=0:0 ReqNodeList=(null) NodeList=n1
JobId=10 ArrayJobId=8 ArrayTaskId=1 JobName={NAME} JobState=FAILED Reason=NonZeroExitCode ExitCode=137:0 NodeList=n1
JobId=9 ArrayJobId=8 ArrayTaskId=0 JobName={NAME} JobState=NODE_FAIL Reason=NodeDown ExitCode=0:15 NodeList=n2
"""  # noqa: E501 - as printed, one line per task
MEMORY_WORDS = """\
slurmstepd-n2: error: *** JOB 5 ON n2 CANCELLED AT 2026-11-23T18:50:00 ***
slurmstepd-n2: error: StepId=5.batch exceeded memory limit (448774144 > 314572800), being killed
slurmstepd-n2: error: Exceeded job memory limit"""
PREEMPTION_WORDS = "slurmstepd-n1: error: *** JOB 11 ON n1 CANCELLED AT 2026-11-23T18:50:59 DUE TO PREEMPTION ***"
TIME_WORDS = "slurmstepd-n1: error: *** JOB 15 ON n1 CANCELLED AT 2026-11-23T18:54:26 DUE TO TIME LIMIT ***"
CELLS = tuple(Cell(model="mlp", batch_size=size) for size in (1, 2, 3, 4))
SECOND = CELLS[1].key


class FakeSlurm:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, **answers):
        self.answers = {"sbatch": Completed(code=0, output="7\n"), **answers}
        self.asked = []

    def __call__(self, command):
        self.asked.append(tuple(command))
        return self.answers.get(command[0], Completed(code=1, errors="Slurm accounting storage is disabled\n"))

    def commands(self, program):
        return [command for command in self.asked if command[0] == program]


def shown(name, *states):
    """What scontrol shows of tasks 0, 1, ... in these states."""
    lines = (
        f"JobId=7 ArrayJobId=7 ArrayTaskId={index} JobName={name} JobState={state} ExitCode=0:0 NodeList=n1"
        for index, state in enumerate(states)
    )
    return Completed(code=0, output="\n".join(lines))


@pytest.fixture(autouse=True)
def no_processes(monkeypatch):
    """Models are not looked up and claims not checked: that takes torch, and is tested elsewhere."""
    monkeypatch.setattr(slurm_run, "_check_models", lambda *_: None)
    monkeypatch.setattr("bench.runner.slurm.collect.check_models", lambda _: ())


@pytest.fixture
def folder(tmp_path):
    """A submitted run of four cells in two tasks; `sbatch` called it job 7."""
    submitted = slurm_run.submit(
        Session(sweeps=(), planned=CELLS),
        JobOptions(time_seconds=600),
        results=tmp_path,
        cells_per_task=2,
        slurm=Slurm(FakeSlurm()),
    )
    return RunFolder.open(submitted.folder)


def slurm_that_shows(folder, *states):
    return Slurm(FakeSlurm(scontrol=shown(f"bench-{folder.run.id}-0", *states)))


def note(**fields):
    return TaskNote(**{"host": "n1", "job_id": 7, "started_at": STARTED_AT, **fields})


def put_record(folder, cell, **fields):
    about = {"outcome": Outcome.OK, "started_at": STARTED_AT, **fields}
    record = Record(cell=cell, duration_seconds=1.0, stepbench="x", **about)
    folder.append(record)
    return record


def test_scontrol_is_read_with_its_ranges():
    found = parse_scontrol(SHOWN, NAME)
    assert found == {
        0: TaskStatus(state="NODE_FAIL", node="n2"),
        1: TaskStatus(state="FAILED", exit_code=137, node="n1"),
        2: TaskStatus(state="RUNNING", exit_code=0, node="n1"),
        3: TaskStatus(state="PENDING", exit_code=0),
        4: TaskStatus(state="PENDING", exit_code=0),
    }
    assert [found[index].is_live for index in range(5)] == [False, False, True, True, True]


def test_a_job_that_only_shares_the_id_is_a_stranger():
    assert parse_scontrol(SHOWN, "bench-other-0") == {}


def test_sacct_is_read_with_its_ranges_and_words():
    text = (
        f"8_0|CANCELLED by 1000|0:15|n1|{NAME}\n8_[2-3%2]|PENDING|0:0|None assigned|{NAME}\n8_1|TIMEOUT|0:0|n2|alien\n"
    )
    assert parse_sacct(text, NAME) == {
        0: TaskStatus(state="CANCELLED", node="n1"),
        2: TaskStatus(state="PENDING", exit_code=0),
        3: TaskStatus(state="PENDING", exit_code=0),
    }


@pytest.mark.parametrize(
    ("text", "indices"),
    [("0", (0,)), ("2-4%2", (2, 3, 4)), ("1,3,5-9:2%4", (1, 3, 5, 7, 9)), ("", ()), ("N/A", ())],
)
def test_array_indices_are_read(text, indices):
    assert parse_indices(text) == indices


def test_what_scontrol_has_forgotten_is_asked_of_the_accounting():
    fake = FakeSlurm(
        scontrol=Completed(code=1, errors="slurm_load_jobs error: Invalid job id specified\n"),
        sacct=Completed(code=0, output=f"8_0|TIMEOUT|0:0|n1|{NAME}\n"),
    )
    assert Slurm(fake).states(8, NAME)[0].state == "TIMEOUT"


def test_a_controller_that_does_not_answer_is_no_ending():
    fake = FakeSlurm(scontrol=Completed(code=1, errors="slurm_load_jobs error: Unable to contact slurm controller\n"))
    with pytest.raises(BenchError, match=r"^Slurm cannot be asked about job 8: .*Unable to contact"):
        Slurm(fake).states(8, NAME)


def test_a_program_that_is_missing_is_one_line():
    with pytest.raises(BenchError, match=r"^'sbatch-of-another-world' is not on this machine; .* login node$"):
        run_command(("sbatch-of-another-world", "--version"))


def test_sbatch_refuses_in_its_own_words():
    errors = "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid\n"
    with pytest.raises(BenchError) as caught:
        Slurm(FakeSlurm(sbatch=Completed(code=1, errors=errors))).submit(Path("x.sh"))
    assert str(caught.value) == (
        "sbatch refuses: invalid partition specified: nope; Batch job submission failed: Invalid"
    )


def test_the_script_asks_for_what_was_typed():
    job = JobOptions(
        partition="p",
        gpus="h100:1",
        time_seconds=61 * 60 + 1,
        max_parallel=8,
        exclusive=True,
        extra_sbatch=("--mem=1G",),
    )
    text = script_text(job, name="n", run_folder=Path("/r/50%"), submission=2, tasks=12, workdir=Path("/w"))
    options = {line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")}
    assert options >= {"--partition=p", "--gpus=h100:1", "--time=1:02:00", "--array=0-11%8", "--exclusive", "--mem=1G"}
    assert "--output=/r/50%%/slurm/2.%a.out" in options


@pytest.mark.parametrize(
    ("python", "setup", "code"),
    [
        ("exit 0", (), "0"),
        ("exit 5", (), "5"),
        ("kill -KILL $$", (), "137"),
        ("kill -TERM $PPID; exit 143", (), "143"),  # Slurm's announcement reaches the script's shell too
        ("exit 0", ("false", "true"), "1"),
    ],
)
def test_the_script_runs_the_task_and_leaves_its_exit_code(tmp_path, monkeypatch, python, setup, code):
    run = tmp_path / "a run's folder"
    (run / "slurm").mkdir(parents=True)
    program = tmp_path / "python of the node"
    program.write_text(f'#!/bin/bash\necho "$PWD" "$@" > {tmp_path}/called\n{python}\n')
    program.chmod(0o755)
    options = {"name": "n", "run_folder": run, "submission": 0, "tasks": 1, "workdir": tmp_path}
    monkeypatch.setattr("sys.executable", str(program))
    text = script_text(JobOptions(setup=setup), **options)
    done = subprocess.run(["bash", "-c", text], env=os.environ | {"SLURM_ARRAY_TASK_ID": "3"})
    assert (run / "slurm" / "0.3.exit").read_text().strip() == code == str(done.returncode)
    if setup:
        assert not (tmp_path / "called").exists()
    else:
        assert (tmp_path / "called").read_text() == f"{tmp_path} -m bench.runner.slurm.task {run} 0.3\n"


@given(
    count=st.integers(1, 3000),
    budget=st.floats(0.01, 3600),
    limit=st.integers(1, 600),
    per_task=st.none() | st.integers(1, 50),
)
def test_every_cell_is_packed_once_in_order_into_tasks_of_minutes(count, budget, limit, per_task):
    cells = [Cell(model="mlp", batch_size=size + 1) for size in range(count)]
    sampling = Sampling(budget_seconds=budget)
    chunks = pack(cells, sampling, limit_seconds=limit * 60, cells_per_task=per_task)
    assert [key for chunk in chunks for key in chunk] == [cell.key for cell in cells]
    assert len(chunks) <= MOST_TASKS
    seconds = estimated_seconds(cells[0], sampling)
    if count <= MOST_TASKS:
        assert all(len(chunk) <= (per_task or count) for chunk in chunks)
        if per_task is None:
            goal = min(TASK_SECONDS, limit * 30)
            assert all(len(chunk) == 1 or len(chunk) * seconds <= goal * (1 + 1e-9) for chunk in chunks)
            # No more tasks than are needed, and all of about the same length.
            assert len(chunks) == -(-count // max(1, int(goal * (1 + 1e-9) / seconds)))
            assert max(map(len, chunks)) - min(map(len, chunks)) <= 1


def test_a_few_long_cells_get_tasks_of_their_own():
    long = [replace(cell, compile=CompileMode.DEFAULT) for cell in CELLS[:2]]
    chunks = pack([*long, *CELLS[2:]], Sampling(processes=3), limit_seconds=600)
    assert chunks == ((long[0].key,), (long[1].key, CELLS[2].key, CELLS[3].key))


def test_a_compiled_cell_is_given_more_time():
    compiled = replace(CELLS[0], compile=CompileMode.DEFAULT)
    assert estimated_seconds(compiled, Sampling()) > 10 * estimated_seconds(CELLS[0], Sampling())


ENDINGS = [
    # what Slurm says, what the output says, exit code, what the task noted -> outcome, words, is it the cell's doing
    ("TIMEOUT", "", None, {"begun": 0}, Outcome.TIMED_OUT, "time limit of 10 min", True),
    ("TIMEOUT", "", None, {"begun": 3}, Outcome.TIMED_OUT, "3 other cells before", False),
    ("OUT_OF_MEMORY", "", None, {}, Outcome.OUT_OF_MEMORY, "more memory", True),
    ("FAILED", MEMORY_WORDS, None, {}, Outcome.OUT_OF_MEMORY, "more memory", True),
    ("CANCELLED", MEMORY_WORDS, None, {}, Outcome.OUT_OF_MEMORY, "more memory", True),
    ("CANCELLED", "", 143, {}, Outcome.KILLED, "was cancelled", False),
    ("NODE_FAIL", "", None, {}, Outcome.KILLED, "lost its node", False),
    ("PREEMPTED", PREEMPTION_WORDS, 143, {}, Outcome.KILLED, "was preempted", False),
    ("FAILED", "", 137, {}, Outcome.KILLED, "killed by SIGKILL", True),
    ("FAILED", "", 139, {}, Outcome.KILLED, "killed by SIGSEGV", True),
    (
        "FAILED",
        "Slurm says\nbench: the disk is full",
        2,
        {},
        Outcome.FAILED,
        "exit code 2: bench: the disk is full",
        False,
    ),
    ("FAILED", "module: not found", 1, None, Outcome.FAILED, "before its first cell, exit code 1: module", False),
    ("COMPLETED", "", 0, {"ended": FINISHED}, Outcome.SKIPPED, "not (yet) to be seen", False),
    ("COMPLETED", "", 0, {}, Outcome.SKIPPED, "not (yet) to be seen", False),
    ("OUT_OF_MEMORY", MEMORY_WORDS, 0, {}, Outcome.SKIPPED, "not (yet) to be seen", False),
    ("COMPLETED", "", 0, {"ended": OUT_OF_TIME}, Outcome.SKIPPED, "too little of its 10 min", False),
    (None, MEMORY_WORDS, None, {}, Outcome.OUT_OF_MEMORY, "more memory", True),
    (None, TIME_WORDS, 143, {}, Outcome.TIMED_OUT, "time limit", True),
    (None, PREEMPTION_WORDS, None, {}, Outcome.KILLED, "was preempted", False),
    (None, "", None, {"ended": "SIGTERM", "ended_after_seconds": 601.0}, Outcome.TIMED_OUT, "time limit", True),
    (None, "", None, {"ended": "SIGTERM", "ended_after_seconds": 5.0}, Outcome.KILLED, "was cancelled", False),
    (None, "", 137, {}, Outcome.KILLED, "killed by SIGKILL", True),
    (None, "", None, {}, Outcome.KILLED, "Slurm no longer knows why", False),
    (None, "", None, None, Outcome.KILLED, "ended without a word", False),
    (None, "a model prints: oom-kill DUE TO TIME LIMIT", 1, {}, Outcome.FAILED, "exit code 1", False),
    ("FAILED", "", 2, {"problem": "no cuda:0 here"}, Outcome.FAILED, "no cuda:0 here", False),
]


@pytest.mark.parametrize(("state", "output", "code", "noted", "outcome", "words", "is_final"), ENDINGS)
def test_an_ending_is_told_by_the_best_witness(state, output, code, noted, outcome, words, is_final):
    ending = judge(
        "7_0",
        status=TaskStatus(state=state, node="n1") if state else None,
        output=output,
        exit_code=code,
        note=None if noted is None else note(**{"running": SECOND, **noted}),
        limit_seconds=600,
    )
    assert (ending.outcome, ending.is_final) == (outcome, is_final)
    assert ending.reason.startswith("Slurm task 7_0")
    assert words in ending.reason
    assert "\n" not in ending.reason


def test_the_plan_is_on_disk_before_sbatch_is_asked(tmp_path):
    fake = FakeSlurm()

    def asked(command):
        if command[0] == "sbatch" and "--parsable" in command:
            stored = json.loads(Path(command[-1]).with_suffix(".json").read_text())
            assert [key for chunk in stored["chunks"] for key in chunk] == [cell.key for cell in CELLS]
        return fake(command)

    session = Session(sweeps=(), planned=CELLS)
    submitted = slurm_run.submit(session, JobOptions(), results=tmp_path, slurm=Slurm(asked))
    assert (submitted.job_id, submitted.tasks, submitted.cells) == (7, 1, 4)


def test_cells_of_several_nodes_are_an_array_of_their_own_with_a_task_each(tmp_path):
    cells = (*CELLS, *(replace(cell, world_size=4, nodes=2) for cell in CELLS))
    fake = FakeSlurm()
    submitted = slurm_run.submit(Session(sweeps=(), planned=cells), JobOptions(), results=tmp_path, slurm=Slurm(fake))
    assert (submitted.job_ids, submitted.tasks, submitted.cells) == ((7, 7), 1 + len(CELLS), 2 * len(CELLS))
    one, two = SlurmFiles.of(RunFolder.open(submitted.folder)).submissions()
    assert (one.job.nodes, two.job.nodes, [len(chunk) for chunk in two.chunks]) == (1, 2, [1] * len(CELLS))
    script = (submitted.folder / "slurm" / "1.sh").read_text()
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=1\n" in script


def test_if_one_array_is_refused_those_before_it_are_cancelled(tmp_path):
    fake = FakeSlurm(scancel=Completed(code=0))

    def asked(command):
        if command[0] == "sbatch" and command[-1].endswith("1.sh"):
            return Completed(code=1, errors="sbatch: error: no such nodes\n")
        return fake(command)

    cells = (CELLS[0], replace(CELLS[0], world_size=2, nodes=2))
    with pytest.raises(BenchError, match="no such nodes"):
        slurm_run.submit(Session(sweeps=(), planned=cells), JobOptions(), results=tmp_path / "r", slurm=Slurm(asked))
    assert fake.commands("scancel") == [("scancel", "7")]
    assert not (tmp_path / "r").exists()


def test_a_refused_submission_leaves_no_folder(tmp_path):
    results = tmp_path / "new" / "results"
    refusing = Slurm(FakeSlurm(sbatch=Completed(code=1, errors="sbatch: error: no\n")))
    with pytest.raises(BenchError):
        slurm_run.submit(Session(sweeps=(), planned=CELLS), JobOptions(), results=results, slurm=refusing)
    assert not results.exists()


def test_devices_are_completed_without_asking_the_login_node():
    cells = [Cell(model="mlp", batch_size=1, device=device) for device in ("cuda", "cuda:0", "auto", "cpu")]
    devices = [cell.device for cell in slurm_run.cells_on_nodes(cells, JobOptions(gpus="1"))]
    assert devices == ["cuda:0", "cpu"]
    (auto,) = slurm_run.cells_on_nodes(cells[2:3], JobOptions())
    assert auto.device == "cpu"
    with pytest.raises(UsageError, match="'tpu'"):
        slurm_run.cells_on_nodes([replace(cells[0], device="tpu")], JobOptions())


def test_a_submission_whose_answer_was_lost_is_found_by_its_name(folder):
    files = SlurmFiles.of(folder)
    files.write_submission(replace(files.submission(0), job_id=None))
    fake = FakeSlurm(
        squeue=Completed(code=0, output="12\n12\n"), scontrol=shown(f"bench-{folder.run.id}-0", "RUNNING", "PENDING")
    )
    status = read_status(folder, slurm=Slurm(fake))
    assert status.waiting == 4
    assert fake.commands("scontrol") == [("scontrol", "--oneliner", "show", "job", "12")]


def test_status_counts_records_and_names_the_running_cell(folder):
    put_record(folder, CELLS[0])
    SlurmFiles.of(folder).write_note("0.0", note(running=SECOND))
    status = read_status(folder, slurm=slurm_that_shows(folder, "RUNNING", "PENDING"))
    assert (status.cells, status.missing, status.waiting, status.outcomes) == (4, 3, 3, (("ok", 1),))
    assert [(task.task, task.slurm_id, task.done, task.running) for task in status.tasks] == [
        ("0.0", "7_0", 1, CELLS[1].id),
        ("0.1", "7_1", 0, None),
    ]


def test_collect_blames_the_running_cell_and_leaves_the_rest_to_a_resume(folder):
    files = SlurmFiles.of(folder)
    files.write_note("0.0", note(running=CELLS[0].key, running_since=STARTED_AT, environment=ENVIRONMENT, code="c"))
    found = collect(folder, slurm=slurm_that_shows(folder, "OUT_OF_MEMORY", "RUNNING"))
    dead, not_run = found.results
    assert (dead.outcome, dead.environment, dead.code) == (Outcome.OUT_OF_MEMORY, ENVIRONMENT, "c")
    assert (not_run.outcome, CELLS[0].id in not_run.reason) == (Outcome.SKIPPED, True)
    assert (found.unmeasured, found.waiting) == (1, 2)
    assert [record.cell for record in folder.records()] == [CELLS[0]]


def test_a_cell_that_others_left_no_time_is_tried_again(folder):
    put_record(folder, CELLS[0])
    SlurmFiles.of(folder).write_note("0.0", note(running=SECOND, running_since=STARTED_AT, begun=1))
    found = collect(folder, slurm=slurm_that_shows(folder, "TIMEOUT", "RUNNING"))
    assert [record.outcome for record in found.results] == [Outcome.OK, Outcome.TIMED_OUT]
    assert [record.cell for record in folder.records()] == [CELLS[0]]


def test_collecting_twice_changes_nothing(folder):
    SlurmFiles.of(folder).write_note("0.0", note(running=CELLS[0].key, running_since=STARTED_AT))
    slurm = slurm_that_shows(folder, "TIMEOUT", "NODE_FAIL")
    first, second = collect(folder, slurm=slurm), collect(folder, slurm=slurm)
    assert first.results == second.results
    assert len(first.results) == 4


def test_a_truncated_record_is_a_problem_not_a_lost_cell(folder):
    path = put_record(folder, CELLS[0]) and folder.records_path / f"{CELLS[0].key}.json"
    path.write_text("{")
    found = collect(folder, slurm=slurm_that_shows(folder, "COMPLETED", "RUNNING"))
    assert len(found.problems) == 1
    assert path.read_text() == "{"


def test_resume_takes_what_no_task_holds_and_asks_as_the_last_time(folder, monkeypatch):
    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "c")
    put_record(folder, CELLS[0], code="c")
    fake = FakeSlurm(
        sbatch=Completed(code=0, output="8\n"), scontrol=shown(f"bench-{folder.run.id}-0", "CANCELLED", "PENDING")
    )
    submitted = slurm_run.submit_missing(folder, slurm=Slurm(fake))
    assert (submitted.job_id, submitted.cells) == (8, 1)
    again = SlurmFiles.of(folder).submission(1)
    assert again.chunks == ((SECOND,),)
    assert again.job == JobOptions(time_seconds=600)


def test_resume_measures_a_model_that_was_edited(folder, monkeypatch):
    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "new")
    for cell in CELLS:
        put_record(folder, cell, code="new" if cell.batch_size > 1 else "old")
    slurm_run.submit_missing(folder, slurm=slurm_that_shows(folder, "COMPLETED", "COMPLETED"))
    assert SlurmFiles.of(folder).submission(1).chunks == ((CELLS[0].key,),)


@pytest.mark.parametrize("first_at", ["2001-01-01T00:00:00+00:00", "now", "2999-01-01T00:00:00+00:00"])
@pytest.mark.parametrize("again_at", ["2001-01-02T00:00:00+00:00", "now", "2999-01-02T00:00:00+00:00"])
def test_resume_retries_what_ended_as_asked_until_it_was_measured_again(folder, first_at, again_at, monkeypatch):
    """Whatever the clocks say: records have whole seconds, and the time of the machine that measured."""
    first_at, again_at = (now() if at == "now" else at for at in (first_at, again_at))
    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "c")
    for cell, outcome in zip(CELLS, (Outcome.FAILED, Outcome.OUT_OF_MEMORY, Outcome.OK, Outcome.OK), strict=True):
        put_record(folder, cell, code="c", outcome=outcome, started_at=first_at)
    slurm = slurm_that_shows(folder, "COMPLETED", "COMPLETED")
    assert slurm_run.submit_missing(folder, slurm=slurm).cells == 0
    assert slurm_run.submit_missing(folder, slurm=slurm, retried=(Outcome.FAILED, Outcome.KILLED)).cells == 1
    again = SlurmFiles.of(folder).submission(1)
    assert (again.chunks, again.retried) == (((CELLS[0].key,),), (Outcome.FAILED, Outcome.KILLED))
    as_task = (Work.of(folder), again.chunks[0], dict(again.superseded))
    assert unrecorded(*as_task) == (CELLS[0],)
    put_record(folder, CELLS[0], code="c", outcome=Outcome.FAILED, reason="again", started_at=again_at)
    assert unrecorded(*as_task) == ()  # failed again: a requeued task does not go on for ever


def test_cancel_asks_once_for_a_live_array_and_never_for_one_that_is_over(folder):
    fake = FakeSlurm(scontrol=shown(f"bench-{folder.run.id}-0", "RUNNING", "PENDING"), scancel=Completed(code=0))
    assert slurm_run.cancel(folder, slurm=Slurm(fake)) == 2
    assert fake.commands("scancel") == [("scancel", "7")]
    fake.answers["scontrol"] = shown(f"bench-{folder.run.id}-0", "COMPLETED", "TIMEOUT")
    assert slurm_run.cancel(folder, slurm=Slurm(fake)) == 0
    assert len(fake.commands("scancel")) == 1


@pytest.fixture
def node(monkeypatch):
    """A node where cells take no time; `ran` holds what the note said when each began."""
    ran = []

    class Executor:
        def __init__(self, **options):
            pass

        def run(self, cell):
            node.at_cell(cell)
            return Record(cell=cell, outcome=Outcome.OK, started_at=STARTED_AT, duration_seconds=0.0, stepbench="x")

    class Node:
        at_cell = staticmethod(ran.append)

    node = Node()
    node.ran = ran
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "n9")
    monkeypatch.setattr(slurm_task, "LocalExecutor", Executor)
    monkeypatch.setattr(
        slurm_task, "make_plan", lambda cells, **_: Plan(cells=tuple(cells), environments={"cpu": ENVIRONMENT})
    )
    before = signal.getsignal(signal.SIGTERM)
    yield node
    signal.signal(signal.SIGTERM, before)


def run_task(folder, chunk="0.0"):
    return slurm_task.main([str(folder.path), chunk])


def test_a_task_locks_the_clocks_of_its_own_node(tmp_path, monkeypatch, node):
    """Else every cell would say that the driver refused, which nobody had asked."""
    asked, made = [], []

    @contextlib.contextmanager
    def locked(environments, *, is_asked):
        asked.append(is_asked)
        yield {device: replace(one, gpu_settings=((LOCKED, "sustained"),)) for device, one in environments.items()}
        asked.append("released")

    executor = slurm_task.LocalExecutor
    monkeypatch.setattr(slurm_task, "locked_environments", locked)
    monkeypatch.setattr(slurm_task, "LocalExecutor", lambda **options: made.append(options) or executor())
    session = Session(sweeps=(), planned=CELLS, sampling=Sampling(lock_clocks=True))
    slurm = Slurm(FakeSlurm())
    submitted = slurm_run.submit(session, JobOptions(time_seconds=600), results=tmp_path, slurm=slurm)
    assert run_task(RunFolder.open(submitted.folder)) == 0
    assert asked == [True, "released"]
    assert dict(made[0]["environments"]["cpu"].gpu_settings) == {LOCKED: "sustained"}


def test_a_task_says_where_it_is_before_each_cell(folder, node):
    files = SlurmFiles.of(folder)
    node.at_cell = lambda cell: node.ran.append((cell, files.note("0.1")))
    assert run_task(folder, "0.1") == 0
    assert [cell for cell, _ in node.ran] == list(CELLS[2:])
    assert [(said.running, said.begun) for _, said in node.ran] == [(CELLS[2].key, 0), (CELLS[3].key, 1)]
    assert {(said.host, said.job_id, said.environment) for _, said in node.ran} == {("n9", 7, ENVIRONMENT)}
    last = files.note("0.1")
    assert (last.ended, last.running) == (FINISHED, None)
    assert [record.cell for record in folder.records()] == list(CELLS[2:])


def test_a_task_begins_no_cell_for_which_no_time_is_left(folder, node, monkeypatch):
    monkeypatch.setattr(slurm_task.Task, "_seconds_left", lambda _: 1.0)
    assert run_task(folder) == 0
    assert node.ran == [CELLS[0]]
    assert SlurmFiles.of(folder).note("0.0").ended == OUT_OF_TIME


def test_a_task_that_slurm_ends_keeps_its_cell_in_the_note(folder, node):
    node.at_cell = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        run_task(folder)
    assert caught.value.code == 143
    said = SlurmFiles.of(folder).note("0.0")
    assert (said.ended, said.running) == ("SIGTERM", CELLS[0].key)
    assert folder.records() == ()


def test_a_node_that_cannot_measure_says_why(folder, node, monkeypatch, capsys):
    def fail(cells, **_):
        raise ModelError("no torchvision here")

    monkeypatch.setattr(slurm_task, "make_plan", fail)
    assert run_task(folder) == ExitCode.USAGE
    assert capsys.readouterr().err == "bench: no torchvision here\n"
    found = collect(folder, slurm=slurm_that_shows(folder, "FAILED", "RUNNING"))
    assert {(record.outcome, record.reason) for record in found.results} == {
        (Outcome.FAILED, "Slurm task 7_0 on n1: no torchvision here")
    }


def test_a_second_attempt_of_a_task_keeps_what_the_first_measured(folder, node, monkeypatch):
    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "c")
    put_record(folder, CELLS[0], code="c")
    assert run_task(folder) == 0
    assert node.ran == [CELLS[1]]


@pytest.fixture
def texts(tmp_path):
    """A submitted run of `bench generate`: two cases in one task."""
    cases = [make_generation(prompt=prompt).case for prompt in (8, 16)]
    kind = replace(GENERATION, fit=lambda cases, *_, **__: cases)
    asked = Asked(cases=cases, sampling=Sampling(budget_seconds=0.1))
    slurm = Slurm(FakeSlurm())
    submitted = slurm_run.submit_cases(kind, asked, JobOptions(time_seconds=600), results=tmp_path, slurm=slurm)
    assert (submitted.tasks, submitted.cells) == (1, 2)
    return RunFolder.open(submitted.folder)


def test_a_case_is_to_a_task_what_a_cell_is(texts, node, monkeypatch):
    cases = Work.of(texts).items
    files = SlurmFiles.of(texts)
    SlurmFiles.of(texts).write_note("0.0", note(running=cases[0].key, running_since=STARTED_AT, code="c"))
    dead = collect(texts, slurm=slurm_that_shows(texts, "OUT_OF_MEMORY"))
    assert [one.outcome for one in dead.results] == [Outcome.OUT_OF_MEMORY, Outcome.SKIPPED]
    assert (dead.results[0].code, dead.records, dead.claims) == ("c", (), ())
    assert cases[0].id in dead.results[1].reason
    assert "out_of_memory" in (texts.tables_path / "generations.csv").read_text()

    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "c")
    monkeypatch.setattr(slurm_task, "measure_case", measure_now)
    over = slurm_that_shows(texts, "COMPLETED")
    assert slurm_run.submit_missing(texts, retried=[Outcome.OUT_OF_MEMORY], slurm=over).cells == 2
    assert run_task(texts, "1.0") == 0
    assert (files.note("1.0").ended, files.note("1.0").begun) == (FINISHED, 1)
    done = read_status(texts, slurm=over)
    assert (done.command, done.missing, done.outcomes) == ("generate", 0, (("ok", 2),))
    assert [one.case for one in collect(texts, slurm=over).results] == list(cases)


def test_images_are_submitted_measured_and_collected_like_texts(tmp_path, node, monkeypatch):
    cases = [make_sampled(steps).case for steps in (2, 5)]
    kind = replace(IMAGES, fit=lambda cases, *_, **__: cases)
    asked = Asked(cases=cases, sampling=Sampling(budget_seconds=0.1), parts=True)
    options = {"results": tmp_path, "slurm": Slurm(FakeSlurm()), "timeout_seconds": 30.0}
    submitted = slurm_run.submit_cases(kind, asked, JobOptions(time_seconds=600), **options)
    folder = RunFolder.open(submitted.folder)

    def measure(kind, case, sampling, environment, *, has_parts, timeout_seconds):
        assert (kind, sampling.budget_seconds, timeout_seconds) == (IMAGES, 0.1, 30.0)
        return replace(make_sampled(case.steps, training=has_parts), case=case, code="c", started_at=now())

    monkeypatch.setattr(slurm_task, "measure_case", measure)
    assert run_task(folder) == 0
    over = slurm_that_shows(folder, "COMPLETED")
    done = collect(folder, slurm=over)
    assert [one.case for one in done.results] == cases
    assert [one.training is not None for one in done.results] == [True, False]  # its parts do not hang on the steps
    assert len((folder.tables_path / "images.csv").read_text().splitlines()) == 1 + 2
    assert (done.work.command, read_status(folder, slurm=over).missing) == ("images", 0)


def measure_now(kind, case, sampling, environment, *, has_parts, timeout_seconds):
    """Measure in no time, now: a retry must not find an old result."""
    assert (kind, environment, has_parts, timeout_seconds) == (GENERATION, ENVIRONMENT, False, None)
    return replace(make_generation(), case=case, code="c", started_at=now())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "decoder_lm", "--partition", "p"), "--partition is for a cluster; add --executor slurm"),
        (("images", "diffusion", "--executor", "slurm"), "'sbatch' is not on this machine"),
        (("images", "diffusion", "--executor", "slurm", "--latency", "p99=1s"), "--latency needs results"),
        (("generate", "decoder_lm", "--executor", "inline"), "Use one of: forkserver, spawn, slurm"),
        (("generate", "--resume", "TEXTS"), "was submitted to Slurm; add --executor slurm"),
        (("run", "mlp", "--gpus", "1"), "--gpus is for a cluster; add --executor slurm"),
        (("run", "mlp", "--cells-per-task", "2"), "--cells-per-task is for a cluster"),
        (("run", "mlp", "--executor", "slurm", "--time", "soon"), "--time: 'soon' is not a duration"),
        (("run", "mlp", "--executor", "slurm", "--setup", ""), "--setup must be one line"),
        (("run", "mlp", "--executor", "slurm", "--extra-sbatch", "a\nb"), "--extra-sbatch must be one line"),
        (("run", "mlp", "--executor", "slurm"), "'sbatch' is not on this machine"),
        (("run", "mlp", "--world-size", "2", "--nodes", "2"), "needs 2 nodes of a cluster; add --executor slurm"),
        (
            ("run", "mlp", "--world-size", "3", "--nodes", "2", "--executor", "slurm", "--dry-run"),
            "3 processes cannot be spread evenly over 2 nodes",
        ),
        (("slurm", "status", "20200101"), "no run '20200101'"),
        (("slurm", "status", "LOCAL"), "is not a Slurm run"),
        (("slurm", "collect", "LOCAL"), "is not a Slurm run"),
        (("slurm", "cancel", "LOCAL"), "is not a Slurm run"),
        (("run", "--resume", "LOCAL", "--executor", "slurm"), "is not a Slurm run"),
        (("run", "--resume", "SLURM"), "was submitted to Slurm; add --executor slurm"),
        (("run", "--resume", "SLURM", "mlp", "--executor", "slurm"), "leave out mlp"),
        (
            ("run", "--resume", "SLURM", "--executor", "slurm", "--cold-start", "--energy", "--no-predict"),
            "leave out --energy, --cold-start, --no-predict",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(folder, texts, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    local = RunFolder.create(tmp_path, replace(folder.run, started_at="2020-01-02T00:00:00+00:00"))
    names = {"LOCAL": local.run.id, "SLURM": folder.run.id, "TEXTS": texts.run.id}
    code = run_bench([names.get(argument, argument) for argument in arguments] + ["--results", str(tmp_path)])
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1), err
    assert words in err


def test_a_dry_run_refuses_a_model_that_submitting_refuses(tmp_path, monkeypatch, capsys):
    def check(cells, _):
        raise ModelError(f"no model named {cells[0].model!r}")

    monkeypatch.setattr(slurm_run, "_check_models", check)
    monkeypatch.chdir(tmp_path)
    assert run_bench(["run", "resnet5", "--executor", "slurm", "--dry-run"]) == ExitCode.USAGE
    assert capsys.readouterr() == ("", "bench: no model named 'resnet5'\n")


def test_dry_run_prints_the_script_and_touches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ("run", "mlp", "-b", "1,2", "--executor", "slurm", "--partition", "p", "--dry-run")
    assert run_bench(list(arguments)) == ExitCode.FINE
    out = capsys.readouterr().out
    assert out.startswith("#!/bin/bash\n#SBATCH ")
    assert "#SBATCH --partition=p\n" in out
    assert list(tmp_path.iterdir()) == []
