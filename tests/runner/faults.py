"""Functions for a fresh process to run: each ends it in its own way."""

import ctypes
import os
import signal
import sys
import time


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
