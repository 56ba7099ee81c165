"""stepbench: what a deep-learning model costs, and which of those numbers you may believe.

    import bench

    records = bench.run(models=["my_net"], batch_size=[8, 32], precision=["fp32", "bf16-amp"])
    frame = bench.to_frame(records)

Importing this package is cheap: torch and pandas are imported when a function first needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from bench.core.cell import Cell
    from bench.core.record import Outcome, Phase, Record
    from bench.core.workload import Workload

__all__ = ["Cell", "Outcome", "Phase", "Record", "Workload", "__version__", "run", "to_frame"]

_HOMES = {"Cell": "cell", "Outcome": "record", "Phase": "record", "Record": "record", "Workload": "workload"}


def __getattr__(name: str) -> Any:
    # Every command imports this package, and these values take a third of the time of `bench --help`.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"bench.core.{_HOMES[name]}"), name)


def run(
    models: str | Sequence[str],
    *,
    mode: str | Sequence[str] = "train",
    batch_size: int | Sequence[int] = 8,
    device: str | Sequence[str] = "cpu",
    precision: str | Sequence[str] = "fp32",
    optimizer: str | Sequence[str] | None = None,
    compile: str | Sequence[str] = "none",  # noqa: A002 - the field's word
    memory_format: str | Sequence[str] = "contiguous",
    input_shape: Sequence[int] | str | None = None,
    input: Sequence[str] | str | None = None,  # noqa: A002 - as the option
    threads: int | Sequence[int] | None = None,
    world_size: int | Sequence[int] = 1,
    parallel: str | Sequence[str] = "ddp",
    seed: int | Sequence[int] = 0,
    accumulate: int | Sequence[int] = 1,
    clip_norm: float | Sequence[float] | None = None,
    target: float = 0.02,
    budget_seconds: float = 1.0,
    processes: int = 1,
    timeout_seconds: float | None = None,
    executor: str = "forkserver",
    results: str | Path = "results",
) -> tuple[Record, ...]:
    """Measure every combination of the given values, each cell in a fresh process, and store the run.

    Args:
        models: Model specs: `my_net`, `mlp@width=512`, `torchvision:resnet18`, `package.module:callable`,
            `path/file.py:callable`.
        mode: `train` or `infer`.
        batch_size: Examples per step, of each process.
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        precision: `fp32`, `tf32`, `bf16-amp`, `fp16-amp` or `bf16`; what a device cannot do becomes a SKIPPED record.
        optimizer: A name instead of the model's own: `sgd`, `adam`, `adamw`, `rmsprop`, with `-fused` or `-foreach`.
        compile: `none`, `default`, `reduce-overhead` or `max-autotune`.
        memory_format: `contiguous` or `channels_last`.
        input_shape: One example for a bare `nn.Module`, `(3, 224, 224)`.
        input: Every input of a bare `nn.Module`, instead: `["3x224x224", "ids:int64:128:0..30522"]`; those with a name
            are keywords.
        threads: Threads inside an operation, of each process; None leaves torch's choice, shared out among processes.
        world_size: Processes that train together, each on a batch of its own.
        parallel: How several processes do: `ddp` or `fsdp2`.
        seed: Seeds weights and data.
        accumulate: Batches whose gradients add up before an update.
        clip_norm: Largest norm of all gradients together; None clips nothing.
        target: Stop when the 95 % interval of the median step is within this fraction of it.
        budget_seconds: Longest sampling per cell, without the warm-up.
        processes: Fresh processes per cell; 3 for intervals that include the spread between processes.
        timeout_seconds: Kill a process after this long; the cell becomes a TIMED_OUT record.
        executor: `forkserver`, `spawn` or `inline`.
        results: Folder under which the run's folder is made.

    Returns:
        One record per cell, in the order of the sweep; also those that were skipped or failed.

    Raises:
        BenchError: A model, a device or a value is not there, or the folder cannot be written; nothing was measured.
    """
    from dataclasses import replace

    from bench.runner.session import Session, execute
    from bench.suite.axes import sampling_of, sweep_of

    axes: dict[str, Any] = {
        "mode": mode,
        "batch_size": batch_size,
        "device": device,
        "precision": precision,
        "optimizer": optimizer,
        "compile": compile,
        "memory_format": memory_format,
        "input_shape": input_shape,
        "input": input,
        "threads": threads,
        "world_size": world_size,
        "parallel": parallel,
        "seed": seed,
        "accumulate": accumulate,
        "clip_norm": clip_norm,
    }
    sweep = sweep_of(models=models, **{name: value for name, value in axes.items() if value is not None})
    session = Session(sweeps=(sweep,))
    sampling = sampling_of(session.sampling, target=target, budget_seconds=budget_seconds, processes=processes)
    finished = execute(
        replace(session, sampling=sampling), results=Path(results), timeout_seconds=timeout_seconds, method=executor
    )
    return finished.records


def to_frame(records: Sequence[Record], table: str = "cells") -> pd.DataFrame:
    """Make a pandas table of records, tidy, with units in the column names (`results/README.md` names them).

    Args:
        records: From `run`, or read from a results folder.
        table: `cells`, one row per record; `phases`, per cell, phase and process; `layers`, per cell and layer.
    """
    from bench.report.files import to_frame as make

    return make(records, table)
