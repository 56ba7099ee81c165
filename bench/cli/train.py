"""Train a model on digits and measure what it costs.

Uses the recipe of the seed page by default. Shows time per epoch by part, loss and accuracy, classification report and
confusion matrix. Exit code 5 if the training failed.

Examples:
    bench train my_net --epochs 2 --limit-examples 2000
    bench train --resume latest
"""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options
from bench.cli.output import answer, results_place, say
from bench.core.errors import ExitCode, UsageError
from bench.core.inputs import only_shape, read_input_shape
from bench.core.record import Outcome
from bench.device.backend import CPU, is_accelerator
from bench.suite.axes import AXES

if TYPE_CHECKING:
    from types import FrameType

    from bench.core.training import TrainingPlan
    from bench.runner.training import Stop

PANEL = "Measure"

OWN = "own"
"""The model's own optimizer, with its own learning rate and weight decay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The options that make a plan, each None or off unless typed; a training that is resumed has its own."""

    data: options.DataOption = None
    download: Annotated[bool, typer.Option("--download", help="Let torchvision download MNIST if it is missing.")] = (
        False
    )
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training set.", show_default="5")] = None
    batch_size: Annotated[
        int | None, typer.Option("-b", "--batch-size", min=1, help="Examples per step.", show_default="64")
    ] = None
    test_batch_size: Annotated[
        int | None,
        typer.Option("--test-batch", min=1, help="Examples per batch of the evaluation.", show_default="256"),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that prepare batches; 0 is the training process.", show_default="0"),
    ] = None
    prefetch: Annotated[int | None, typer.Option(min=1, help="Batches that each worker prepares ahead.")] = None
    pin_memory: Annotated[
        bool, typer.Option("--pin-memory", help="Prepare batches in pinned memory, for copies to an accelerator.")
    ] = False
    device: options.OneDeviceOption = None
    precision: options.OnePrecisionOption = None
    optimizer: options.OneOptimizerOption = None
    learning_rate: Annotated[
        float | None, typer.Option("--lr", min=0.0, help="Learning rate.", show_default="0.001")
    ] = None
    weight_decay: Annotated[float | None, typer.Option(min=0.0, help="Weight decay.", show_default="0.0001")] = None
    threads: Annotated[int | None, typer.Option(min=1, help="Threads inside an operation.")] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, order, augmentation and dropout.", show_default="0")
    ] = None
    target_accuracy: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Report when this share of the test set was right, e.g. 0.95."),
    ] = None
    limit_examples: Annotated[int | None, typer.Option(min=1, help="Use only the first N examples of each set.")] = None
    input_shape: options.TrainShapeOption = None
    checkpoint_steps: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="epoch|never|N",
            help="When to write a checkpoint: after epochs, never, or also every N steps.",
            show_default="epoch",
        ),
    ] = None


@options.fields_of("recipe", Recipe)
def command(
    model: Annotated[
        str | None, typer.Argument(help="A model of images, for example my_net or mlp.", show_default=False)
    ] = None,
    *,
    recipe: Recipe,
    resume: Annotated[
        str | None,
        typer.Option(help="Continue this run: its id, a beginning of it, its folder, or latest.", show_default=False),
    ] = None,
    lock_clocks: options.LockClocksOption = False,
    timeout: Annotated[str | None, options.limit_option("10min", "Longest wait for the next step.")] = None,
    executor: Annotated[str, typer.Option(help="forkserver, spawn or inline (for debuggers).")] = "forkserver",
    results: options.ResultsOption = options.RESULTS,
    dry_run: options.DryRunOption = False,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import make_training_observer, watched
    from bench.runner.training import Stop, planned_training, resume_training, train
    from bench.store.runs import check_results
    from bench.tables.training import training_document

    if executor not in ("forkserver", "spawn", "inline"):
        raise UsageError(f"executor {executor!r} is unknown. Use one of: forkserver, spawn, inline")
    typed = {name: value for name, value in asdict(recipe).items() if value is not None and value is not False}
    download = typed.pop("download", False)
    stop = Stop()
    is_silent = quiet or format is options.Format.JSON
    watch = watched(make_training_observer(is_quiet=is_silent), is_quiet=is_silent)
    limits: dict[str, Any] = {"method": executor, "timeout_seconds": options.parse_duration(timeout, "--timeout")}
    shared: dict[str, Any] = {"results": results, "stop": stop, "locks_clocks": lock_clocks, **limits}
    if resume is not None:
        refused = [*([model] if model else []), *typed, *(["download"] if download else [])]
        if refused:
            raise UsageError(f"--resume takes everything from the run; leave out {', '.join(refused)}")
        if dry_run:
            return _say_plan(planned_training(resume, results), False, limits, format)
        with _stoppable(stop), watch as observer:
            trained = resume_training(resume, observer=observer, **shared)
    else:
        if model is None:
            raise UsageError("name a model to train, for example `bench train my_net`, or a run with --resume")
        plan = plan_of(model, typed)
        options.refuse_without_gpu("--lock-clocks", lock_clocks, [plan.device])
        if dry_run:
            check_results(results)
            return _say_plan(plan, download, limits, format)
        with _stoppable(stop), watch as observer:
            trained = train(plan, download=download, observer=observer, **shared)
    answer(
        "train",
        format,
        lambda: [*training_document(trained.training), results_place(trained.folder)],
        folder=str(trained.folder),
        training=trained.training,
    )
    if trained.training.outcome is Outcome.OK:
        return ExitCode.FINE
    if trained.checkpoint is not None:
        say(f"continue with `bench train --resume {trained.folder}`")
    return 128 + stop.signal if stop.signal else ExitCode.NOTHING


def _say_plan(
    plan: TrainingPlan,
    is_downloading: bool,
    limits: dict[str, Any],
    format: options.Format,  # noqa: A002 - the name of the option
) -> int:
    """Check a training and print its plan."""
    from bench.cli.progress import waiting
    from bench.runner.training import check_training
    from bench.tables.training import plan_text

    with waiting("checking", is_quiet=format is options.Format.JSON):
        plan = check_training(plan, is_downloading=is_downloading, **limits)
    answer("train", format, lambda: options.planned([f"{plan.model}: {plan_text(plan)}"], "training"), plan=plan)
    return ExitCode.FINE


def plan_of(model: str, typed: dict[str, Any]) -> TrainingPlan:
    """Make a plan from the typed options; the others are those of the documented recipe.

    Raises:
        UsageError: A value makes no sense.
    """
    from bench.core.training import TrainingPlan

    values = dict(typed)
    for name in ("precision", "batch_size", "threads", "seed"):
        if name in values:
            values[name] = AXES[name].read(values[name])
    for name, option in (("learning_rate", "--lr"), ("weight_decay", "--weight-decay")):
        if not values.get(name, 0.0) < math.inf:
            raise UsageError(f"{option} must be a finite number, found {values[name]}; write for example 0.001")
    if values.get("workers", 0) > 1024:
        raise UsageError(f"--workers must be at most 1024, found {values['workers']}: each is a process")
    if "optimizer" in values:
        values |= _optimizer(values)
    if "input_shape" in values:
        values["input_shape"] = only_shape(read_input_shape(values["input_shape"]))
    if "checkpoint_steps" in values:
        values["checkpoint_steps"] = _checkpoint_steps(values["checkpoint_steps"])
    if values.get("prefetch") and not values.get("workers"):
        raise UsageError("--prefetch is for --workers: without workers nothing is prepared ahead")
    if values.get("pin_memory") and not is_accelerator(values.get("device", CPU)):
        raise UsageError("--pin-memory speeds up copies to an accelerator, and the device is cpu; leave it out")
    return TrainingPlan(model=model, **values)


def _optimizer(values: dict[str, Any]) -> dict[str, Any]:
    """Check an optimizer's name; the model's own keeps its settings unless they are typed."""
    from bench.registry.optimizers import check_optimizer

    if values["optimizer"] != OWN:
        return {"optimizer": check_optimizer(values["optimizer"])}
    return {
        "optimizer": None,
        "learning_rate": values.get("learning_rate"),
        "weight_decay": values.get("weight_decay"),
    }


def _checkpoint_steps(text: str) -> int | None:
    if text == "epoch":
        return None
    if text == "never":
        return 0
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"--checkpoint is 'epoch', 'never' or a number of steps, found {text!r}")


@contextlib.contextmanager
def _stoppable(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end a training after its step, with a checkpoint; a second one ends it at once."""
    from bench.cli.progress import STOPPING, handling

    def ask(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, *STOPPING):
            signal.signal(each, signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL)
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            say("stopping after this step; once more to stop at once")
        stop.request(number)

    with handling((signal.SIGINT, *STOPPING), ask):
        yield
