"""`docs/json.md` names every key of every command's answer; keys are read from the calls that print them.

The keys inside of values are the fields of the types that a command answers with, so no name of a field may be gone.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
import typing
from collections import defaultdict
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from bench.core import claim, comparison, fit, gate, generation, history, peaks, profile, record, training
from bench.runner.ab.calibration import Calibration, Selftest
from bench.runner.doctor import Diagnosis
from bench.runner.scenarios import GENERATION, IMAGES
from bench.stats.rank_scaling import RankScaling
from bench.stats.scaling import Scaling

ROOT = Path(__file__).parents[2]
_SPREAD = {"machine selftest": set(Selftest.__slots__)}
"""Keys of `**fields`, which no call names."""


@functools.cache
def answered() -> dict[str, set[str]]:
    """Read the keys of each command from `answer(...)` and `print_json(...)` in its file."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "bench/cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in ("answer", "print_json"):
                keys = {keyword.arg for keyword in node.keywords if keyword.arg}
                if isinstance(node.args[0], ast.Constant):
                    found[node.args[0].value] |= keys
                elif path.name == "generate.py":
                    for kind in (GENERATION, IMAGES):
                        found[kind.command] |= {*keys, kind.field}
                elif path.name == "slurm.py":
                    for command in ("run", GENERATION.command, IMAGES.command):
                        found[command] |= keys
    return {name: keys | _SPREAD.get(name, set()) for name, keys in found.items()}


def rows_of_commands() -> list[tuple[set[str], set[str]]]:
    """Read each row of a command: its names, and the words in backticks."""
    lines = (ROOT / "docs/json.md").read_text(encoding="utf-8").splitlines()
    rows = (match for line in lines if (match := re.fullmatch(r"\| (`.+?) \| (.+) \|", line)))
    return [(set(re.findall(r"`(.+?)`", row[1])), set(re.findall(r"`([\w-]+)`", row[2]))) for row in rows]


@functools.cache
def documented() -> dict[str, set[str]]:
    """Collect the words of each command's rows."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for names, words in rows_of_commands():
        for name in names:
            found["ci" if name.startswith("ci ") else name] |= words
    return found


@pytest.mark.parametrize("command", sorted(answered()))
def test_every_key_of_an_answer_is_documented(command: str) -> None:
    assert answered()[command] <= documented()[command]


def test_no_command_without_an_answer_is_documented() -> None:
    options = {name for name in documented() if name.startswith("--")}  # what an option adds to several answers
    assert set(documented()) - {"schema", "command"} - options == set(answered())


_RUN = (record.Record, claim.CheckedClaim, Scaling, RankScaling)
TYPES: dict[str, tuple[type, ...]] = {
    "run": _RUN,
    "slurm collect": _RUN,
    "run, generate, images": (claim.CheckedLimit,),
    "count": (record.Record,),
    "fit": (fit.FittedCell,),
    "gate": (gate.GateRow,),
    "generate": (generation.Generation,),
    "images": (generation.Sampled,),
    "check": (claim.CheckedClaim,),
    "bisect": (comparison.Bisected,),
    "compare": (comparison.Nominated, profile.ProfileDiff),
    "machine": (Diagnosis,),
    "machine noise": (Calibration,),
    "profile": (profile.Profile,),
    "machine peaks": (peaks.Peaks,),
    "train": (training.Training,),
    "history show": (history.Trend,),
    "history nominate": (history.HistoryNomination,),
    "history prune": (history.Pruned,),
}
"""What a command answers with."""

MADE_BY_HAND = {"gate": {"cell_id", "row"}, "slurm collect": {"generations", "images"}}
"""Keys that are no field of these types."""


def names_in(kind: Any, seen: set[Any]) -> set[str]:
    """Name the fields of a type and of all types in them, and the values of its enumerations."""
    if kind in seen:
        return set()
    seen.add(kind)
    found = {name for inner in typing.get_args(kind) for name in names_in(inner, seen)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        found |= {str(one.value) for one in kind}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            found |= {field.name} | names_in(hints[field.name], seen)
    return found


@pytest.mark.parametrize("command", TYPES)
def test_every_key_inside_of_a_value_is_a_field(command: str) -> None:
    seen: set[Any] = set()
    known = {name for kind in TYPES[command] for name in names_in(kind, seen)}
    names = command.split(", ")
    rows = [row for heads, row in rows_of_commands() if heads - {"--latency"} == set(names)]
    assert rows, f"docs/json.md has no row of {command}"
    keys = {key for key in set.union(*rows) if not key.startswith("--")} - answered().keys()
    assert keys - known - answered()[names[0]] - MADE_BY_HAND.get(command, set()) == set()
