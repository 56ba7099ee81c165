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

from bench.core import __version__

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
    target: float = 0.02,
    budget_seconds: float = 1.0,
    processes: int = 1,
    timeout_seconds: float | None = None,
    executor: str = "forkserver",
    results: str | Path = "results",
    progress: bool = False,
    **axes: Any,
) -> tuple[Record, ...]:
    """Measure every combination of the given values, each cell in a fresh process, and store the run.

    Args:
        models: Model specs: `my_net`, `mlp@width=512`, `torchvision:resnet18`, `package.module:callable`,
            `path/file.py:callable`.
        target: Stop when the 95 % interval of the median step is within this fraction of it.
        budget_seconds: Time to sample each cell, without the warm-up; 20 steps are taken in any case, or as many as fit
            into 20 s.
        processes: Fresh processes per cell; 3 for intervals that include the spread between processes.
        timeout_seconds: Kill a process after this long; the cell becomes a TIMED_OUT record. None is ten minutes beyond
            the budget, more for long steps.
        executor: `forkserver`, `spawn` or `inline`.
        results: Folder under which the run's folder is made.
        progress: Show on stderr what `bench run` shows there: each cell as it ends, and the time left.
        axes: Every other field of `bench.Cell`, by its name: a value or a list, None for its default. Each takes what
            `bench run --help` says of the option of that name; what a device cannot do becomes a SKIPPED record.

    Returns:
        One record per cell, in the order of the sweep; also those that were skipped or failed.

    Raises:
        BenchError: A model, a device or a value is not there, or the folder cannot be written; nothing was measured.
    """
    import contextlib
    from dataclasses import replace

    from bench.runner.session import Session, execute
    from bench.suite.axes import sampling_of
    from bench.suite.sweep import sweep_of

    sweep = sweep_of(models=models, **axes)
    session = Session(sweeps=(sweep,))
    sampling = sampling_of(session.sampling, target=target, budget_seconds=budget_seconds, processes=processes)
    with contextlib.ExitStack() as stack:
        observers: list[Any] = []
        if progress:
            from bench.cli.progress import make_observer, watched

            observers.append(stack.enter_context(watched(make_observer(), is_quiet=False)))
        finished = execute(
            replace(session, sampling=sampling),
            results=Path(results),
            timeout_seconds=timeout_seconds,
            method=executor,
            observers=tuple(observers),
        )
    return finished.records


def to_frame(records: Sequence[Record], table: str = "cells") -> pd.DataFrame:
    """Make a pandas table of records, tidy, with units in the column names (`results/README.md` names them).

    Args:
        records: Records from `run`, or read from a results folder.
        table: `cells`, one row per record; `phases`, per cell, phase and process; `layers`, per cell and layer;
            `scaling`, per group of cells that differ in one size.
    """
    from bench.report.files import to_frame as make

    return make(records, table)
