"""Every reference model's module, by name."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

MODELS = ("mlp", "walkthrough_cnn", "my_net", "rnn", "lstm", "gru", "transformer", "decoder_lm", "diffusion")


@pytest.fixture(params=MODELS)
def model_file(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"bench.models.{request.param}")
