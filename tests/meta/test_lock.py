"""Every locked requirement has its hashes, and no address of a registry is in the lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;]+)(?P<rest>.*)")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?![0-9a-f])")


def problems(lock: str) -> list[str]:
    """Name the lines of a lock that are no pinned requirement with a hash."""
    found = [f"an address: {line}" for line in lock.splitlines() if re.search(r"https?:|--(extra-)?index-url", line)]
    for line in lock.replace("\\\n", " ").splitlines():
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        if _REQUIREMENT.match(text) is None:
            found.append(f"not pinned: {text[:60]}")
        elif _HASH.search(text) is None:
            found.append(f"no hash: {text[:60]}")
    return found


def test_every_requirement_is_pinned_and_hashed_and_no_address_is_named() -> None:
    assert problems(LOCK) == []


PLANTED = {
    "a requirement without a hash": "torch==2.15.0",
    "a short hash": "torch==2.15.0 \\\n    --hash=sha256:0123",
    "a range": f"torch>=2.15.0 --hash=sha256:{'0' * 64}",
    "an index": f"--index-url https://example.org/simple\ntorch==1 --hash=sha256:{'0' * 64}",
    "a direct address": f"torch @ https://example.org/torch.whl --hash=sha256:{'0' * 64}",
}


@pytest.mark.parametrize("lock", PLANTED.values(), ids=PLANTED)
def test_the_check_can_fail(lock: str) -> None:
    assert problems(lock)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    asked = {normalised(re.split(r"[<>=~! \[]", text)[0]) for text in [*project["dependencies"], *extras]}
    locked = {normalised(match["name"]) for match in map(_REQUIREMENT.match, LOCK.splitlines()) if match}
    assert asked <= locked, asked - locked
