"""Options that several commands share, and how they are parsed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from bench.core.cell import Cell, Mode
from bench.core.claim import CheckedLimit, LatencyVerdict, Limit
from bench.core.errors import ExitCode, UsageError
from bench.core.record import Outcome, Sampling
from bench.core.units import counted, parse_seconds
from bench.device.backend import CPU, DEVICE_HELP
from bench.suite.axes import TYPED, axes_of

if TYPE_CHECKING:
    from bench.stats.looks import Threshold

RESULTS = Path("results")
"""Folder that holds the runs, unless `--results` names another."""


class Format(StrEnum):
    """How a command answers."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="Output for a terminal, a comment or a program.")]
RecountOption = Annotated[
    bool, typer.Option("--recount", help="Count again what an earlier command counted of unchanged code.")
]
ResultsOption = Annotated[Path, typer.Option("--results", metavar="FOLDER", help="Folder that holds the runs.")]
HistoryOption = Annotated[
    str | None,
    typer.Option(
        "--history",
        metavar="FILE|URL",
        envvar="STEPBENCH_HISTORY",
        help="SQLite file or SQLAlchemy URL (postgresql://user@host/db).",
        show_default="history.sqlite in --results",
    ),
]
Axes = Mapping[str, tuple[Any, ...]]
"""What was typed for axes: values by axis; one that was not typed is left out."""


def axes(
    *names: str, without: Collection[str] = (), defaults: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Replace a command's parameter `axes` by options of axes; the parameter gets the values that were typed (`Axes`).

    Without names, the axes are all but those of `without`. `defaults` are for the help, if a sweep has others.
    """
    taken = [name for name in names or TYPED if name not in ("model", *without)]

    def read(values: Mapping[str, Any]) -> Axes:
        typed = {n: (v if TYPED[n].is_inputs else split(v)) if v else None for n, v in values.items()}
        return axes_of(**typed)

    options = {
        name: (Annotated[list[str] | None, option_of(name, defaults.get(name), several=True)], None) for name in taken
    }
    return in_place_of("axes", options, read)


def in_place_of(
    place: str, options: Mapping[str, tuple[Any, Any]], read: Callable[[Mapping[str, Any]], Any]
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Replace one parameter of a command by several options; the parameter gets what `read` makes of them.

    `options` are the annotation and the default of each, by its name; so `read` gets the values.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: Any, **typed: Any) -> int:
            values = {name: typed.pop(name, default) for name, (_, default) in options.items()}
            return command(*arguments, **{place: read(values)}, **typed)

        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            kind = inspect.Parameter.KEYWORD_ONLY if parameters else parameter.kind
            if parameter.name == place:
                parameters += [
                    inspect.Parameter(name, kind, default=default, annotation=annotation)
                    for name, (annotation, default) in options.items()
                ]
            else:
                parameters.append(parameter)
        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        call.__doc__, call.__name__, call.__module__ = command.__doc__, command.__name__, command.__module__
        return call

    return decorate


def fields_of(place: str, made: type[Any]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Replace one parameter of a command by the fields of its dataclass, which are annotated as options."""
    hints = get_type_hints(made, include_extras=True)
    found = {field.name: (hints[field.name], field.default) for field in fields(made)}
    return in_place_of(place, found, lambda typed: made(**typed))


def option_of(name: str, default: Any = None, *, several: bool = False) -> Any:
    """Make typer's option of an axis, for one value or several."""
    axis = TYPED[name]
    values = axis.about.metavar or ("NAME" if not axis.is_number else "X" if axis.kind is float else "N")
    return typer.Option(
        *axis.flags,
        metavar=f"{values},..." if several else values,
        help=f"{DEVICE_HELP}." if name == "device" else axis.fill(axis.about.help),
        show_default=axis.about.usual_words or axis.words(axis.default if default is None else default),
    )


def parse_duration(text: str | None, option: str) -> float | None:
    """Read a duration such as `90s` or `20m`.

    Raises:
        UsageError: It is not a positive duration.
    """
    if text is None:
        return None
    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if text.strip()[-1] in "0123456789.":
        raise UsageError(f"{option}: {text!r} has no unit; write for example {text.strip()}s, or ms, m, h")
    if seconds <= 0:
        raise UsageError(f"{option} must be more than nothing, found {text!r}")
    return seconds


def split(values: list[str]) -> list[str]:
    """Part a repeated option whose values may hold several, separated by commas."""
    return [part.strip() for value in values for part in value.split(",")]


CoinsOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Random seed.", show_default="drawn")]
SessionsOption = Annotated[int, typer.Option(min=5, max=18, help="Most sessions of a cell; a decided cell stops.")]
ColdCacheOption = Annotated[
    bool, typer.Option("--cold-cache", help="Empty the last cache before each step, outside its time.")
]
LockClocksOption = Annotated[
    bool, typer.Option("--lock-clocks", help="Lock GPUs at the clock they can hold, where the driver permits.")
]


def refuse_without_gpu(option: str, is_typed: bool, devices: Iterable[str]) -> None:
    """Refuse an option of GPUs where every cell runs on the CPU.

    Raises:
        UsageError: It was typed for nothing.
    """
    if is_typed and all(device == CPU for device in devices):
        raise UsageError(f"{option} is of GPUs, and every cell runs on the CPU; add -d cuda, or leave it out")


VoidOption = Annotated[bool, typer.Option("--void/--no-void", help="Repeat sessions that the machine's state spoiled.")]
QUADS_HELP = "Quads (4 visits) per session and cell: more of them take longer and lower the noise."


def limit_option(default: str, words: str = "Time limit of each process.") -> Any:
    """Make typer's option of a time limit; every command that waits for a process has one."""
    return typer.Option("--timeout", metavar="TIME", help=words, show_default=default)


LimitOption = Annotated[str | None, limit_option("10min")]
SamplingLimitOption = Annotated[str | None, limit_option("10min beyond --budget, more for long steps")]
AnswerLimitOption = Annotated[str | None, limit_option("10min", "Longest wait for an answer of a process.")]
ColumnsOption = Annotated[
    Literal["usual", "cold"],
    typer.Option("--columns", help="Figures in the table: the usual ones, or build, first step and steady state."),
]
TracesOption = Annotated[
    bool, typer.Option("--traces", help="Also write a trace of each, for ui.perfetto.dev, after its measurement.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check it all, print what would be measured, and stop.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")]


def parse_clock(text: str, option: str, now: datetime | None = None) -> datetime:
    """Read `HH:MM` as the next moment at which local clocks show it.

    Raises:
        UsageError: It is no time of day.
    """
    try:
        asked = datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise UsageError(f"{option} {text!r} is no time of day; write for example 07:30") from None
    now = now or datetime.now(UTC)
    found = []
    for days in (0, 1):
        for fold in (0, 1):  # clocks that are put back show an hour twice
            day = now.astimezone().date() + timedelta(days=days)
            seconds = datetime.combine(day, asked).replace(fold=fold).timestamp()
            moment = datetime.fromtimestamp(seconds, UTC).astimezone()
            # Clocks that are put forward leave an hour out: the same distance after midnight is meant then.
            if moment > now and (fold == 0 or moment.time() == asked):
                found.append(moment)
    return min(found)


def planned(names: Sequence[str], what: str) -> str:
    """Format the plan of a dry run: a line per name, and their number."""
    lines = "".join(f"{name}\n" for name in names)
    return f"{lines}{counted(len(names), what)}; nothing was measured (--dry-run)"


def traces_of(folder: Path) -> list[str]:
    """Say where the traces of a run are, if it has any."""
    from bench.runner.records import TRACES

    return [f"Traces for ui.perfetto.dev: {folder / TRACES}"] if (folder / TRACES).is_dir() else []


def read_fraction(text: str, option: str) -> float:
    """Read `2%` or `0.02`.

    Raises:
        UsageError: It is neither.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"{option} must be a share, found {text!r}; write for example 2% or 0.02") from None
    if not 0 <= value < 10 or (value >= 1 and not text.endswith("%")):
        raise UsageError(f"{option} must be a share, found {text!r}; write for example 2% or 0.02")
    return value


def read_threshold(fail_at: str, tolerate: str, alpha: float) -> Threshold:
    """Read what fails and what passes.

    Raises:
        UsageError: The values make no sense, alone or together.
    """
    from bench.stats.looks import Threshold

    try:
        return Threshold(
            fail_at=read_fraction(fail_at, "--fail-at"), tolerate=read_fraction(tolerate, "--tolerate"), alpha=alpha
        )
    except ValueError as error:
        raise UsageError(f"--fail-at, --tolerate, --alpha: {error}") from None


N = TypeVar("N", int, float)

BudgetOption = Annotated[
    str | None, typer.Option(help="Time to sample a case; 20 repetitions (<= 20s) are taken anyway.", show_default="2s")
]
TargetOption = Annotated[float, typer.Option(min=0.0001, max=1.0, help="Stop when the median is known within this.")]
DEFAULT_BUDGET_SECONDS = 2.0
DEFAULT_TARGET = 0.02
CasesExecutorOption = Annotated[str, typer.Option("--executor", metavar="NAME", help="forkserver, spawn or slurm.")]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Measure what this run lacks: its id, a beginning of it, its folder, or latest.",
        show_default="a new run",
    ),
]
TailOption = Annotated[
    bool,
    typer.Option(
        "--tail", help="Show p50 to p99: 3 processes sample until p99 has an interval or --budget (10min) ends."
    ),
]
LatencyOption = Annotated[
    str | None,
    typer.Option(
        metavar="pNN=TIME",
        help="A limit, for example p99=50ms: exit code 1 if not kept, 3 if undecided.",
        show_default="none",
    ),
]


def read_numbers(
    values: list[str] | None, option: str, kind: type[N], default: tuple[N, ...], least: N
) -> tuple[N, ...]:
    """Read a repeated option whose values may hold several numbers, separated by commas; each number once.

    Raises:
        UsageError: A value is no number of this kind, or less than the least.
    """
    if not values:
        return default
    numbers: list[N] = []
    for part in (part.strip() for value in values for part in value.split(",")):
        try:
            number = kind(part)
        except ValueError:
            word = "a whole number" if kind is int else "a number"
            raise UsageError(f"{option} needs {word}, found {part!r}; write for example {option} {least}") from None
        if not least <= number < float("inf"):
            raise UsageError(f"{option} must be {least} or more, found {part}")
        numbers.append(number)
    return tuple(dict.fromkeys(numbers))


def cells_of(models: list[str], axes: Axes) -> tuple[Cell, ...]:
    """Make the cells of these models over these axes.

    Raises:
        UsageError: A value means nothing in any cell.
    """
    from bench.suite.sweep import Sweep, refuse_idle

    cells = Sweep(axes={"model": tuple(models), **axes}).cells()
    refuse_idle(axes, lambda: cells)
    return cells


def read_cells(models: list[str], axes: Axes) -> tuple[Cell, ...]:
    """Make the cells of these models in infer mode, with batch size 1 unless the axes say otherwise."""
    return cells_of(models, {"mode": (Mode.INFER,), "batch_size": (1,), **axes})


def read_sampling(budget: str | None, target: float, *, has_tail: bool = False) -> Sampling:
    """Read when to stop measuring one case."""
    from bench.stats.stopping import with_tail

    seconds = parse_duration(budget, "--budget")
    sampling = Sampling(target=target, budget_seconds=seconds or DEFAULT_BUDGET_SECONDS)
    return with_tail(sampling, seconds) if has_tail else sampling


def read_limit(text: str | None) -> Limit | None:
    """Read `--latency`.

    Raises:
        UsageError: It is no limit.
    """
    try:
        return None if text is None else Limit.parse(text)
    except ValueError as error:
        raise UsageError(f"--latency {error}") from None


def exit_code(outcomes: list[Outcome], checked: Sequence[CheckedLimit] = ()) -> int:
    """Return 5 if no case could be measured, 1 if one does not keep its limit, 3 if that is undecided."""
    if Outcome.OK not in outcomes:
        return ExitCode.NOTHING
    verdicts = {one.verdict for one in checked}
    if LatencyVerdict.FAIL in verdicts:
        return ExitCode.REGRESSION
    return ExitCode.INCONCLUSIVE if LatencyVerdict.UNDECIDED in verdicts else ExitCode.FINE


DataOption = Annotated[
    str | None,
    typer.Option(
        metavar="synthetic|mnist[:ROOT]",
        help="Drawn digits, or MNIST in ROOT/MNIST/raw (default ROOT: data).",
        show_default="synthetic",
    ),
]
OneDeviceOption = Annotated[str | None, option_of("device")]
OnePrecisionOption = Annotated[str | None, option_of("precision")]
OneOptimizerOption = Annotated[
    str | None,
    typer.Option(help="sgd, adam, ..., also -fused or -foreach; own is the model's.", show_default="adam"),
]
TrainShapeOption = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        metavar="SHAPE",
        help="Shape of one example for a bare nn.Module, for example 3x48x48.",
        show_default="the model's own",
    ),
]
