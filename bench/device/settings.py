"""Torch's global switches: set for one cell and restored afterwards whatever happens; read to see what really held."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import _disable_current_modes

from bench.core.cell import Cell
from bench.core.precision import Arithmetic
from bench.device.backend import backend_of

_TF32_BACKENDS: dict[str, Any] = {
    "cuda.matmul": torch.backends.cuda.matmul,
    "cudnn.conv": torch.backends.cudnn.conv,  # type: ignore[attr-defined]
    "cudnn.rnn": torch.backends.cudnn.rnn,
}
_IEEE_BACKENDS: dict[str, Any] = {
    "mkldnn.matmul": torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
    "mkldnn.conv": torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
    "mkldnn.rnn": torch.backends.mkldnn.rnn,  # type: ignore[attr-defined]
}
_BACKENDS = _TF32_BACKENDS | _IEEE_BACKENDS


def read_flags() -> dict[str, str]:
    """Read the switches that a whole run shares, by name; they are part of the environment."""
    return {
        "cudnn.benchmark": str(torch.backends.cudnn.benchmark),
        "cudnn.deterministic": str(torch.backends.cudnn.deterministic),
        "cudnn.enabled": str(torch.backends.cudnn.enabled),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "mkldnn.enabled": str(torch.backends.mkldnn.enabled),
    }


def read_settings() -> dict[str, str]:
    """Read every switch that decides how a step is computed, by name."""
    return {
        "threads": str(torch.get_num_threads()),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        **read_flags(),
        **{f"{name}.fp32_precision": _precision(backend) for name, backend in _BACKENDS.items()},
    }


def _precision(backend: Any) -> str:
    """Read a newer switch; `none`, which torch's `cudnn.flags()` leaves behind, computes as `ieee` does."""
    found: str = backend.fp32_precision
    return "ieee" if found == "none" else found


def changed_settings(cell: Cell, before: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Compare what holds now with what should: the settings before the model was imported, and what the cell asks.

    Call it inside `cell_settings`.

    Returns:
        By name, what should hold and what holds, where they differ.
    """
    asked = dict(before) | {f"{name}.fp32_precision": value for name, value in _fp32_precisions(cell).items()}
    if cell.threads is not None:
        asked["threads"] = str(cell.threads)
    held = read_settings()
    return {name: (value, held[name]) for name, value in asked.items() if held[name] != value}


def seed_all(seed: int) -> None:
    """Seed torch, Python's `random` and numpy: a model or a batch may draw from any of them."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def generator_states(seed: int | None = None) -> tuple[object, ...]:
    """Return the states of Python's, numpy's and torch's CPU generators; seeded before if a seed is given."""
    if seed is not None:
        seed_all(seed)
    numpy = np.random.get_state(legacy=False)
    parts = (random.getstate(), (numpy["state"]["pos"], numpy["state"]["key"].tobytes()))
    with _disable_current_modes():  # a fake state says nothing
        return (*parts, torch.get_rng_state().numpy().tobytes())


@contextlib.contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Seed all generators, and put their states back on leaving: torch's (CPU and device), Python's, numpy's."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]), _random_state(device):
        try:
            seed_all(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextlib.contextmanager
def cell_settings(cell: Cell) -> Iterator[None]:
    """Set seed, threads and float32 precision as the cell asks, and put everything back on leaving.

    Sets the random state of torch (CPU and the cell's accelerator), of Python's `random` and of numpy,
    `torch.set_num_threads`, and the fp32 precision of matrix products, convolutions and recurrent layers: on CUDA
    `tf32` for that arithmetic and `ieee` for all others; on the CPU always `ieee`, because a model's file may have
    called `torch.set_float32_matmul_precision("medium")`, which lets oneDNN compute fp32 in bf16. The older switches
    (`allow_tf32`) say the same, so that a model may read either. What a model changes itself (threads, default dtype,
    flags of cuDNN, determinism) is put back too.
    """
    with seeded(cell.seed, cell.device), _restored():
        if cell.threads is not None:
            torch.set_num_threads(cell.threads)
        _set_fp32_precisions(_fp32_precisions(cell), is_tf32=cell.precision.row.arithmetic is Arithmetic.TF32)
        yield


def _fp32_precisions(cell: Cell) -> dict[str, str]:
    is_tf32 = cell.precision.row.arithmetic is Arithmetic.TF32
    return {name: "tf32" if is_tf32 and name in _TF32_BACKENDS else "ieee" for name in _BACKENDS}


def _set_fp32_precisions(precisions: Mapping[str, str], *, is_tf32: bool) -> None:
    # The older switches first: setting one also sets the newer ones, and reading one raises where the two disagree.
    torch._C._set_cudnn_allow_tf32(is_tf32)
    torch._C._set_cublas_allow_tf32(is_tf32)
    for name, precision in precisions.items():
        _BACKENDS[name].fp32_precision = precision


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    matmul, cudnn = _old(torch.get_float32_matmul_precision), _old(torch._C._get_cudnn_allow_tf32)
    precisions = {name: backend.fp32_precision for name, backend in _BACKENDS.items()}
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    backend = torch.backends.cudnn
    flags = backend.enabled, backend.benchmark, backend.deterministic
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(is_deterministic, warn_only=warns)
        backend.enabled, backend.benchmark, backend.deterministic = flags
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if cudnn is not None:
            torch._C._set_cudnn_allow_tf32(cudnn)
        for name, precision in precisions.items():
            _BACKENDS[name].fp32_precision = precision


def _old(read: Callable[[], Any]) -> Any | None:
    """Read an older switch; None if somebody set only the newer one, so that torch refuses to say."""
    try:
        return read()
    except RuntimeError:
        return None


@contextlib.contextmanager
def _random_state(device: str) -> Iterator[None]:
    backend = backend_of(device)
    state = backend.random_state()
    try:
        yield
    finally:
        if state is not None:
            backend.set_random_state(state)
