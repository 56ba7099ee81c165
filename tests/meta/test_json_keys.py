"""`docs/json.md` names every key of every command's answer; keys are read from the calls that print them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from bench.runner.ab.selftest import Selftest

ROOT = Path(__file__).parents[2]
_SPREAD = {"machine selftest": set(Selftest.__slots__)}
"""Keys of `**fields`, which no call names."""


def answered() -> dict[str, set[str]]:
    """Read the keys of each command from `answer(...)` and `print_json(...)` in its file."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "bench/cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in ("answer", "print_json") and isinstance(node.args[0], ast.Constant):
                found[node.args[0].value] |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return {name: keys | _SPREAD.get(name, set()) for name, keys in found.items()}


def documented() -> dict[str, set[str]]:
    """Read the words in backticks of each command's row."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in (ROOT / "docs/json.md").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| (`.+?) \| (.+) \|", line):
            for name in re.findall(r"`(.+?)`", match[1]):
                found["ci" if name.startswith("ci ") else name] |= set(re.findall(r"`(\w+)`", match[2]))
    return found


@pytest.mark.parametrize("command", sorted(answered()))
def test_every_key_of_an_answer_is_documented(command: str) -> None:
    assert answered()[command] <= documented()[command]


def test_no_command_without_an_answer_is_documented() -> None:
    options = {name for name in documented() if name.startswith("--")}  # what an option adds to several answers
    assert set(documented()) - {"schema", "command"} - options == set(answered())
