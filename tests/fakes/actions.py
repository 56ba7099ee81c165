"""Rehearse a composite action of GitHub here: its `run` steps in order, in bash as a runner starts it.

Understands what a thin action needs: `if` with `==`, `!=` and `&&`; `${{ }}` with inputs, github, and outputs of steps.
Anything else raises, rather than pass unseen. Steps that use other actions are listed, not run.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_NAME = re.compile(r"[a-z_]+(?:\.[a-z_-]+)+")
_BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What happened.

    Attributes:
        exit_code: Of the step that failed, which ended the action; 0 if none did.
        ran: Names of the steps that ran, in order.
        output: What they printed, standard output and error together.
        summary: What they wrote for the job's summary.
        outputs: By step id, what it put out.
        used: Inputs of other actions that would have run, by step.
    """

    exit_code: int
    ran: tuple[str, ...]
    output: str
    summary: str
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    used: dict[str, dict[str, str]] = field(default_factory=dict)


def rehearse(
    action: Path,
    inputs: Mapping[str, str],
    *,
    workspace: Path,
    scratch: Path,
    github: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Rehearsed:
    """Run the steps of a composite action.

    Args:
        action: Its `action.yml`.
        inputs: As a workflow would give them; the others have their defaults.
        workspace: The checkout; steps run there.
        scratch: Folder for the runner's files, outside the workspace.
        github: Values of the `github` context: `{"repository": "me/mine", "event.pull_request.number": "7"}`.
        environment: Variables beyond the runner's.
    """
    import yaml

    document = yaml.safe_load(action.read_text(encoding="utf-8"))
    values = {f"github.{name}": text for name, text in (github or {}).items()}
    for name, about in document["inputs"].items():
        values[f"inputs.{name}"] = inputs.get(name, _filled(str(about.get("default", "")), values))
    files = {name: scratch / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    scratch.mkdir(parents=True, exist_ok=True)
    summary, output, ran = "", "", []
    outputs: dict[str, dict[str, str]] = {}
    used: dict[str, dict[str, str]] = {}
    exit_code = 0
    for step in document["runs"]["steps"]:
        if "if" in step and not _is_true(step["if"], values):
            continue
        ran.append(step["name"])
        if "uses" in step:
            used[step["name"]] = {name: _filled(str(text), values) for name, text in step["with"].items()}
            continue
        for path in files.values():
            path.write_text("")
        done = subprocess.run(
            [*_BASH, _filled(step["run"], values)],
            cwd=workspace,
            env={
                **os.environ,
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(workspace),
                **{name: str(path) for name, path in files.items()},
                **(environment or {}),
                **{name: _filled(str(text), values) for name, text in step.get("env", {}).items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output += done.stdout
        summary += files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
        if "id" in step:
            lines = files["GITHUB_OUTPUT"].read_text(encoding="utf-8").splitlines()
            outputs[step["id"]] = dict(line.split("=", 1) for line in lines)
            values |= {f"steps.{step['id']}.outputs.{name}": text for name, text in outputs[step["id"]].items()}
        if done.returncode:
            exit_code = done.returncode
            break
    return Rehearsed(exit_code=exit_code, ran=tuple(ran), output=output, summary=summary, outputs=outputs, used=used)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: _value(match[1], values), text)


def _is_true(condition: str, values: Mapping[str, str]) -> bool:
    return all(_holds(part.strip(), values) for part in condition.split("&&"))


def _holds(comparison: str, values: Mapping[str, str]) -> bool:
    left, operator, right = re.fullmatch(r"(\S+) (==|!=) (\S+)", comparison).groups()  # type: ignore[union-attr]
    return (_value(left, values) == _value(right, values)) is (operator == "==")


def _value(expression: str, values: Mapping[str, str]) -> str:
    if expression.startswith("'") and expression.endswith("'"):
        return expression[1:-1]
    if not _NAME.fullmatch(expression):
        raise ValueError(f"{expression!r} is more than this rehearsal understands")
    if expression.startswith("inputs."):
        return values[expression]  # an input that is not declared is a mistake
    return values.get(expression, "")
