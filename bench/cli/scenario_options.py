"""What `bench generate` and `bench sample` share: lists of numbers, cells, settings, and showing how far they are."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import typer

from bench.cli.options import parse_duration
from bench.core.cell import Cell, Mode
from bench.core.errors import ExitCode, SuiteError
from bench.core.record import Outcome, Sampling

N = TypeVar("N", int, float)

BudgetOption = Annotated[
    str | None, typer.Option(help="Longest time to sample one case (2s), without its warm-up.", show_default=False)
]
TargetOption = Annotated[float, typer.Option(min=0.0001, max=1.0, help="Stop when the median is known within this.")]
DEFAULT_BUDGET_SECONDS = 2.0


def read_numbers(
    values: list[str] | None, option: str, kind: type[N], default: tuple[N, ...], least: N
) -> tuple[N, ...]:
    """Read a repeated option whose values may hold several numbers, separated by commas; each number once.

    Raises:
        SuiteError: A value is no number of this kind, or less than the least.
    """
    if not values:
        return default
    numbers: list[N] = []
    for part in (part.strip() for value in values for part in value.split(",")):
        try:
            number = kind(part)
        except ValueError:
            word = "a whole number" if kind is int else "a number"
            raise SuiteError(f"{option} needs {word}, found {part!r}; write for example {option} {least}") from None
        if not least <= number < float("inf"):
            raise SuiteError(f"{option} must be {least} or more, found {part}")
        numbers.append(number)
    return tuple(dict.fromkeys(numbers))


def read_cells(models: list[str], axes: dict[str, Any]) -> tuple[Cell, ...]:
    """Make the cells of these models in infer mode; one example at a time unless the axes say otherwise."""
    from bench.suite.sweep import Sweep

    return Sweep(models=tuple(models), modes=(Mode.INFER,), **{"batch_sizes": (1,)} | axes).cells()


def read_sampling(budget: str | None, target: float) -> Sampling:
    """Read when to stop measuring one case."""
    return Sampling(target=target, budget_seconds=parse_duration(budget, "--budget") or DEFAULT_BUDGET_SECONDS)


@contextlib.contextmanager
def watching(is_quiet: bool) -> Iterator[Callable[[int, int, str, str | None], None]]:
    """Show on stderr which case runs: a bar on a terminal, one line per case in a log."""
    if is_quiet:
        yield lambda *_: None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _say


def _say(index: int, total: int, name: str, words: str | None) -> None:
    if words is not None:
        print(f"[{index + 1}/{total}] {name}  {words}", file=sys.stderr, flush=True)


def _bar() -> Iterator[Callable[[int, int, str, str | None], None]]:
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.MofNCompleteColumn(),
        progress.BarColumn(bar_width=20),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        refresh_per_second=2,  # it draws on a core that the case needs
    )
    task = bar.add_task("starting", total=None)

    def show(index: int, total: int, name: str, words: str | None) -> None:
        bar.update(task, total=total, completed=index + (words is not None), description=name)
        if words not in (None, "done"):
            bar.console.print(f"{name}  {words}", markup=False, highlight=False)

    with bar:
        yield show


def exit_code(outcomes: list[Outcome]) -> int:
    """Answer 5 if no case could be measured."""
    return ExitCode.FINE if Outcome.OK in outcomes else ExitCode.NOTHING
