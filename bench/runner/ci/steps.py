"""The steps of CI: run one and keep its answer, then read all answers for one verdict.

    run_step      `bench gate|check|ab ... --format json` in a process of its own -> FOLDER/<name>.json
    read_results  every answer in the folder, typed

The answer is on disk before the step starts ("did not end") and again when it has ended, so that a job that is killed
in between still says what happened.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.claim import CheckedClaim
from bench.core.comparison import Comparison, Heading
from bench.core.errors import ExitCode, NothingMeasuredError, StoreError, UsageError
from bench.core.files import read_file
from bench.core.gate import CounterChange, CounterRow, GateRow, GateVerdict
from bench.core.jsonio import from_json, parse_json
from bench.report.verdict import Answer, Compared, Gated, StepResult
from bench.store.atomic import make_folder, store_error, write_bytes

STEPS = ("gate", "check", "ab")
SCHEMA = 1
"""Version of the kept answers. History: 1 (2026-11-23) first."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST_ERROR_LINES = 20


def run_step(step: str, arguments: Sequence[str], folder: Path, name: str | None = None) -> int:
    """Run one step, one of `STEPS`, and keep its answer under a name; return its exit code.

    An answer of the same step with the same arguments is replaced.

    Raises:
        UsageError: There is no such step, the name is none for a file, or another step's answer has it.
        StoreError: The answer cannot be kept.
    """
    if step not in STEPS:
        raise UsageError(f"no step {step!r}; use one of: {', '.join(STEPS)}, or 'comment' for the verdict")
    name = name or step
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a step; use letters, digits, '.', '_' and '-'")
    path = folder / f"{name}.json"
    _refuse_the_name_of_another(path, step, arguments)
    make_folder(folder)
    write_bytes(folder / ".gitignore", b"*\n")  # answers are not part of the change they are about
    kept: dict[str, Any] = {"schema": SCHEMA, "step": step, "arguments": list(arguments)}
    _keep(path, kept | {"exit_code": None, "problem": "did not end", "answer": None})
    with tempfile.TemporaryFile() as output:
        # -P: a folder named bench in the user's repository must not stand in for this package
        command = [sys.executable, "-P", "-m", "bench", step, *arguments, "--format", "json"]
        with subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace") as process:
            assert process.stderr is not None
            try:
                errors = deque(_passed_on(process.stderr), maxlen=_MOST_ERROR_LINES)
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)  # it has workers and worktrees to remove
                process.wait()
                raise
        output.seek(0)
        answer = _parsed(output.read())
    said = [line for line in errors if line.strip()]
    problem = "" if answer is not None else (said[-1] if said else f"said nothing, exit code {process.returncode}")
    _keep(path, kept | {"exit_code": process.returncode, "problem": problem, "answer": answer})
    return process.returncode


def _refuse_the_name_of_another(path: Path, step: str, arguments: Sequence[str]) -> None:
    """Keep one step from hiding what another one found: the verdict would pass without it."""
    if not path.is_file():
        return
    try:
        document = _parsed(read_file(path)) or {}
    except OSError as error:
        raise store_error("read", path, error) from error
    there = [document.get("step"), *(document.get("arguments") or ())]
    if there != [step, *arguments]:
        raise UsageError(
            f"the name {path.stem!r} has the answer of another step in {path}: {shlex.join(map(str, there))}; "
            f"give this one a name of its own (bench ci --name NAME {step} ...), or delete the file"
        )


def _passed_on(lines: Iterator[str]) -> Iterator[str]:
    """Show what a step says while it runs."""
    for line in lines:
        sys.stderr.write(line)
        sys.stderr.flush()
        yield line.rstrip("\n")


def _parsed(output: bytes) -> dict[str, Any] | None:
    try:
        answer = parse_json(output)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and "error" not in answer else None  # an error is no answer


def _keep(path: Path, document: Mapping[str, Any]) -> None:
    write_bytes(path, (json.dumps(document, indent=1) + "\n").encode())


def read_results(folder: Path) -> tuple[StepResult, ...]:
    """Read every answer that was kept: gates first, then checks, then comparisons.

    Raises:
        NothingMeasuredError: There is none.
        StoreError: One cannot be read.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            kept = from_json(_Kept, parse_json(read_file(path)))
            found.append((STEPS.index(kept.step), _result(path.stem, kept)))
        except OSError as error:
            raise store_error("read", path, error) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{path} is no answer of a step of CI ({error}); delete it and run the step again"
            ) from error
    if not found:
        raise NothingMeasuredError(f"no step has answered in {folder}; run one first: bench ci gate")
    return tuple(result for _, result in sorted(found, key=lambda pair: pair[0]))


def _result(name: str, kept: _Kept) -> StepResult:
    code, problem, answer = kept.exit_code, kept.problem, kept.answer
    known = code in set(ExitCode)
    if code is not None and not known:
        problem = f"ended with exit code {code}; {problem}".rstrip("; ")
    if answer is not None and answer.get("is_updated"):
        answer, problem = None, "put counts on record instead of judging them (--update)"
    if code in _JUDGING and answer is None:  # nothing was judged, whatever it ended with
        known, problem = False, problem or f"ended with exit code {code} and gave no answer"
    return StepResult(
        name=name,
        command=shlex.join(["bench", kept.step, *kept.arguments]),
        exit_code=ExitCode(code or 0) if known else ExitCode.UNFIT,
        problem=problem,
        answer=None if answer is None else _ANSWERS[kept.step](answer),
    )


_JUDGING = (ExitCode.FINE, ExitCode.REGRESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The file of a step."""

    schema: int
    step: str
    arguments: tuple[str, ...]
    exit_code: int | None
    problem: str
    answer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _GateRow:
    """One of the `rows` of an answer of `bench gate`."""

    cell_id: str
    cell: Cell
    verdict: GateVerdict
    counters: tuple[CounterChange, ...]
    operations: tuple[CounterChange, ...]
    reason: str | None
    row: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _GateAnswer:
    suite: str
    torch: str
    rows: tuple[_GateRow, ...]


def _gated(answer: Mapping[str, Any]) -> Gated:
    found = from_json(_GateAnswer, {field: answer[field] for field in ("suite", "torch", "rows")})
    rows = []
    for row in found.rows:
        there = CounterRow(suite=found.suite, torch=found.torch, cell=row.cell, counters=())
        is_extra = row.verdict is GateVerdict.EXTRA
        rows.append(
            GateRow(
                verdict=row.verdict,
                expected=there if is_extra else None,
                found=None if is_extra else there,
                counters=row.counters,
                operations=row.operations,
                reason=row.reason,
            )
        )
    return Gated(suite=found.suite, torch=found.torch, rows=tuple(rows), lines=tuple(row.row for row in found.rows))


def _checked(answer: Mapping[str, Any]) -> tuple[CheckedClaim, ...]:
    return tuple(from_json(CheckedClaim, claim) for claim in answer["claims"])


def _compared(answer: Mapping[str, Any]) -> Compared:
    return Compared(
        comparisons=tuple(from_json(Comparison, one) for one in answer["comparisons"]),
        heading=from_json(Heading, answer["heading"]),
    )


_ANSWERS: dict[str, Callable[[Mapping[str, Any]], Answer]] = {"gate": _gated, "check": _checked, "ab": _compared}


def read_answer(document: Mapping[str, Any]) -> tuple[tuple[CheckedClaim, ...], tuple[GateRow, ...]]:
    """Read an answer of `bench check` or `bench gate` into claims and rows, as printed or as kept by `run_step`.

    Raises:
        ValueError: It is the answer of another command, or none.
    """
    answer = document.get("answer", document) or {}
    if answer.get("command") == "check":
        return _checked(answer), ()
    if answer.get("command") == "gate":
        return (), _gated(answer).rows
    raise ValueError(f"command {answer.get('command')!r}")
