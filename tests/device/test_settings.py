"""A cell's global switches are set inside the block, and as before after it, whatever happens."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from bench.core.cell import Cell, Precision
from bench.device.settings import cell_settings, changed_settings, read_settings


def fp32_precisions() -> tuple[str, ...]:
    return (
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cudnn.rnn.fp32_precision,
    )


@contextlib.contextmanager
def other_settings():
    """Set every switch to what no cell sets, so that restoring a default would show."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend, value in zip(backends, ("tf32", "ieee", "tf32"), strict=True):
            backend.fp32_precision = value
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


@pytest.mark.parametrize("precision", Precision)
def test_tf32_is_on_for_tf32_only_and_restored(precision: Precision, cell: Cell) -> None:
    with other_settings():
        before = fp32_precisions()
        with cell_settings(replace(cell, precision=precision)):
            assert set(fp32_precisions()) == {"tf32" if precision is Precision.TF32 else "ieee"}
        assert fp32_precisions() == before == ("tf32", "ieee", "tf32")


def test_bf16_that_a_models_file_allows_in_fp32_does_not_reach_a_cell(cell: Cell) -> None:
    backends = (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "bf16"  # as torch.set_float32_matmul_precision("medium") does for products
        for precision in Precision:
            with cell_settings(replace(cell, precision=precision)):
                assert {backend.fp32_precision for backend in backends} == {"ieee"}
            assert {backend.fp32_precision for backend in backends} == {"bf16"}
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def test_everything_is_restored_when_the_block_raises(cell: Cell, random_state: None) -> None:
    threads = torch.get_num_threads()
    with other_settings():
        with pytest.raises(ZeroDivisionError), cell_settings(replace(cell, threads=threads + 1, seed=3)):
            assert torch.get_num_threads() == threads + 1
            torch.rand(3)
            1 / 0  # noqa: B018
        assert fp32_precisions() == ("tf32", "ieee", "tf32")
    assert torch.get_num_threads() == threads


def test_threads_are_left_alone_unless_the_cell_asks(cell: Cell) -> None:
    threads = torch.get_num_threads()
    with cell_settings(cell):
        assert torch.get_num_threads() == threads


def test_the_seed_decides_the_random_numbers(cell: Cell, random_state: None) -> None:
    def draw(seed: int) -> torch.Tensor:
        with cell_settings(replace(cell, seed=seed)):
            return torch.rand(4)

    assert torch.equal(draw(5), draw(5))
    assert not torch.equal(draw(5), draw(6))
    expected = torch.rand(4, generator=torch.Generator().manual_seed(5))
    assert torch.equal(draw(5), expected)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.TF32])
def test_a_model_may_read_the_old_switches_and_the_new_ones(precision: Precision, cell: Cell) -> None:
    is_tf32, before = precision is Precision.TF32, read_settings()
    with cell_settings(replace(cell, precision=precision)):
        assert torch.backends.cudnn.allow_tf32 is is_tf32
        assert torch.backends.cuda.matmul.allow_tf32 is is_tf32
        assert torch.get_float32_matmul_precision() == ("high" if is_tf32 else "highest")
        assert set(fp32_precisions()) == {"tf32" if is_tf32 else "ieee"}
        with torch.backends.cudnn.flags(enabled=False, allow_tf32=is_tf32):
            pass
        assert changed_settings(replace(cell, precision=precision), before) == {}


_IN_NGC = """
import torch
from bench.core.cell import Cell, Precision
from bench.device.settings import cell_settings

def read():
    return torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()

before = read()
with cell_settings(Cell(model="m", batch_size=1, precision=Precision.FP32)):
    print(*read(), torch.backends.cuda.matmul.fp32_precision)
assert read() == before
"""


def test_a_variable_that_allows_tf32_does_not_part_the_switches_of_fp32() -> None:
    """NVIDIA's containers set it: torch then begins with tf32, and reading both kinds of switches raised (B1)."""
    environment = {**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _IN_NGC], env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stdout.split() == ["False", "highest", "ieee"], done.stderr


def test_what_a_model_changes_is_named_and_put_back(cell: Cell) -> None:
    before = read_settings()
    with cell_settings(cell):
        assert changed_settings(cell, before) == {}
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        torch.backends.cudnn.benchmark = True
        changed = changed_settings(cell, before)
    assert set(changed) == {"threads", "default_dtype", "cudnn.benchmark"}
    assert changed["default_dtype"] == ("float32", "float64")
    assert read_settings() == before


def test_threads_that_the_cell_asks_for_are_no_change(cell: Cell) -> None:
    before = read_settings()
    asked = replace(cell, threads=torch.get_num_threads() + 1)
    with cell_settings(asked):
        assert changed_settings(asked, before) == {}
        torch.set_num_threads(1)
        assert changed_settings(asked, before)["threads"] == (str(asked.threads), "1")
