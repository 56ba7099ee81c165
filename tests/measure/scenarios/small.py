"""A small data set and a small training, quick enough for tests."""

from __future__ import annotations

from pathlib import Path

from bench.core.training import TrainingPlan
from bench.measure.scenarios.images import write_digits

MODEL = "mlp@width=8,depth=2"


def small_data(folder: Path) -> str:
    """Draw a small data set below a folder, and name it as --data does."""
    write_digits(folder, train=72, test=30, seed=1)
    return f"mnist:{folder}"


def small_plan(data: str, **changes) -> TrainingPlan:
    values = {"model": MODEL, "data": data, "epochs": 2, "batch_size": 16, "threads": 1} | changes
    return TrainingPlan(**values)
