"""Measure whether preparing the data keeps up with the step.

Measures the loader alone, the step alone and both together, over workers, batch size, prefetching and pinning. Exit
code 5 if nothing could be measured.

Examples:
    bench pipeline my_net --workers 0,2,4
    bench pipeline mlp -b 64,256 --data mnist:data
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options
from bench.cli.output import answer, say
from bench.cli.train import plan_of
from bench.core.errors import ExitCode, UsageError
from bench.core.record import Outcome

if TYPE_CHECKING:
    from bench.core.training import PipelinePoint, TrainingPlan

PANEL = "Measure"


def command(
    model: Annotated[str, typer.Argument(help="A model of images, for example my_net or mlp.", show_default=False)],
    workers: Annotated[str, typer.Option(metavar="N,...", help="Processes that prepare batches.")] = "0,2",
    batch_size: Annotated[str, typer.Option("-b", "--batch-size", metavar="N,...", help="Examples per step.")] = "64",
    prefetch: Annotated[
        str, typer.Option(metavar="N,...", help="Batches that each worker prepares ahead; only with workers.")
    ] = "2",
    pin_memory: Annotated[
        str, typer.Option(metavar="off,on", help="Pinned memory, for copies to an accelerator.")
    ] = "off",
    data: options.DataOption = None,
    device: options.OneDeviceOption = None,
    precision: options.OnePrecisionOption = None,
    optimizer: options.OneOptimizerOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads inside an operation.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, order and augmentation.", show_default="0")
    ] = None,
    input_shape: options.TrainShapeOption = None,
    budget: Annotated[str, typer.Option(help="Time for each of loader, step and both together.")] = "2s",
    lock_clocks: options.LockClocksOption = False,
    timeout: options.SamplingLimitOption = None,
    dry_run: options.DryRunOption = False,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting
    from bench.runner.training import check_points, measure_points
    from bench.tables.training import pipeline_document, plan_name

    seconds = options.parse_duration(budget, "--budget")
    assert seconds is not None
    limit = options.parse_duration(timeout, "--timeout")
    typed: dict[str, Any] = {
        "data": data,
        "device": device,
        "precision": precision,
        "optimizer": optimizer,
        "threads": threads,
        "seed": seed,
        "input_shape": input_shape,
    }
    plans = _plans(model, typed, workers, batch_size, prefetch, pin_memory)
    options.refuse_without_gpu("--lock-clocks", lock_clocks, [plan.device for plan in plans])
    is_telling = not quiet and format is not options.Format.JSON
    if dry_run:
        with waiting("checking", is_quiet=not is_telling):
            plans = check_points(plans, limit)
        answer("pipeline", format, lambda: options.planned([plan_name(one) for one in plans], "point"), plans=plans)
        return ExitCode.FINE
    done = itertools.count(1)

    def tell(point: PipelinePoint) -> None:
        if is_telling:
            state = "" if point.outcome is Outcome.OK else f": {point.reason}"
            say(f"[{next(done)}/{len(plans)}] {plan_name(point.plan)}{state}", start="")

    with waiting(is_quiet=not is_telling):
        points = measure_points(plans, seconds, observer=tell, timeout_seconds=limit, locks_clocks=lock_clocks)
    answer("pipeline", format, lambda: pipeline_document(points), points=points)
    return ExitCode.FINE if any(point.outcome is Outcome.OK for point in points) else ExitCode.NOTHING


def _plans(
    model: str, typed: dict[str, Any], workers: str, batch_size: str, prefetch: str, pin_memory: str
) -> tuple[TrainingPlan, ...]:
    """Make one plan per combination; without workers nothing is prefetched, so those count once."""
    pins = options.split([pin_memory])
    if unknown := [text for text in pins if text not in ("on", "off")]:
        raise UsageError(f"--pin-memory takes off, on or both, separated by a comma; found {unknown[0]!r}")
    grid = itertools.product(_numbers(batch_size, "-b", 1), _numbers(workers, "--workers", 0), pins)
    plans = []
    for size, count, pin in grid:
        axes = {"batch_size": size, "workers": count, "pin_memory": True if pin == "on" else None}
        for ahead in _numbers(prefetch, "--prefetch", 1) if count else (None,):
            values = typed | axes | {"prefetch": ahead}
            plans.append(plan_of(model, {name: value for name, value in values.items() if value is not None}))
    return tuple(dict.fromkeys(plans))


def _numbers(text: str, option: str, least: int) -> list[int]:
    numbers = [int(part) if part.isascii() and part.isdigit() else -1 for part in options.split([text])]
    if min(numbers) < least:
        raise UsageError(f"{option} takes whole numbers from {least} on, separated by commas; found {text!r}")
    return numbers
