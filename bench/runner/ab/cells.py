"""Compare two cells of the code that lies here, two models or two settings: A stands for the base, B for the head.

Sessions, looks and verdicts are those of two commits. The two are no copies of each other, so the sign flips assume
that the session values lie symmetric about the true ratio, which two commits need not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.errors import NothingMeasuredError, UsageError
from bench.device.clocks import locked_environments
from bench.runner.ab.ratios import environment_here, measure_pairs
from bench.runner.ab.run import Compared, to_document, write_session
from bench.runner.ab.sides import Side
from bench.runner.ab.stages import Progress, Settings
from bench.runner.records import open_run
from bench.runner.session import plan_targets
from bench.store.atomic import make_folder
from bench.store.stored import COMPARISON_FILE
from bench.suite.axes import axes_of
from bench.suite.sweep import RUN_ONLY, cell_of, refuse_idle


def cells_of(model_a: str | None, model_b: str | None, axes: Mapping[str, Any], set_b: str | None) -> tuple[Cell, Cell]:
    """Make the two cells.

    Args:
        model_a: Model of A; `model_b` is the same if not given.
        model_b: Model of B.
        axes: Axes of both.
        set_b: What is different in B: `precision=bf16-amp,compile=default`.

    Raises:
        UsageError: One of them makes no sense, is more than one cell, or both are the same.
    """
    if model_a is None:
        raise UsageError("--model-b and --set-b need --model-a; write for example --model-a my_net --model-b mlp")
    first = plan_targets([model_a], {"batch_size": (8,), **axes}).cells
    if len(first) != 1:
        raise UsageError(f"--model-a {model_a!r} is {len(first)} cells with these options; give each axis one value")
    changed: dict[str, Any] = {} if model_b is None else {"model": model_b}
    settings: dict[str, tuple[Any, ...]] = {}
    for part in filter(None, (set_b or "").split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--set-b {part!r} is no setting; write for example precision=bf16-amp,compile=default")
        read = axes_of(**{name.strip().replace("-", "_"): value})
        if refused := set(read) & set(RUN_ONLY):
            raise UsageError(f"--set-b {part!r}: both sides are one process of one seed; leave {min(refused)} out")
        changed |= {axis: only for axis, (only,) in read.items()}
        settings |= read
    second = cell_of({name: getattr(first[0], name) for name in first[0].__slots__} | changed)
    refuse_idle(settings, lambda: [second])
    if second == first[0]:
        raise UsageError(f"A and B are both {second.id}; give --model-b or --set-b something that differs")
    if second.device != first[0].device:
        raise UsageError("A and B must run on one device; give it with -d")
    return first[0], second


def compare_cells(
    a: Cell, b: Cell, settings: Settings, results: Path, listen: Callable[[Progress], None] = lambda _: None
) -> Compared:
    """Compare two cells; the shift is log(B / A), per example where their batch sizes differ.

    Raises:
        NothingMeasuredError: One of them fails.
        BenchError: No worker can be started, or the device is not there.
    """
    with locked_environments({a.device: environment_here(a.device)}, is_asked=settings.lock_clocks) as environments:
        return _compare(a, b, settings, results, listen, environments[a.device])


def _compare(
    a: Cell, b: Cell, settings: Settings, results: Path, listen: Callable[[Progress], None], environment: Environment
) -> Compared:
    started = time.monotonic()
    pair = replace(b, model=f"{b.id} : {a.id}")
    offset = math.log(b.batch_size / a.batch_size)
    here = Path.cwd()
    base, head = (Side(name=name, given=cell.id, folder=here, root=here) for name, cell in (("base", a), ("head", b)))
    plan = {"kind": "ab", "a": a.id, "b": b.id}
    folder = open_run(results, environment=environment, cells=(a, b), settings=plan)
    make_folder(folder.path / "sessions")

    def on_progress(progress: Progress) -> None:
        write_session(folder.path / "sessions", progress.session)
        listen(progress)

    judged = measure_pairs({pair: (a, b)}, settings, device=a.device, listen=on_progress, offsets={pair.key: offset})
    (comparison,) = judged.comparisons
    facts = dict(comparison.facts)
    if "error" in facts:
        raise NothingMeasuredError(
            f"{'A' if facts.get('side') == 'base' else 'B'} cannot be measured: {facts['error']}"
        )
    compared = Compared(
        folder=folder.path,
        base=base,
        head=head,
        comparisons=(replace(comparison, cell_id=f"{b.id} : {a.id}"),),
        sessions=judged.sessions,
        environment=environment,
        differing=(),
        unfit=judged.unfit,
        is_cut_short=judged.is_cut_short,
        seed=settings.seed,
        seconds=time.monotonic() - started,
        notes=("the change is per example: the batch sizes differ",) if offset else (),
    )
    document = json.dumps(to_document(compared, settings), indent=1, allow_nan=False)
    folder.write_text(COMPARISON_FILE, document + "\n")
    return compared
