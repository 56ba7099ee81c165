"""Functions for a fresh process to run: each ends it in its own way."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path


def answer(value):
    return value


def raise_error(text):
    raise ValueError(text)


def raise_bench_error():
    from bench.core.errors import ModelError

    raise ModelError("no such layer")


def leave():
    sys.exit(3)


def vanish():
    os._exit(7)


def segfault():
    ctypes.string_at(0)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(3600)


def print_much():
    print("x" * 5_000_000)
    print("the last words")
    raise RuntimeError("after a lot of text")


def allocate_too_much():
    import torch

    torch.empty(1 << 60, dtype=torch.uint8)


def leave_a_thread():
    import threading

    threading.Thread(target=hang).start()
    return "answered"


def fork_a_child():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "still here"


def parent_pid():
    return os.getppid()


def sleep_as(path):
    with open(path, "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    hang()


def facts_at_start():
    """What a fresh process inherits of its server: its threads, CUDA's state, the server's threads."""
    import torch

    server = f"/proc/{os.getppid()}/status"
    return {
        "server": os.getppid(),
        "own_threads": len(os.listdir("/proc/self/task")),  # noqa: PTH208
        "server_threads": next(int(line.split()[1]) for line in open(server) if line.startswith("Threads:")),  # noqa: PTH123
        "cuda_initialised": torch.cuda.is_initialized(),
        "cuda_checked_by_nvml": os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"),
    }


def threads_after_an_operation():
    """What the server's threads would be, had it run an operation itself."""
    import torch

    before = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    torch.set_num_threads(2)
    torch.ones(512, 512) @ torch.ones(512, 512)
    torch.ones(1 << 20).sum()
    return before, len(os.listdir("/proc/self/task"))  # noqa: PTH208


def fork_and_wait_as(path, ending):
    """Fork a process that would sleep for an hour, write its number, then end in the way that is asked for."""
    pid = os.fork()
    if pid == 0:
        hang()
    with open(path, "w") as file:  # noqa: PTH123
        file.write(str(pid))
    return {"answer": int, "hang": hang, "kill": kill, "raise": leave}[ending]()


def fork_and_come_back():
    """Both processes return from here, as from a model that forgot which one it is."""
    os.fork()
    return os.getppid()


def read_stdin():
    return sys.stdin.read(), os.read(0, 100)


def ask():
    input("how large? ")


def close_output():
    sys.stdout.close()
    sys.stderr.close()
    raise RuntimeError("nobody hears this")


def close_descriptors(is_going_on):
    os.closerange(0, 1024)
    if is_going_on:
        hang()
    raise RuntimeError("nobody can be told")


def raise_interrupt():
    raise KeyboardInterrupt


def raise_torch_out_of_memory():
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def raise_out_of_memory_for_a_fork():
    raise OSError(12, "Cannot allocate memory")


def allocate_beyond_a_limit():
    """Ask for more than this process may have: the allocator of the C library refuses, as on a machine that is full."""
    import resource

    import torch

    with open("/proc/self/statm") as file:  # noqa: PTH123
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20),) * 2)
    torch.empty(1 << 30, dtype=torch.uint8)


def raise_error_of_their_own():
    from bench.core.errors import BenchError

    class TheirError(BenchError):
        pass

    raise TheirError("only they know this class")


def say_and_be_killed():
    print("the last words")
    kill()


def fork_and_leave_it():
    if os.fork() == 0:
        hang()


def move_away():
    sys.stdin.read()
    os.chdir("/")
    os.environ["STEPBENCH_MOVED"] = "1"
    sys.path.clear()


def fill_memory():
    """Touch one page after the other until somebody stops it."""
    held = []
    while True:
        held.append(bytearray(b"x") * (4 << 20))


def note_and_answer_the_second_time(path):
    """Hang the first time that it is called with a path, and say the second time which time it is."""
    with Path(path).open("a") as file:
        file.write("x")
    times = Path(path).stat().st_size
    if times == 1:
        hang()
    return times


def note_and_vanish(path):
    with Path(path).open("a") as file:
        file.write("x")
    os._exit(255)


def expect_and_sleep(expected, seconds):
    """Say what the work is expected to take, and take some time."""
    from bench.core.progress import expect

    expect(expected)
    time.sleep(seconds)
    return "done"


def tell_and_answer():
    from bench.core.progress import tell

    tell("working", 1, 3)
    return "done"


def expect_and_wait():
    expect_and_sleep(60, 12)


def expect_and_wait_longer():
    expect_and_sleep(120, 25)


def nap():
    time.sleep(0.6)
