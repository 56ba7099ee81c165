"""The fingerprint changes with what decides a speed, and with nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from bench.core.cell import short_hash
from bench.core.environment import Environment
from tests.records import ENVIRONMENT

HARD = {
    "os": "Linux 7.0",
    "cpu": "Other CPU",
    "cores": 3,
    "memory_bytes": 1,
    "gpu": "Some GPU",
    "gpu_memory_bytes": 2,
    "gpu_settings": (("power_limit_watts", "400"),),
    "driver": "550.1",
    "cuda": "13.0",
    "cudnn": "91000",
    "python": "3.12.0",
    "torch": "2.16.0",
    "torchvision": "0.30.0",
    "threads": 1,
    "interop_threads": 7,
    "instruction_set": "AVX2",
    "variables": (("MKL_CBWR", "AVX2"),),
    "malloc": (("MALLOC_ARENA_MAX", "1"),),
    "flags": (("cudnn.benchmark", "True"),),
}
SOFT = {
    "host": "elsewhere",
    "gpu_uuid": "GPU-1",
    "stepbench": "9.9",
    "git_commit": "0123abc",
    "git_dirty": True,
}


def test_every_field_is_either_hard_or_soft() -> None:
    assert {field.name for field in dataclasses.fields(Environment)} == set(HARD) | set(SOFT)


@pytest.mark.parametrize("name", HARD)
def test_a_hard_field_changes_the_fingerprint(name: str) -> None:
    changed = dataclasses.replace(ENVIRONMENT, **{name: HARD[name]})
    assert changed.fingerprint != ENVIRONMENT.fingerprint
    assert {
        key for key, value in changed.comparable_fields().items() if value != ENVIRONMENT.comparable_fields()[key]
    } == {name}


@pytest.mark.parametrize("name", SOFT)
def test_a_soft_field_does_not_change_the_fingerprint(name: str) -> None:
    assert dataclasses.replace(ENVIRONMENT, **{name: SOFT[name]}).fingerprint == ENVIRONMENT.fingerprint


def test_an_environment_of_an_older_version_keeps_its_fingerprint() -> None:
    old = dataclasses.replace(ENVIRONMENT, instruction_set=None, variables=None, gpu_settings=None)
    later = {"instruction_set", "variables", "gpu_settings"}
    stored = {name: value for name, value in old.comparable_fields().items() if name not in later}
    assert None in stored.values()  # what older versions did not know of this machine was part of their hash
    assert old.fingerprint == short_hash(stored)
