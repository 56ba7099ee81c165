"""Trainings and input pipelines made by hand, for tests of what stores and shows them."""

from __future__ import annotations

from bench.core.advice import Advice, AdviceKind
from bench.core.record import Outcome
from bench.core.training import (
    Classification,
    ClassScore,
    DataFacts,
    Epoch,
    Part,
    PipelinePoint,
    Training,
    TrainingPlan,
    TrainingRun,
)
from tests.records import ENVIRONMENT, STARTED_AT

STARVED = Advice(
    kind=AdviceKind.DATA_STARVED,
    facts=(("wait_fraction", 0.75), ("wait_seconds", 0.03), ("step_seconds", 0.01), ("workers", 2)),
)


def make_epoch(epoch: int = 1, **changes) -> Epoch:
    """Make an epoch of two steps of 40 and 20 examples that takes 0.2 s, of which the parts explain 0.196 s."""
    seconds = {
        Part.DATA: (0.010, 0.010, 0.001),
        Part.COPY: (0.0, 0.0),
        Part.FORWARD: (0.030, 0.020),
        Part.LOSS: (0.001, 0.001),
        Part.BACKWARD: (0.060, 0.040),
        Part.OPTIMIZER: (0.010, 0.010),
        Part.OTHER: (0.002, 0.001),
    }
    values = {
        "epoch": epoch,
        "examples": (40, 20),
        "losses": (2.0, 0.5),
        "correct": (10, 15),
        "seconds": 0.2,
        "parts": tuple(seconds.items()),
        "test_loss": 0.6 / epoch,
        "test_accuracy": 1 - 0.3 / epoch,
        "evaluation_seconds": 0.05,
        "checkpoint_seconds": 0.01,
    }
    return Epoch(**(values | changes))


def make_classification(**changes) -> Classification:
    names = [str(digit) for digit in range(10)]
    scores = tuple(ClassScore(name=name, precision=0.9, recall=0.8, f1=0.847, support=10) for name in names)
    confusion = tuple(
        tuple(8 if row == column else 2 * ((row + 1) % 10 == column) for column in range(10)) for row in range(10)
    )
    return Classification(**({"scores": scores, "confusion": confusion} | changes))


def make_training(**changes) -> Training:
    run = TrainingRun(
        data=DataFacts(
            name="synthetic digits", train_examples=60, test_examples=100, input_shape=(3, 48, 48), classes=10
        ),
        parameters=9_536_074,
        epochs=(make_epoch(1), make_epoch(2)),
        is_complete=True,
        classification=make_classification(),
        advice=(STARVED,),
    )
    values = {
        "plan": TrainingPlan(model="my_net@classes=10", epochs=2, target_accuracy=0.8),
        "outcome": Outcome.OK,
        "environment": ENVIRONMENT,
        "run": run,
        "started_at": STARTED_AT,
        "duration_seconds": 1.0,
        "stepbench": "0.1.0",
    }
    return Training(**(values | changes))


def make_point(**changes) -> PipelinePoint:
    values = {
        "plan": TrainingPlan(model="my_net", batch_size=32, workers=2, prefetch=2),
        "start_seconds": 0.3,
        "data_seconds": (0.04,) * 5,
        "step_seconds": (0.01,) * 5,
        "joint_seconds": (0.04,) * 5,
        "wait_seconds": (0.03,) * 5,
        "advice": (STARVED,),
    }
    return PipelinePoint(**(values | changes))
