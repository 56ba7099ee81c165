"""Put this folder on PYTHONPATH, and Python finds nothing that only Linux has: neither here nor in child processes.

What libraries in C ask of the system still works; this shows that nothing of ours needs it. With `NO_LINUX_PSUTIL=1`
psutil may still read, as it knows its way about other systems.
"""

import ctypes
import errno
import multiprocessing.context
import multiprocessing.forkserver
import os
import select
import signal
import sys

_HIDDEN = ("/proc", "/sys")
_C = ("prctl", "mallopt", "malloc_trim", "mallinfo2", "gnu_get_libc_version")
_MISSING = {
    os: (
        "sched_getaffinity",
        "sched_setaffinity",
        "sched_getcpu",
        "pidfd_open",
        "memfd_create",
        "posix_fadvise",
        "posix_fallocate",
        "eventfd",
        "splice",
        "copy_file_range",
        "getrandom",
        "process_cpu_count",
    ),
    select: ("epoll",),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo"),
}


def _is_hidden(path: object) -> bool:
    text = os.fspath(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    text = os.fsdecode(text) if isinstance(text, bytes) else text
    return any(text == place or text.startswith(f"{place}/") for place in _HIDDEN)


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event not in ("open", "os.listdir", "os.scandir") or not arguments or not _is_hidden(arguments[0]):
        return
    if not (os.environ.get("NO_LINUX_PSUTIL") and "psutil" in sys._getframe(1).f_code.co_filename):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])


def _access(path, mode, **options):  # type: ignore[no-untyped-def]
    return not _is_hidden(path) and _os_access(path, mode, **options)


def _hide(function):  # type: ignore[no-untyped-def]
    def hidden(path, *arguments, **options):  # type: ignore[no-untyped-def]
        if _is_hidden(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return function(path, *arguments, **options)

    return hidden


def _lookup(library, name):  # type: ignore[no-untyped-def]
    if name in _C:
        raise AttributeError(f"no symbol {name}")
    return _getattr(library, name)


def _no_server(*_: object) -> None:
    raise ValueError("cannot find context for 'forkserver'")


for module, names in _MISSING.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in ("stat", "lstat", "readlink"):
    setattr(os, name, _hide(getattr(os, name)))
_os_access, os.access = os.access, _access
_getattr = ctypes.CDLL.__getattr__
ctypes.CDLL.__getattr__ = _lookup  # type: ignore[method-assign]
multiprocessing.context._concrete_contexts.pop("forkserver")
multiprocessing.context.DefaultContext.get_all_start_methods = lambda _: ["spawn", "fork"]  # type: ignore[method-assign]
multiprocessing.get_all_start_methods = lambda: ["spawn", "fork"]
multiprocessing.forkserver.ForkServer.ensure_running = _no_server  # type: ignore[method-assign]
sys.addaudithook(_audit)
