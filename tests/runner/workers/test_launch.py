"""Ranks by torch's launcher: every way they can end is one Ending that names the rank, and nothing is left."""

import logging
import multiprocessing
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from bench.core.record import Outcome
from bench.runner import processes
from bench.runner.endings import Ending
from bench.runner.workers import launch as launch_module
from bench.runner.workers.launch import NodeEnded, RanksEnded, _heard, _judge, _Lines, _Report, hosts_of, values_of
from tests.runner.watching import ROOT, is_gone, wait_for


def launch(how, folder, **options):
    return processes.call("tests.runner.rank_faults:run", how, str(folder), **options)


def pids(folder):
    return [int(path.read_text()) for path in sorted(folder.glob("rank*"))]


def assert_nothing_is_left(folder):
    assert len(pids(folder)) == 2
    for pid in pids(folder):
        wait_for(lambda pid=pid: is_gone(pid))


def test_every_rank_answers_and_all_agree_on_the_seconds(tmp_path):
    ending = launch("parent_pid", tmp_path)
    assert ending.outcome is Outcome.OK, ending
    # Rank 0 ends its steps at 1 and 4, rank 1 at 2 and 4: the last ends are 2 and 4.
    assert ending.value == ((0, [2.0, 2.0]), (1, [2.0, 2.0]))
    assert_nothing_is_left(tmp_path)


@pytest.mark.parametrize("starts", [True, False])
def test_no_rank_finds_that_counting_devices_started_their_runtime(monkeypatch, starts):
    """Where NVML tells nothing, torch's launcher would ask CUDA for devices, and no fork survives that (B10)."""
    asked, options = [], []

    def launch_with(config, _):
        options.append(config.numa_options)
        return lambda *_: {0: "done"}

    monkeypatch.setattr(launch_module, "starts_when_counted", lambda: starts)
    monkeypatch.setattr(launch_module, "elastic_launch", launch_with)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: asked.append("is_available"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: asked.append("device_count"))
    try:
        assert launch_module.run_ranks(len, ((),), ranks=1, endpoint="localhost:0").values == {0: "done"}
    finally:
        logging.disable(logging.NOTSET)
    assert bool(asked) is not starts
    assert options == [None]  # what stands in for the question binds no rank to CPUs, which needs numactl


def test_launches_side_by_side_do_not_meet(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(3) as pool:
        endings = list(pool.map(lambda folder: launch("parent_pid", folder), folders))
    assert [ending.outcome for ending in endings] == [Outcome.OK] * 3


@pytest.mark.parametrize(
    ("how", "outcome", "words"),
    [
        ("leave", Outcome.FAILED, "rank 1 of 2: SystemExit: 3"),
        ("raise_torch_out_of_memory", Outcome.OUT_OF_MEMORY, "rank 1 of 2: OutOfMemoryError: CUDA out of memory"),
        ("allocate_beyond_a_limit", Outcome.OUT_OF_MEMORY, "rank 1 of 2: "),
        ("kill", Outcome.KILLED, "rank 1 of 2: the worker was killed by SIGKILL"),
        ("segfault", Outcome.KILLED, "rank 1 of 2: the worker was killed by SIGSEGV"),
        ("vanish", Outcome.FAILED, "rank 1 of 2: the worker ended without an answer, exit code 7"),
    ],
)
def test_a_rank_that_ends_badly_ends_the_cell_and_is_named(tmp_path, how, outcome, words):
    ending = launch(how, tmp_path)
    assert ending.outcome is outcome, ending
    assert ending.reason.startswith(words)
    assert_nothing_is_left(tmp_path)


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_with_the_place_where_it_was(tmp_path):
    ending = processes.call("tests.runner.rank_faults:run", "hang", str(tmp_path), 12.0)
    assert ending.outcome is Outcome.TIMED_OUT
    assert ending.reason.startswith("took longer than 12 s; rank 1 of 2 was in hang (faults.py:"), ending.reason
    assert "rank 0 of 2 was in wait (ranks.py:" in ending.reason
    assert_nothing_is_left(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "outcome"), [(None, Outcome.OK), (120.0, Outcome.TIMED_OUT)], ids=["none", "typed"])
def test_ranks_whose_work_is_long_have_the_time_that_they_expect(tmp_path, limit, outcome):
    arguments = ("tests.runner.rank_faults:run", "expect_and_wait", str(tmp_path), 10.0)
    ending = processes.call(*arguments, timeout_seconds=limit)
    assert ending.outcome is outcome, ending
    if outcome is Outcome.TIMED_OUT:
        assert ending.reason.startswith("took longer than 10 s; rank 1 of 2 was in "), ending.reason
    assert_nothing_is_left(tmp_path)


def test_a_thread_that_a_model_leaves_does_not_hold_its_rank(tmp_path):
    assert launch("leave_a_thread", tmp_path, timeout_seconds=120).outcome is Outcome.OK
    assert_nothing_is_left(tmp_path)


@pytest.mark.slow
def test_no_rank_outlives_a_killed_parent(tmp_path):
    code = (
        "from bench.runner import processes; processes.preload('bench.runner.workers.launch'); "
        f"processes.call('tests.runner.rank_faults:run', 'hang', {str(tmp_path)!r})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for(lambda: len(list(tmp_path.glob("rank*"))) == 2)
    wait_for(lambda: all(path.read_text() for path in tmp_path.glob("rank*")))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert_nothing_is_left(tmp_path)


def test_no_rank_outlives_a_killed_agent(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(launch, "hang", tmp_path)
        wait_for(lambda: len([p for p in tmp_path.glob("rank*") if p.read_text()]) == 2)
        agent = int(Path(f"/proc/{pids(tmp_path)[0]}/stat").read_text().rpartition(") ")[2].split()[1])
        processes.os.kill(agent, signal.SIGKILL)
        assert future.result().outcome is Outcome.KILLED
    assert_nothing_is_left(tmp_path)


def said(at, reason, is_consequence=False, outcome=Outcome.FAILED):
    return _Report(0, at, is_consequence, Ending(outcome=outcome, reason=reason))


def test_the_rank_that_raised_first_is_named():
    reports = {0: said(2.0, "ValueError: late"), 1: said(1.0, "ValueError: early")}
    assert _judge(reports, {0: 1}, 2, is_oom=False).reason == "rank 1 of 2: ValueError: early"


def test_a_rank_that_only_lost_its_peer_is_not_named():
    reports = {0: said(1.0, "RuntimeError: Connection closed by peer", True), 1: said(2.0, "ValueError: mine")}
    assert _judge(reports, {0: 1}, 2, is_oom=False).reason == "rank 1 of 2: ValueError: mine"


def test_a_rank_that_died_without_a_word_stands_before_those_that_lost_it():
    reports = {0: said(1.0, "RuntimeError: Connection closed by peer", True)}
    ending = _judge(reports, {1: -9}, 2, is_oom=False)
    assert (ending.outcome, ending.reason) == (Outcome.KILLED, "rank 1 of 2: the worker was killed by SIGKILL")


def test_the_kernels_killer_of_a_rank_is_out_of_memory():
    assert _judge({}, {1: -9}, 2, is_oom=True).outcome is Outcome.OUT_OF_MEMORY


def node(values=(), reports=None, codes=None, **found):
    return NodeEnded(values=dict(values), reports=reports or {}, codes=codes or {}, **found)


def test_the_values_of_several_nodes_are_joined_by_rank():
    assert values_of([node({2: "c", 3: "d"}), node({0: "a", 1: "b"})], 4, None) == ("a", "b", "c", "d")


def test_a_rank_of_another_node_that_died_is_named_before_those_that_lost_it():
    lost = node(reports={0: said(1.0, "RuntimeError: Connection closed by peer", True)}, codes={0: 1})
    with pytest.raises(RanksEnded) as ended:
        values_of([lost, node(codes={3: -9})], 4, None)
    assert ended.value.ending.reason == "rank 3 of 4: the worker was killed by SIGKILL"
    assert lost.is_consequence and not node(codes={3: -9}).is_consequence


def test_a_rank_that_died_is_named_with_its_host_and_the_hosts_of_all_are_kept():
    lost = said(1.0, "RuntimeError: Connection closed by peer", True)
    first = node(reports={0: lost}, codes={0: 1}, ranks=(0, 1), host="n1")
    with pytest.raises(RanksEnded) as ended:
        values_of([node(codes={3: -9}, ranks=(2, 3), host="n2"), first], 4, None)
    assert ended.value.ending.reason == "rank 3 of 4 on n2: the worker was killed by SIGKILL"
    assert ended.value.hosts == ("n1", "n1", "n2", "n2")
    assert hosts_of([first], 4, "n2") == ("n1", "n1", "n2", "n2"), "a node that did not answer"
    assert hosts_of([first], 4) == ("n1", "n1", "", "")
    assert hosts_of([node(ranks=(0, 1))], 2) == (), "one machine"


def test_a_rank_says_that_it_begins_and_then_how_it_ends():
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(3)]
    lines = tuple(_Lines((0, 0), *pipe, (0, 0)) for pipe in pipes)
    for rank, line in enumerate(lines[:2], 4):
        line.report.send(rank)
    report = _Report(5, 1.0, False, Ending(outcome=Outcome.FAILED, reason="ValueError: mine"))
    lines[1].report.send(report)
    lines[2].report.close()  # died before it began
    assert _heard(lines) == ((4, 5), {5: report})


def test_nodes_whose_time_is_up_say_where_each_was():
    with pytest.raises(RanksEnded) as ended:
        values_of([node(where="on n1 rank 0 of 1 was in a"), node(where="on n2 rank 0 of 1 was in b")], 2, 5.0)
    assert ended.value.ending.outcome is Outcome.TIMED_OUT
    assert ended.value.ending.reason.startswith("took longer than 5 s; on n1 rank 0 of 1 was in a, on n2")
