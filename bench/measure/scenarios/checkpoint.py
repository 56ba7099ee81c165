"""A training on disk, to continue from to the same bits: weights, optimizer, random states, place in the data."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.core.errors import StoreError
from bench.core.jsonio import from_json, to_json
from bench.core.training import Epoch, TrainingPlan
from bench.device.backend import backend_of
from bench.device.step import Step
from bench.store.atomic import make_folder, write_bytes

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a training came.

    Attributes:
        epochs: Finished ones.
        partial: What the running epoch has so far; None at the end of an epoch.
        resumptions: How often it was resumed before.
    """

    epochs: tuple[Epoch, ...] = ()
    partial: Epoch | None = None
    resumptions: int = 0


def save(path: Path, plan: TrainingPlan, step: Step, place: Place) -> None:
    """Write a checkpoint whole or not at all. The data need no state: their order follows from seed, epoch and step.

    Raises:
        StoreError: It cannot be written; the one before is untouched.
    """
    assert step.optimizer is not None
    state = {
        "format": FORMAT,
        "plan": plan.key,
        "place": json.dumps(to_json(place)),
        "model": step.model.state_dict(),
        "optimizer": step.optimizer.state_dict(),
        "scaler": step.scaler.state_dict() if step.scaler is not None else None,
        "random": torch.get_rng_state(),
        "device_random": backend_of(plan.device).random_state(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())


def load(path: Path, plan: TrainingPlan, step: Step) -> Place:
    """Load a checkpoint into a step that was built alike, and return how far it came.

    Only tensors and plain values are read (`weights_only`): a checkpoint of a stranger can run nothing.

    Raises:
        StoreError: It is damaged, or of another plan.
    """
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
        if state["format"] != FORMAT or state["plan"] != plan.key:
            raise StoreError(f"{path} is the checkpoint of another plan or version; delete it to train from the start")
        place = from_json(Place, json.loads(state["place"]))
        step.model.load_state_dict(state["model"])
        assert step.optimizer is not None
        step.optimizer.load_state_dict(state["optimizer"])
    except StoreError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        words = " ".join(str(error).split())[:120]
        raise StoreError(f"{path} cannot be read ({words}); delete it to train from the start") from error
    if step.scaler is not None and state["scaler"] is not None:
        step.scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["random"])
    if state["device_random"] is not None:
        backend_of(plan.device).set_random_state(state["device_random"])
    return place
