"""Find the lines that make the host wait for the device: `.item()`, `nonzero`, `.cpu()`.

On the CPU such a line costs nothing, and it is found all the same: on an accelerator it will stop the host until the
device has done everything that was queued. There, only what reads a tensor of the accelerator counts.
"""

from __future__ import annotations

import linecache
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import bench.core
from bench.core.profile import SyncPoint
from bench.core.record import Phase
from bench.counters.build import whole
from bench.counters.fakes import without_collector
from bench.counters.modes import OperationMode
from bench.counters.modules import ModuleTracker
from bench.counters.tensors import tensors_in
from bench.device import step as step_module
from bench.device.step import Step
from bench.measure.profile.work import Whereabouts, run_phases

READS = frozenset(
    {
        "_local_scalar_dense",  # .item(), bool(), float(), and an `if` on a tensor
        "nonzero",
        "masked_select",
        "equal",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "repeat_interleave",
    }
)
"""Operations whose result's shape or value the host must know before it can go on."""

_STEP_FILE = str(Path(step_module.__file__))
_BENCH, _MODELS = Path(bench.core.__file__).parents[1], Path(bench.core.__file__).parents[1] / "models"
_TORCH = Path(torch.__file__).parent
_OPTIMIZERS = _TORCH / "optim"
_LIBRARY = Path(linecache.__file__).parent


def find_syncs(step: Step) -> tuple[SyncPoint, ...]:
    """Run one step and find every operation that reads a value, with the user's line; most calls first.

    On the CPU, reads by torch itself are left out: its optimizers keep their step counters on the CPU everywhere.
    """
    tracker = ModuleTracker(whole(step.networks))
    whereabouts = Whereabouts(tracker)
    spotter = _Spotter(whereabouts)
    with without_collector(), tracker.track(), spotter:
        run_phases(step, whereabouts)
    return tuple(
        SyncPoint(
            operation=operation,
            phase=phase,
            layer=layer,
            calls=calls,
            file=file,
            line=line,
            code=linecache.getline(file, line).strip() or None if file and line else None,
        )
        for (operation, phase, layer, file, line), calls in spotter.found.most_common()
    )


class _Spotter(OperationMode):  # type: ignore[no-untyped-call]
    """Notes operations that read a value, while it is entered."""

    def __init__(self, whereabouts: Whereabouts) -> None:
        super().__init__()
        self.found: Counter[tuple[str, Phase | str, str, str | None, int | None]] = Counter()
        self._whereabouts = whereabouts

    def operate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs = func(*args, **kwargs)
        name = str(func.overloadpacket.__name__)
        sources = list(tensors_in((args, kwargs)))
        is_on_accelerator = any(tensor.device.type not in ("cpu", "meta") for tensor in sources)
        is_read = name in READS or (is_on_accelerator and _is_copy_to_host(name, args, kwargs, outputs))
        if is_read and sources:
            file, line = _user_line()
            all_on_cpu = not is_on_accelerator
            if file is not None or not all_on_cpu:
                layer = self._whereabouts.current_layer()
                self.found[f"{func.namespace}.{name}", self._whereabouts.phase, layer, file, line] += 1
        return outputs


def _is_copy_to_host(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> bool:
    """Whether an operation copies from the accelerator to the host and waits for it."""
    if (
        name not in ("_to_copy", "copy_")
        or kwargs.get("non_blocking")
        or (name == "copy_" and len(args) > 2 and args[2])
    ):
        return False
    return any(tensor.is_cpu for tensor in tensors_in(outputs))


def _user_line() -> tuple[str | None, int | None]:
    """Find the innermost line of the user's own code under way in this step; None where an optimizer of torch reads."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _STEP_FILE or Path(file).is_relative_to(_OPTIMIZERS):
            break
        if _is_users(file):
            return file, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None, None


def _is_users(file: str) -> bool:
    if file.startswith("<"):
        return False
    path = Path(file)
    if path.is_relative_to(_TORCH):
        return False
    if path.is_relative_to(_BENCH):
        return path.is_relative_to(_MODELS)
    return not path.is_relative_to(_LIBRARY) or "site-packages" in path.parts
