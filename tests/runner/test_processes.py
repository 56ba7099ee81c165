import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.core.errors import ModelError
from bench.core.record import Outcome
from bench.runner import processes


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
    assert len(tail) <= processes.OUTPUT_TAIL_BYTES
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
        "print(processes.call('os:getpid').value != os.getpid())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["started", "True"]


def test_no_child_outlives_a_killed_parent(tmp_path):
    pid_file = tmp_path / "pid"
    code = f"from bench.runner import processes; processes.call('tests.runner.faults:sleep_as', {str(pid_file)!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    child = int(_wait_for(lambda: pid_file.exists() and pid_file.read_text()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait_for(lambda: not Path(f"/proc/{child}").exists())


def _wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")
