"""`bench run --executor slurm` and its followers against a real Slurm with two nodes.

The tests share one cluster and run in this order: the array that runs into Slurm's time limit, which counts in minutes,
is submitted first and looked at last, by tests marked `late`: they run after all other tests of the house, during which
that minute passes.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.core.record import Outcome
from bench.store.runs import RunFolder
from tests.slurm.cluster import wait_for

pytestmark = pytest.mark.slurm

MODELS = Path(__file__).parent / "fatal_models.py"
QUICK = ("-b", "2", "--budget", "0.02s", "--executor", "slurm", "--time", "1m")
TASK_STARTS_SECONDS = 60
TIME_LIMIT_SECONDS = 240  # one minute, and Slurm looks every half a minute
COMPARED = (None, "the phases do not add up to the step")  # where other work holds the cores


@dataclass
class Bench:
    """The command line in one folder."""

    capsys: pytest.CaptureFixture

    def __call__(self, *arguments):
        code = run_command([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err

    def json(self, *arguments):
        code, out, err = self(*arguments, "--format", "json")
        assert out, err
        return code, json.loads(out)


@pytest.fixture
def bench(cluster, capsys):
    return Bench(capsys)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def in_home(cluster, home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def runs():
    """Ids of runs by what they are for; a later test looks at an earlier one's."""
    return {}


def models(*names):
    return tuple(f"{MODELS}:{name}" for name in names)


def name_of(cell):
    return cell["model"].rpartition(":")[2]


def states(bench, run):
    _, document = bench.json("slurm", "status", run)
    return {row["task"]: (row["state"], row["running"]) for row in document["status"]["tasks"]}


def wait_until_at_cells(bench, run, count):
    """Wait until so many tasks say which cell they are at."""
    at_cells = lambda: [s for s in states(bench, run).values() if s[0] == "RUNNING" and s[1]]  # noqa: E731
    wait_for(lambda: len(at_cells()) == count, f"{count} tasks at a cell", TASK_STARTS_SECONDS)


LIVE = {"PENDING", "RUNNING", "COMPLETING"}


def wait_until_over(bench, run, seconds):
    def is_over():
        status = bench.json("slurm", "status", run)[1]["status"]
        # A task whose cells all have their records may still run, and holds them.
        return status["waiting"] == 0 and not LIVE & {task["state"] for task in status["tasks"]}

    wait_for(is_over, "end of all tasks", seconds)


def rows(bench, run):
    """Collect, and return outcome and reason of each cell as the table has it."""
    _, document = bench.json("slurm", "collect", run)
    lines = (RunFolder.open(run).tables_path / "cells.csv").read_text().splitlines()
    assert len(lines) - 1 == len(document["records"])
    return {name_of(record["cell"]): (record["outcome"], record["reason"]) for record in document["records"]}


def records_by_name(run):
    return {name_of({"model": record.cell.model}): record for record in RunFolder.open(run).records()}


def test_submit_and_leave(bench, runs):
    chunks = ("good", "kills_its_task", "also_good"), ("eats_memory", "another_good", "kills_itself"), ("sleeps",)
    options = ("--cells-per-task", "3", "--extra-sbatch", "--mem=2000", "--extra-sbatch", "--nodelist=n1")
    names = [name for chunk in chunks for name in chunk]
    code, document = bench.json(
        "run", *models(*names), *QUICK, *options, "--partition", "debug", "--setup", "export MALLOC_ARENA_MAX=3"
    )
    assert (code, document["tasks"], document["cells"]) == (ExitCode.FINE, 3, 7)
    runs["deadly"] = document["run"]
    keys = [cell.key for cell in RunFolder.open(document["run"]).run.cells]
    stored = json.loads(Path("results", document["run"], "slurm", "0.json").read_text())
    assert [key for chunk in stored["chunks"] for key in chunk] == keys
    assert [len(chunk) for chunk in stored["chunks"]] == [3, 3, 1]


def test_a_refusal_is_one_line_in_slurms_own_words_and_leaves_nothing(bench):
    before = set(Path("results").iterdir())
    code, _, err = bench("run", *models("good"), *QUICK, "--partition", "absent")
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1)
    assert "invalid partition specified: absent" in err
    assert set(Path("results").iterdir()) == before


def test_status_names_the_cell_a_task_is_at_and_collect_does_not_wait(bench, runs):
    options = ("--cells-per-task", "1", "--extra-sbatch", "--nodelist=n2", "--extra-sbatch", "--mem=2000")
    _, document = bench.json("run", *models("sleeps", "sleeps_too"), *QUICK, *options, "--time", "30m")
    runs["interrupted"] = run = document["run"]
    wait_until_at_cells(bench, run, 2)
    at = {cell.rpartition(":")[2].partition("/")[0] for _, cell in states(bench, run).values()}
    assert at == {"sleeps", "sleeps_too"}
    code, document = bench.json("slurm", "collect", run)
    assert code == ExitCode.NOTHING
    assert (document["records"], document["waiting"], document["unmeasured"]) == ([], 2, 0)


def test_cells_that_a_task_still_holds_are_not_submitted_again(bench, runs):
    code, document = bench.json("run", "--resume", runs["interrupted"], "--executor", "slurm")
    assert (code, document["slurm_job"], document["cells"]) == (ExitCode.FINE, None, 0)


def test_a_preempted_task_is_a_row_that_can_be_resumed(bench, cluster, runs):
    run = runs["interrupted"]
    cluster.ask("sbatch", "-p", "urgent", "--exclusive", "--nodelist=n2", "--output=/dev/null", "--wrap", "true")
    wait_until_over(bench, run, 60)
    for outcome, reason in rows(bench, run).values():
        assert outcome == Outcome.KILLED
        assert reason.endswith("on n2 was preempted by another job")
    assert RunFolder.open(run).records() == ()


def test_a_lost_node_is_a_row_that_can_be_resumed(bench, cluster, runs):
    run = runs["interrupted"]
    _, document = bench.json("run", "--resume", run, "--executor", "slurm", "--cells-per-task", "1")
    assert (document["tasks"], document["cells"]) == (2, 2)
    wait_until_at_cells(bench, run, 2)
    cluster.ask("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    wait_until_over(bench, run, 60)
    for outcome, reason in rows(bench, run).values():
        assert outcome == Outcome.KILLED
        assert reason.endswith("on n2 lost its node")
    assert RunFolder.open(run).records() == ()
    cluster.ask("scontrol", "update", "nodename=n2", "state=resume")


def test_cancel_stops_the_tasks_and_the_cells_are_rows(bench, runs):
    run = runs["interrupted"]
    bench("run", "--resume", run, "--executor", "slurm", "--cells-per-task", "1")
    wait_until_at_cells(bench, run, 2)
    code, out, _ = bench("slurm", "cancel", run)
    assert (code, out) == (ExitCode.FINE, f"Run {run}: 2 tasks cancelled\n")
    wait_until_over(bench, run, 60)
    assert [outcome for outcome, _ in rows(bench, run).values()] == [Outcome.KILLED] * 2
    assert all(reason.endswith("was cancelled") for _, reason in rows(bench, run).values())
    assert bench("slurm", "cancel", run)[1] == f"Run {run}: nothing to cancel\n"


def test_a_setup_line_that_fails_is_every_cells_reason(bench):
    line = "echo no such module >&2; exit 9"
    _, document = bench.json("run", *models("good", "also_good"), *QUICK, "--setup", line)
    run = document["run"]
    wait_until_over(bench, run, 60)
    for outcome, reason in rows(bench, run).values():
        assert outcome == Outcome.FAILED
        assert reason.endswith("failed before its first cell, exit code 9: no such module")
    assert RunFolder.open(run).records() == ()


@pytest.mark.late
def test_texts_are_submitted_collected_and_resumed_as_cells_are(bench):
    lm = "decoder_lm@width=16,heads=2,layers=1,vocabulary=50"
    typed = ("--prompt", "4,8", "--new-tokens", "3", "--budget", "0.01s", "--executor", "slurm", "--time", "5m")
    _, document = bench.json("generate", lm, *typed)
    assert (document["tasks"], document["cells"]) == (1, 2)
    run = document["run"]
    wait_until_over(bench, run, TIME_LIMIT_SECONDS)
    _, collected = bench.json("slurm", "collect", run)
    assert [one["outcome"] for one in collected["generations"]] == [Outcome.OK, Outcome.OK], collected
    folder = RunFolder.open(run)
    assert len((folder.tables_path / "generations.csv").read_text().splitlines()) == 1 + 2
    assert bench("slurm", "collect", run)[1].startswith("Time to the first token and per token")
    again = ("generate", "--resume", run, "--executor", "slurm")
    assert bench.json(*again)[1]["slurm_job"] is None
    next((folder.path / "generation").iterdir()).unlink()
    assert bench.json(*again)[1]["cells"] == 1
    assert bench("slurm", "cancel", run)[0] == ExitCode.FINE


@pytest.mark.late
def test_an_array_with_deaths_collects_to_a_complete_table(bench, runs):
    run = runs["deadly"]
    wait_until_over(bench, run, TIME_LIMIT_SECONDS)
    found = rows(bench, run)
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "good": Outcome.OK,
        "kills_its_task": Outcome.KILLED,
        "also_good": Outcome.SKIPPED,
        "eats_memory": Outcome.OUT_OF_MEMORY,
        "another_good": Outcome.SKIPPED,
        "kills_itself": Outcome.SKIPPED,
        "sleeps": Outcome.TIMED_OUT,
    }
    assert "was killed by SIGKILL" in found["kills_its_task"][1]
    assert found["also_good"][1].startswith("not run: Slurm task ")
    assert "kills_its_task" in found["also_good"][1]
    assert "took more memory than the job may have" in found["eats_memory"][1]
    assert found["sleeps"][1].endswith("ran into its time limit of 1 min")


@pytest.mark.late
def test_the_environment_of_every_record_is_that_of_its_task(runs):
    records = RunFolder.open(runs["deadly"]).records()
    assert len(records) == 4
    assert {record.environment.malloc for record in records} == {(("MALLOC_ARENA_MAX", "3"),)}


@pytest.mark.late
def test_resume_submits_only_what_has_no_record(bench, runs):
    run = runs["deadly"]
    before = {path: path.read_bytes() for path in RunFolder.open(run).records_path.iterdir()}
    _, document = bench.json("run", "--resume", run, "--executor", "slurm", "--time", "20m")
    assert (document["tasks"], document["cells"]) == (1, 3)
    wait_until_over(bench, run, 240)
    found = rows(bench, run)
    assert found["also_good"] == found["another_good"] == (Outcome.OK, None)
    assert found["kills_itself"][0] == Outcome.KILLED
    assert len(RunFolder.open(run).records()) == 7
    assert all(path.read_bytes() == content for path, content in before.items())
    assert bench.json("run", "--resume", run, "--executor", "slurm")[1]["slurm_job"] is None


@pytest.mark.late
def test_a_retried_cell_that_kills_its_task_again_has_a_record_of_that(bench, runs):
    run = runs["deadly"]
    before = records_by_name(run)
    _, document = bench.json("run", "--resume", run, "--executor", "slurm", "--retry", "failed,killed", "--time", "20m")
    assert document["cells"] == 2  # not those that ran out of memory or of time
    wait_until_over(bench, run, TIME_LIMIT_SECONDS)
    found = rows(bench, run)
    assert found["kills_its_task"][0] == found["kills_itself"][0] == Outcome.KILLED
    again = f"Slurm task {document['slurm_job']}_0 on n1 was killed by SIGKILL"
    assert found["kills_its_task"][1].startswith(again)
    after = records_by_name(run)
    assert {name for name, record in after.items() if record != before[name]} == {"kills_its_task"}
    _, status = bench.json("slurm", "status", run)
    assert (status["status"]["missing"], status["status"]["waiting"]) == (0, 0)


@pytest.mark.late
def test_a_running_task_has_an_expected_end_after_three_cells(bench, runs):
    names = ("raises_at_first", "dies_at_first", "good", "sleeps_at_first")
    _, document = bench.json("run", *models(*names), *QUICK[:-1], "30m", "--cells-per-task", "4")
    runs["flaky"] = run = document["run"]

    def row():
        (found,) = bench.json("slurm", "status", run)[1]["status"]["tasks"]
        return found

    wait_for(lambda: ":sleeps_at_first/" in (row()["running"] or ""), "the fourth cell", TIME_LIMIT_SECONDS)
    assert (row()["done"], row()["cells"]) == (3, 4)
    submitted = datetime.fromisoformat(RunFolder.open(run).run.started_at)
    assert submitted < datetime.fromisoformat(row()["expected_end"]) < submitted + timedelta(hours=1)
    assert "\nexpected end of the running tasks: about " in bench("slurm", "status", run)[1]
    assert bench("slurm", "cancel", run)[0] == ExitCode.FINE
    wait_until_over(bench, run, 60)
    found = rows(bench, run)
    assert [found[name][0] for name in names] == [Outcome.FAILED, Outcome.KILLED, Outcome.OK, Outcome.KILLED]
    assert found["raises_at_first"][1].endswith("raised RuntimeError: not in this job")
    assert "expected end" not in bench("slurm", "status", run)[1]


@pytest.mark.late
def test_retry_measures_again_what_ended_as_named_and_nothing_else(bench, runs):
    run = runs["flaky"]
    dead = records_by_name(run)["dies_at_first"]
    again = ("run", "--resume", run, "--executor", "slurm")
    _, document = bench.json(*again, "--retry", "failed")
    assert document["cells"] == 2  # the one that failed, and the one that was cancelled, which has no record
    wait_until_over(bench, run, TIME_LIMIT_SECONDS)
    found = rows(bench, run)
    assert [found[name][0] for name in ("raises_at_first", "sleeps_at_first")] == [Outcome.OK] * 2
    assert records_by_name(run)["dies_at_first"] == dead
    assert bench.json(*again)[1]["slurm_job"] is None
    assert bench.json(*again, "--retry", "failed,killed")[1]["cells"] == 1
    wait_until_over(bench, run, TIME_LIMIT_SECONDS)
    assert {outcome for outcome, _ in rows(bench, run).values()} == {Outcome.OK}
    assert bench.json(*again, "--retry", "failed,killed")[1]["slurm_job"] is None


@pytest.mark.late
def test_a_cell_of_several_processes_shares_a_task_with_others(bench):
    _, document = bench.json(
        "run",
        *models("good"),
        *QUICK,
        "--world-size",
        "1,2",
        "--threads",
        "1",
        "--cells-per-task",
        "2",
        "--time",
        "10m",
    )
    assert document["tasks"] == 1
    wait_until_over(bench, document["run"], TIME_LIMIT_SECONDS)
    _, collected = bench.json("slurm", "collect", document["run"])
    assert [record["outcome"] for record in collected["records"]] == [Outcome.OK, Outcome.OK], collected
    (scaling,) = collected["ranks"]
    assert scaling["reason"] in COMPARED and scaling["efficiency"] > 0


@pytest.mark.late
@pytest.mark.slow
def test_a_cell_over_two_nodes_says_who_ran_where_and_what_communication_costs(bench):
    sweep = (*models("good", "a_rank_dies", "a_node_dies"), *QUICK[:-1], "10m", "--threads", "1")
    _, document = bench.json("run", *sweep, "--world-size", "1,2", "--nodes", "2", "--timeout", "100s")
    assert len(document["slurm_jobs"]) == 2
    assert document["tasks"] == 4  # one for the cells of one node, and one for each of two
    run = document["run"]
    wait_until_over(bench, run, TIME_LIMIT_SECONDS)
    _, collected = bench.json("slurm", "collect", run)
    found = {(name_of(r["cell"]), r["cell"].get("world_size", 1)): r for r in collected["records"]}
    good = found["good", 2]
    assert good["outcome"] == Outcome.OK, good
    assert sorted(good["ranks"]["hosts"]) == ["n1", "n2"]  # the rendezvous numbers the nodes
    assert {(s["phase"], s["rank"]) for s in good["samples"]} >= {("backward", rank) for rank in range(2)}
    (scaling,) = [one for one in collected["ranks"] if name_of(one["cell"]) == "good"]
    assert scaling["reason"] in COMPARED and scaling["efficiency"] > 0
    # What dies is that cell's row and no other's.
    assert [found[name, 1]["outcome"] for name in ("good", "a_rank_dies", "a_node_dies")] == [Outcome.OK] * 3
    # And says on which host, beside those of all ranks.
    reason = re.fullmatch(
        r"rank 1 of 2 on (n[12]): the worker was killed by SIGKILL", found["a_rank_dies", 2]["reason"]
    )
    assert found["a_rank_dies", 2]["ranks"]["hosts"][1] == reason[1]
    assert found["a_node_dies", 2]["outcome"] == Outcome.KILLED
    reason = re.match(r"node [12] of 2 \((n[12])\) ended without a word", found["a_node_dies", 2]["reason"])
    assert found["a_node_dies", 2]["ranks"]["hosts"][1] == reason[1]
    assert all(sorted(found[name, 2]["ranks"]["hosts"]) == ["n1", "n2"] for name in ("a_rank_dies", "a_node_dies"))
    # And can be resumed as any other.
    _, again = bench.json("run", "--resume", run, "--executor", "slurm", "--retry", "killed")
    assert (again["cells"], again["tasks"]) == (2, 2)
    assert bench("slurm", "cancel", run)[0] == ExitCode.FINE
    wait_until_over(bench, run, 60)


@pytest.mark.late
def test_what_slurm_has_forgotten_is_told_by_the_tasks_own_files(bench, cluster, runs):
    cluster.forget_all_jobs()
    run = runs["deadly"]
    died = {"kills_its_task": Outcome.KILLED, "eats_memory": Outcome.OUT_OF_MEMORY, "sleeps": Outcome.TIMED_OUT}
    folder = RunFolder.open(run)
    for cell in folder.run.cells:
        if cell.model.rpartition(":")[2] in died:
            (folder.records_path / f"{cell.key}.json").unlink()
    found = rows(bench, run)
    assert {name: found[name][0] for name in died} == died
    assert all(outcome == Outcome.KILLED for outcome, _ in rows(bench, runs["interrupted"]).values())
    assert all("was cancelled" in reason for _, reason in rows(bench, runs["interrupted"]).values())


@pytest.mark.late
def test_a_controller_that_is_down_is_one_line_and_no_cell_is_called_lost(bench, cluster, runs, monkeypatch):
    broken = cluster.config.read_text().replace(
        "SlurmctldPort=", "SlurmctldTimeout=10\nMessageTimeout=2\nSlurmctldPort=1"
    )
    Path("elsewhere.conf").write_text(broken)
    monkeypatch.setenv("SLURM_CONF", str(Path("elsewhere.conf").resolve()))
    code, _, err = bench("slurm", "collect", runs["interrupted"])
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1)
    assert "cannot be asked" in err
