"""Options that `bench train` and `bench pipeline` share, and what they parse to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.core.cell import Precision
from bench.core.errors import SuiteError
from bench.suite.axes import axes_of

if TYPE_CHECKING:
    from bench.core.training import TrainingPlan

DataOption = Annotated[
    str | None,
    typer.Option(
        metavar="synthetic|mnist[:ROOT]",
        help="Drawn digits, or MNIST below ROOT (data): ROOT/MNIST/raw (synthetic).",
        show_default=False,
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("-d", "--device", help="cpu, cuda, cuda:N or auto (cpu).", show_default=False)
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("-p", "--precision", help="fp32, tf32, bf16-amp, fp16-amp or bf16 (fp32).", show_default=False),
]
OptimizerOption = Annotated[
    str | None,
    typer.Option(help="sgd, adam, ..., also -fused or -foreach; own is the model's (adam).", show_default=False),
]
TrainShapeOption = Annotated[
    str | None,
    typer.Option("--input-shape", metavar="SHAPE", help="One example for a bare nn.Module, for example 3x48x48."),
]

OWN = "own"
"""The optimizer that the model brings, with its own learning rate and weight decay."""


def plan_of(model: str, typed: dict[str, Any]) -> TrainingPlan:
    """Make a plan of what was typed; what was not is the documented recipe.

    Raises:
        SuiteError: A value makes no sense.
    """
    from bench.core.training import TrainingPlan

    values = dict(typed)
    if "precision" in values:
        values["precision"] = _precision(values["precision"])
    if "optimizer" in values:
        values |= _optimizer(values)
    if "input_shape" in values:
        values["input_shape"] = axes_of(input_shape=values["input_shape"])["input_shape"]
    if "checkpoint_steps" in values:
        values["checkpoint_steps"] = _checkpoint_steps(values["checkpoint_steps"])
    if values.get("prefetch") and not values.get("workers"):
        raise SuiteError("--prefetch is for --workers: without workers nothing is prepared ahead")
    if values.get("pin_memory") and values.get("device", "cpu") == "cpu":
        raise SuiteError("--pin-memory speeds up copies to an accelerator, and the device is cpu; leave it out")
    return TrainingPlan(model=model, **values)


def _precision(text: str) -> Precision:
    try:
        return Precision(text)
    except ValueError:
        raise SuiteError(f"precision {text!r} is unknown. Use one of: {', '.join(Precision)}") from None


def _optimizer(values: dict[str, Any]) -> dict[str, Any]:
    """Check an optimizer's name; the model's own keeps its own settings where none are typed."""
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
    raise SuiteError(f"--checkpoint is 'epoch', 'never' or a number of steps, found {text!r}")
