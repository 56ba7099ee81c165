"""Shared by generating and sampling: warm up, repeat until known, count what is no module, find a cache's tensors.

Between a loader's batches and a step: what the model takes, and how it gets it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.errors import UsageError
from bench.core.progress import expect
from bench.core.record import Sampling
from bench.core.training import TrainingPlan
from bench.core.units import counted
from bench.counters.flops import count_module
from bench.device.backend import is_accelerator
from bench.device.step import NOTHING, LongStep, OwnStep, Step
from bench.measure.blocks import ACCELERATOR_WARMUP_SECONDS, without_garbage_collection
from bench.measure.profile.collect import recorded_calls, write_recording
from bench.measure.profile.spans import layer_marks
from bench.stats.stopping import FEWEST_STEPS, StopRule

MIN_WARMUPS = 2


def repeat(
    run: Callable[[], float],
    warm_up: Callable[[], object],
    device: str,
    sampling: Sampling,
    parts: Callable[[], Sequence[float]] | None = None,
    window: contextlib.AbstractContextManager[object] = NOTHING,
) -> tuple[int, bool]:
    """Warm up, then run again and again until the median of what `run` returns is known, or the budget ends.

    Synchronises only where `run` does. The garbage collector is off meanwhile.

    Args:
        run: Measures once and returns the whole's seconds; it keeps what else it finds.
        warm_up: Does the same work, or its beginning.
        device: An accelerator is warmed up for a second at least.
        sampling: When to stop.
        parts: Gives the values whose tail is asked for, of all runs so far.
        window: Entered after the warm-up.

    Returns:
        Warm-ups made, and whether the target was reached.
    """
    least_seconds = ACCELERATOR_WARMUP_SECONDS if is_accelerator(device) else 0.0
    rule = StopRule(sampling, parts)
    with without_garbage_collection():
        for _ in range(MIN_WARMUPS):
            warm_up()
        started, warmups = time.perf_counter(), MIN_WARMUPS  # an accelerator idles while the first ones load libraries
        while time.perf_counter() - started < least_seconds:
            warm_up()
            warmups += 1
        with window:
            while not rule.is_finished:
                seconds = run()
                if rule.steps == 0:  # a process is not ended because its runs are long
                    expect(2 * FEWEST_STEPS * seconds)
                rule.add(seconds)
    return warmups, bool(rule.is_converged)


def trace_calls(call: Callable[[], object], model: nn.Module, case_id: str, device: str, path: Path, unit: str) -> str:
    """Trace a few calls into a file, with a mark around each and around every module; return what it holds in words.

    One call is named `unit`, as `generation`.
    """

    def marked() -> None:
        with torch.profiler.record_function(f"bench.{unit}"):
            call()

    for _ in range(MIN_WARMUPS):
        call()
    with layer_marks(model):
        return write_recording(lambda count: recorded_calls(marked, device, count), case_id, path, unit=unit)


class _Call(nn.Module):
    """A function of a model as a module, so that the counters take it."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(self.model, *inputs)


def count_call(model: nn.Module, function: Callable[..., Any], *inputs: Any) -> int | None:
    """Count the FLOPs of `function(model, *inputs)`, without gradients."""
    with torch.inference_mode():
        return count_module(_Call(model, function), inputs).flops.forward


def weights_met(model: nn.Module) -> int:
    """Count the parameters that a token meets: all but embeddings that are only looked up, not shared with a head."""
    owners: dict[int, set[type]] = {}
    sizes: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(type(module))
            sizes[id(parameter)] = parameter.numel()
    return sum(size for key, size in sizes.items() if owners[key] != {nn.Embedding})


def held_bytes(value: Any) -> int:
    """Add up the storages of all tensors in a value, each once: in tuples, lists, mappings and objects' attributes."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, tuple | list):
            waiting += item
        elif id(item) not in seen and getattr(item, "__dict__", None) and not isinstance(item, type | nn.Module):
            seen.add(id(item))  # a cache may hold itself
            waiting += vars(item).values()
    return sum(storages.values())


def input_shape(step: Step, model: str) -> tuple[int, ...]:
    """Read the shape of one example off the step's own batch.

    Raises:
        UsageError: The model does not take one tensor of real numbers, or its step is not the four plain phases.
    """
    if isinstance(step, LongStep | OwnStep):
        raise UsageError(
            f"model {model!r} has a training step of its own or an optimizer with a closure (LBFGS), which trainings "
            "and pipelines do not run; `bench run` measures it"
        )
    inputs = step.batch[0]
    if isinstance(inputs, Mapping):
        raise UsageError(
            f"model {model!r} takes inputs by keyword ({', '.join(inputs)}), and digits are one image of real numbers; "
            "train for example my_net, walkthrough_cnn or mlp"
        )
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not inputs[0].is_floating_point():
        found = ", ".join(f"{x.dtype}".removeprefix("torch.") if isinstance(x, Tensor) else "?" for x in inputs)
        raise UsageError(
            f"model {model!r} takes {counted(len(inputs), 'input')} ({found}), and digits are one "
            "image of real numbers; train for example my_net, walkthrough_cnn or mlp"
        )
    return tuple(inputs[0].shape[1:])


def feed(step: Step, images: Tensor, labels: Tensor, plan: TrainingPlan) -> None:
    """Copy a batch to the step's device, in the type of its inputs; from pinned memory without waiting."""
    dtype = step.batch[0][0].dtype
    step.batch = (
        (images.to(plan.device, dtype, non_blocking=plan.pin_memory),),
        labels.to(plan.device, torch.int64, non_blocking=plan.pin_memory),
    )
