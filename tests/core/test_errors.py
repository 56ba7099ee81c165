"""The tree of errors in the docstring is the tree of the classes, with exit codes; there are six."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import bench
from bench.core import errors
from bench.core.errors import BenchError, ExitCode

_LINE = re.compile(r"^    (?P<branch>[│ ├└─]*)(?P<name>\w+Error)(?P<rest>.*)$", re.MULTILINE)


def drawn_tree() -> dict[str, tuple[str | None, str]]:
    """Read the docstring: class name -> (parent's name, rest of the line)."""
    tree: dict[str, tuple[str | None, str]] = {}
    path: list[str] = []
    for match in _LINE.finditer(errors.__doc__ or ""):
        depth = len(match["branch"]) // 4
        path[depth:] = [match["name"]]
        tree[match["name"]] = (path[depth - 1] if depth else None, match["rest"])
    return tree


def all_errors(cls: type[BenchError] = BenchError) -> list[type[BenchError]]:
    own = [cls] if cls.__module__ == errors.__name__ else []
    return own + [found for child in cls.__subclasses__() for found in all_errors(child)]


def test_the_docstring_draws_every_error_once() -> None:
    names = [match["name"] for match in _LINE.finditer(errors.__doc__ or "")]
    assert sorted(names) == sorted(cls.__name__ for cls in all_errors())


def test_the_drawn_parents_are_the_classes_parents() -> None:
    for name, (parent, _) in drawn_tree().items():
        assert (getattr(errors, name).__bases__[0].__name__ if parent else None) == parent, name


def test_no_error_is_a_built_in_one_too() -> None:
    assert [cls.__name__ for cls in all_errors() if len(cls.__mro__) - len(BenchError.__mro__) > 1] == []


def test_only_the_arms_of_a_comparison_have_errors_of_their_own() -> None:
    known = {cls.__name__ for cls in all_errors()}
    assert len(known) == 6
    found = {}
    for file in sorted(Path(bench.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ClassDef) and known & {ast.unparse(base).split(".")[-1] for base in node.bases}:
                found[node.name] = file.name
    assert {name: file for name, file in found.items() if name not in known} == dict.fromkeys(
        ("ArmError", "TimeUpError"), "arm.py"
    )


def test_the_drawn_exit_codes_are_right() -> None:
    for name, (parent, rest) in drawn_tree().items():
        drawn = re.search(r"exit (\d)", rest)
        expected = int(drawn[1]) if drawn else int(getattr(errors, parent or name).exit_code)
        assert getattr(errors, name).exit_code == expected, name


def test_exit_codes_are_those_that_the_design_promises() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "FINE": 0,
        "REGRESSION": 1,
        "USAGE": 2,
        "INCONCLUSIVE": 3,
        "UNFIT": 4,
        "NOTHING": 5,
        "INTERNAL": 70,
    }


def test_errors_cross_a_process_border() -> None:
    import pickle

    for cls in all_errors():
        error = pickle.loads(pickle.dumps(cls("what was asked, found, and to do")))
        assert type(error) is cls
        assert str(error) == "what was asked, found, and to do"
