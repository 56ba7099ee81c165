import math
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.core.errors import ModelError
from bench.core.progress import listening
from bench.core.record import Outcome
from bench.runner import processes
from bench.runner.endings import OUTPUT_TAIL_BYTES, named
from tests.runner.watching import LIGHT, ROOT, is_gone, wait_for


def call(name, *arguments, **options):
    return processes.call(f"tests.runner.faults:{name}", *arguments, **options)


def test_a_value_comes_back():
    ending = call("answer", {"a": (1, 2.5)})
    assert (ending.outcome, ending.value, ending.reason) == (Outcome.OK, {"a": (1, 2.5)}, None)


def test_every_call_is_a_fresh_process_of_another_parent():
    assert call("parent_pid").value != os.getpid()


def test_spawn_answers_too():
    assert call("answer", 3, method="spawn").value == 3


def test_inline_runs_here():
    assert call("parent_pid", method="inline").value == os.getppid()


@pytest.mark.parametrize("method", ["forkserver", "inline"])
def test_an_exception_is_a_reason_of_one_line(method):
    ending = call("raise_error", "first line\nsecond line", method=method)
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, "ValueError: first line")


def test_the_traceback_is_in_the_output():
    assert "raise_error" in call("raise_error", "x").output_tail


def test_an_error_of_the_user_can_be_raised_again():
    ending = call("raise_bench_error")
    assert isinstance(ending.error, ModelError)
    assert str(ending.error) == "no such layer"


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("libtorch_cpu.so: failed to map segment from shared object", True),
        ("`torch` can only be initialized once per process", True),
        ("No module named 'my_layers'", False),
    ],
)
def test_a_limit_of_memory_is_named_where_torch_cannot_be_imported(monkeypatch, text, is_named):
    monkeypatch.setattr("resource.getrlimit", lambda _: (2 * 1024**3, 2 * 1024**3))
    error = named(ImportError(text))
    assert ("only 2.00 GiB of memory here (ulimit -v)" in str(error)) is is_named
    monkeypatch.setattr("resource.getrlimit", lambda _: (-1, -1))
    assert str(named(ImportError(text))) == text


def test_sys_exit_is_a_failure():
    ending = call("leave")
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, "SystemExit: 3")


def test_a_process_that_vanishes_is_a_failure_with_its_exit_code():
    ending = call("vanish")
    assert ending.outcome is Outcome.FAILED
    assert "exit code 7" in ending.reason


@pytest.mark.parametrize(("name", "signal_name"), [("segfault", "SIGSEGV"), ("kill", "SIGKILL")])
def test_a_signal_is_named(name, signal_name):
    ending = call(name)
    assert ending.outcome is Outcome.KILLED
    assert signal_name in ending.reason


def test_a_process_that_hangs_is_killed_in_time():
    started = time.monotonic()
    ending = call("hang", timeout_seconds=0.5)
    assert (ending.outcome, ending.reason) == (Outcome.TIMED_OUT, "took longer than 0.5 s")
    assert time.monotonic() - started < 60


def test_megabytes_of_output_leave_a_short_tail():
    tail = call("print_much").output_tail
    assert len(tail) <= OUTPUT_TAIL_BYTES
    assert "the last words" in tail


def test_the_allocator_refusing_is_out_of_memory():
    assert call("allocate_too_much").outcome is Outcome.OUT_OF_MEMORY


def test_a_thread_that_never_ends_does_not_hold_the_answer():
    assert call("leave_a_thread").value == "answered"


def test_a_fork_inside_does_no_harm():
    assert call("fork_a_child").value == "still here"


def test_the_script_that_calls_is_not_run_again_in_the_child(tmp_path):
    """A user's script without `if __name__ == "__main__"` must not start itself over."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "print('started', flush=True)\n"
        "from bench.runner import processes\n"
        "processes._preloaded.clear()\n"
        "print(processes.call('os:getpid').value != os.getpid())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["started", "True"]


def test_no_child_outlives_a_killed_parent(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"{LIGHT}processes.call('tests.runner.faults:sleep_as', {str(pid_file)!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    child = int(wait_for(lambda: pid_file.exists() and pid_file.read_text()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: is_gone(child))


@pytest.mark.parametrize(
    ("method", "how", "expected"),
    [
        ("forkserver", "answer", Outcome.OK),
        ("forkserver", "hang", Outcome.TIMED_OUT),
        ("forkserver", "raise", Outcome.FAILED),
        ("forkserver", "kill", Outcome.KILLED),
        ("spawn", "kill", Outcome.KILLED),
    ],
)
def test_what_a_process_forked_dies_with_it(monkeypatch, tmp_path, method, how, expected):
    path = tmp_path / "pid"
    wait = processes._wait_for_answer

    def wait_once_it_forked(receiver, end, limit, renewal):
        wait_for(lambda: path.exists() and path.read_text())
        return wait(receiver, end, 0.1, renewal)

    if how == "hang":
        monkeypatch.setattr(processes, "_wait_for_answer", wait_once_it_forked)
    ending = call("fork_and_wait_as", str(path), how, method=method)
    assert ending.outcome is expected
    wait_for(lambda: is_gone(int(path.read_text())))


def test_what_a_process_forked_dies_with_the_parent(tmp_path):
    path = tmp_path / "pid"
    arguments = f"'tests.runner.faults:fork_and_wait_as', {str(path)!r}, 'hang'"
    parent = subprocess.Popen([sys.executable, "-c", f"{LIGHT}processes.call({arguments})"], cwd=ROOT)
    forked = int(wait_for(lambda: path.exists() and path.read_text()))
    parent.kill()
    parent.wait()
    wait_for(lambda: is_gone(forked))


def test_of_a_model_that_forks_and_forgets_only_one_answers():
    assert call("fork_and_come_back").outcome is Outcome.OK


def test_standard_input_is_empty():
    assert call("read_stdin").value == ("", b"")
    assert call("ask").reason == "EOFError: EOF when reading a line"


def test_closed_output_costs_the_tail_only():
    ending = call("close_output")
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, "RuntimeError: nobody hears this")


def test_a_process_that_closes_everything_is_a_failure():
    assert call("close_descriptors", False).outcome is Outcome.FAILED


def test_a_process_that_closes_everything_and_goes_on_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(processes, "DYING_GRACE_SECONDS", 0.1)
    ending = call("close_descriptors", True)
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, "the worker closed the pipe for its answer")


def test_an_interrupt_of_the_models_own_is_a_failure():
    ending = call("raise_interrupt")
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, "KeyboardInterrupt")


@pytest.mark.parametrize(
    "name", ["raise_torch_out_of_memory", "raise_out_of_memory_for_a_fork", "allocate_beyond_a_limit"]
)
def test_every_refusal_of_memory_is_out_of_memory(name):
    assert call(name).outcome is Outcome.OUT_OF_MEMORY


@pytest.mark.parametrize(("kills", "outcome"), [((3, 4), Outcome.OUT_OF_MEMORY), ((3, 3), Outcome.KILLED)])
def test_the_kernels_oom_kill_is_told_from_another_sigkill(monkeypatch, kills, outcome):
    readings = iter(kills)
    monkeypatch.setattr(processes, "oom_kills", lambda: next(readings))
    ending = call("kill")
    assert ending.outcome is outcome
    assert "SIGKILL" in ending.reason


def test_a_crash_is_no_oom_kill_whatever_the_counter_says(monkeypatch):
    readings = iter(range(9))
    monkeypatch.setattr(processes, "oom_kills", lambda: next(readings))
    assert call("segfault").outcome is Outcome.KILLED


def test_a_crash_leaves_where_it_was_in_the_output():
    assert "in segfault" in call("segfault").output_tail


def test_the_last_words_of_a_killed_process_are_kept():
    assert call("say_and_be_killed").output_tail == "the last words"


def test_an_error_class_the_parent_cannot_import_is_raised_as_ours():
    ending = call("raise_error_of_their_own")
    assert (type(ending.error), str(ending.error)) == (ModelError, "only they know this class")


def test_the_server_runs_nothing_and_knows_no_cuda():
    first = call("facts_at_start").value
    before, after = call("threads_after_an_operation").value
    assert after > before  # so an operation in the server would show
    second = call("facts_at_start").value
    assert second == first
    assert (first["own_threads"], first["cuda_initialised"], first["cuda_checked_by_nvml"]) == (1, False, "1")


def test_the_waiting_parent_does_not_spin():
    wall, own = time.perf_counter(), time.process_time()
    processes.call("time:sleep", 1.5)
    assert time.process_time() - own < 0.2 * (time.perf_counter() - wall)


@pytest.mark.parametrize("limit", [1e7, math.inf])
def test_a_limit_of_months_is_none(limit):
    assert call("answer", 3, timeout_seconds=limit).value == 3


def test_without_a_limit_of_its_own_a_call_ends_at_the_default(monkeypatch):
    monkeypatch.setattr(processes, "DEFAULT_TIMEOUT_SECONDS", 1.0)
    ending = call("hang")
    assert (ending.outcome, ending.reason) == (Outcome.TIMED_OUT, "took longer than 1 s")


@pytest.mark.parametrize(
    ("limits", "least"),
    [({}, 160.0), ({"timeout_seconds": 100.0}, 100.0), ({"timeout_seconds": 100.0, "is_renewed": True}, 160.0)],
    ids=["default", "typed", "typed and renewed"],
)
def test_a_limit_that_nobody_typed_is_renewed_by_what_is_expected(monkeypatch, limits, least):
    waited, wait = [], processes._wait_for_answer
    monkeypatch.setattr(processes, "DEFAULT_TIMEOUT_SECONDS", 100.0)
    monkeypatch.setattr(processes, "_wait_for_answer", lambda *given: waited.append(wait(*given)) or waited[-1])
    assert call("expect_and_sleep", 60, 0, **limits).value == "done"
    ((_, _, limit),) = waited
    assert limit == 100.0 if least == 100.0 else limit >= least


def test_a_typed_limit_ends_whatever_is_expected():
    ending = call("expect_and_sleep", 60, 3600, timeout_seconds=1.0)
    assert (ending.outcome, ending.reason) == (Outcome.TIMED_OUT, "took longer than 1 s")


def test_what_a_process_tells_reaches_who_listens_here():
    heard = []
    with listening(lambda *said: heard.append(said)):
        assert call("tell_and_answer").value == "done"
    assert heard == [("working", 1, 3)]


def test_a_renewed_limit_ends_too():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    end, alive = multiprocessing.Pipe(duplex=False)
    with receiver, sender, end, alive:
        sender.send((1.0,))  # what the process expects has been said, so no busy machine is too late with it
        answer, ready, limit = processes._wait_for_answer(receiver, end.fileno(), 0.2, 0.3)
    assert (answer, ready) == (None, [])
    assert limit >= 1.3


@pytest.fixture
def light_server(monkeypatch):
    """A server of the test's own, without torch: the one that is kept for all tests takes seconds to start again."""
    own = multiprocessing.forkserver.ForkServer()
    for name in ("ensure_running", "get_inherited_fds", "connect_to_new_process", "set_forkserver_preload"):
        monkeypatch.setattr(multiprocessing.forkserver, name, getattr(own, name))
    monkeypatch.setattr(multiprocessing.forkserver, "_forkserver", own)
    monkeypatch.setattr(processes, "_preloaded", ["tests.runner.faults"])
    yield
    own._stop()


def server_pid():
    call("answer", 1)
    return multiprocessing.forkserver._forkserver._forkserver_pid


@pytest.mark.usefixtures("light_server")
def test_calls_outlive_the_death_of_their_server_and_each_ends_once(tmp_path, capsys):
    server = server_pid()
    counts = [tmp_path / f"count{number}" for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(call, "note_and_answer_the_second_time", str(path)) for path in counts]
        wait_for(lambda: all(path.exists() and path.stat().st_size for path in counts))
        os.kill(server, signal.SIGKILL)
        endings = [found.result() for found in calls]
    assert [ending.value for ending in endings] == [2, 2]
    assert server_pid() != server
    assert "the server of fresh processes was killed" in capsys.readouterr().err


@pytest.mark.usefixtures("light_server")
def test_a_server_that_died_between_two_calls_is_replaced():
    os.kill(server_pid(), signal.SIGKILL)
    assert call("answer", 2).value == 2


@pytest.mark.usefixtures("light_server")
def test_a_server_whose_imports_never_end_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "never_loads.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "_preloaded", ["never_loads"])
    monkeypatch.setattr(processes, "START_SECONDS", 2.0)
    ending = call("answer", 1)
    assert ending.outcome is Outcome.TIMED_OUT
    assert ending.reason == "the server of fresh processes took longer than 2 s to import torch"


def test_a_child_that_ends_with_the_code_of_a_lost_one_is_not_called_again(tmp_path):
    ending = call("note_and_vanish", str(tmp_path / "count"))
    assert ending.outcome is Outcome.FAILED
    assert (tmp_path / "count").read_text() == "x"


def test_a_fresh_process_collects_garbage_though_its_server_does_not() -> None:
    assert processes.call("gc:isenabled").value is True
    assert processes.call("gc:get_freeze_count").value > 100_000, "what the server imported is no garbage"
