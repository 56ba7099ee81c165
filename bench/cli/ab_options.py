"""Options of the commands that compare: how they answer, and what fails."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.core.errors import SuiteError

if TYPE_CHECKING:
    from bench.stats.looks import Threshold


class ReportFormat(StrEnum):
    """How a comparison is answered."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


ReportFormatOption = Annotated[ReportFormat, typer.Option("--format", help="For people, machines, or a comment.")]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="Of every coin; drawn if not given.", show_default=False)
]
ConfirmOption = Annotated[int, typer.Option(min=1, help="Fresh sessions of what the screen suspects or leaves open.")]
ExtendOption = Annotated[int, typer.Option(min=0, help="More of them, where those do not decide.")]
VoidOption = Annotated[bool, typer.Option("--void/--no-void", help="Measure again what the machine's state spoiled.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]


def read_fraction(text: str, option: str) -> float:
    """Read `2%` or `0.02`.

    Raises:
        SuiteError: It is neither.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise SuiteError(f"{option} must be a share, found {text!r}; write for example 2% or 0.02") from None
    if not 0 <= value < 10 or (value >= 1 and not text.endswith("%")):
        raise SuiteError(f"{option} must be a share, found {text!r}; write for example 2% or 0.02")
    return value


def read_threshold(fail_at: str, tolerate: str, alpha: float) -> Threshold:
    """Read what fails and what passes.

    Raises:
        SuiteError: The values make no sense, alone or together.
    """
    from bench.stats.looks import Threshold

    try:
        return Threshold(
            fail_at=read_fraction(fail_at, "--fail-at"), tolerate=read_fraction(tolerate, "--tolerate"), alpha=alpha
        )
    except SuiteError:
        raise
    except ValueError as error:
        raise SuiteError(f"--fail-at, --tolerate, --alpha: {error}") from None
