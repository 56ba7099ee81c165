"""The columns of `cells` that are times: the step, its tails, its phases, and the start of cells (`--columns cold`)."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.record import Phase
from bench.core.units import format_count
from bench.tables.cell_values import CellRow, are_texts, has_converged, own_phases, phase_share, process_count
from bench.tables.columns import INTERVAL, Shown, TableColumn, flag, integer, read, real, text
from bench.tables.figures import percent, significant
from bench.tables.tails import infer_seconds, tail_columns

PAGE = frozenset({"html"})  # has a separate section for phases
SMALL = frozenset({"html", "latex"})


def percent_2(fraction: float) -> str:
    """Write a fraction as percent with two figures."""
    return significant(fraction * 100, 2)


def natural(number: float) -> str:
    """Write a count without decimals."""
    return f"{number:.0f}"


def payback_text(row: CellRow) -> str | None:
    """Write after how many steps compiling has paid for itself, or why there is no such number."""
    found = row.payback
    return None if found is None else found.reason or f"{found.steps:,}"


def _are_mixed(rows: Sequence[CellRow]) -> bool:
    return not are_texts(rows)


START = (
    real(
        "build_seconds",
        "s",
        "time to build the model, its optimizer and a batch on the device, torch loaded before; of the slowest rank",
        "start.build_seconds",
        Shown(name="build", scale="s", view="cold", place=1, rank=3, always=True),
    ),
    real(
        "first_step_seconds",
        "s",
        "the first step; compiles and allocates",
        "start.first_step_seconds",
        Shown(name="first step", scale="s", view="cold", place=2, always=True),
    ),
    real(
        "steps_until_steady",
        "steps",
        "first steps after which those of the warm-up take as long as timed ones; median over the processes",
        "start.steps_until_steady",
        Shown(name="steady", unit="after steps", view="cold", place=8, rank=6, write="{:g}".format, always=True),
    ),
    real(
        "startup_seconds",
        "s",
        "build, plus the time that the steps until steady took beyond steady ones",
        "start.startup_seconds",
        Shown(name="start-up", scale="s", view="cold", place=9, rank=6, always=True),
    ),
    real(
        "compile_seconds",
        "s",
        "time of a compiled cell's first steps beyond steady ones, with no code compiled before (`--cold-start`)",
        "start.compile_seconds",
        Shown(name="compile", scale="s", view="cold", place=5, rank=4),
    ),
    real(
        "cold_start_seconds",
        "s",
        "time from the start of Python to the end of the first step, nothing compiled before (`--cold-start`)",
        "start.cold_seconds",
        Shown(name="cold start", scale="s", view="cold", place=6, rank=2),
    ),
    real(
        "cached_start_seconds",
        "s",
        "the same in a second process, which finds the code that the first one compiled",
        "start.cached_seconds",
        Shown(name="cached start", scale="s", view="cold", place=7, rank=5),
    ),
    integer(
        "compile_payback_steps",
        "steps",
        "steps after which the compiled cell has taken less time in total than the same cell not compiled",
        "payback.steps",
        Shown(name="paid off", unit="after steps", view="cold", place=4, rank=1, get=payback_text, write=str),
    ),
    text(
        "compile_payback_reason",
        "why there is none: `as fast` if both intervals overlap, else `never` if the compiled step is not shorter",
        "payback.reason",
    ),
)


_PHASE_HEADERS = {Phase.FORWARD: "fwd", Phase.LOSS: "loss", Phase.BACKWARD: "bwd", Phase.OPTIMIZER: "opt"}


def _phase(phase: Phase, header: str, meaning: str, place: int) -> TableColumn:
    shown = Shown(
        name=header,
        unit="%",
        place=place,
        rank=2,
        get=lambda row: phase_share(row.summary, phase),
        write=percent,
        together="phases",
        tight=True,
        always=True,
        when=lambda rows: any(row.summary.phase(phase) is not None for row in rows),
        hidden_in=PAGE,
    )
    return real(f"{phase.value}_median_seconds", "s", meaning, lambda row: row.summary.phase(phase), shown)


TIMES = (
    real(
        "step_median_seconds",
        "s",
        "latency: median of the whole step, measured unsplit",
        "summary.step.point",
        Shown(name="step", scale="s", place=1, half=read("summary.step.half_width"), always=True),
        Shown(name="step", scale="s", view="cold", place=3, half=read("summary.step.half_width"), always=True),
        openmetrics="step_seconds",
    ),
    real("step_low_seconds", "s", f"lower end {INTERVAL}", "summary.step.low", openmetrics="step_low_seconds"),
    real("step_high_seconds", "s", f"upper end {INTERVAL}", "summary.step.high", openmetrics="step_high_seconds"),
    real("step_p10_seconds", "s", "10 % of the steps were faster", "summary.step_p10_seconds"),
    real("step_p90_seconds", "s", "10 % of the steps were slower", "summary.step_p90_seconds"),
    *tail_columns("step", "the steps of an inference", infer_seconds, skips_median=True),
    integer(
        "step_n",
        "steps",
        "steps that were timed",
        "summary.step.n",
        Shown(name="steps", place=20, rank=10, write=natural, hidden_in=SMALL),
        openmetrics="steps",
    ),
    real(
        "step_n_effective",
        "values",
        "independent values that they are worth after autocorrelation; the processes if there are several",
        "summary.step.n_effective",
        Shown(name="worth", place=21, rank=10, write=natural, hidden_in=SMALL),
        openmetrics="steps_effective",
    ),
    real(
        "step_relative_dispersion",
        "fraction",
        "noise: IQR / median of the steps",
        "summary.dispersion",
        Shown(name="noise", unit="%", place=19, rank=9, write=percent_2, hidden_in=SMALL),
    ),
    *START,
    integer("step_processes", "processes", "fresh processes that the steps come from", process_count),
    flag("step_converged", "whether the interval reached its target in the budget", has_converged),
    real(
        "examples_per_second",
        "examples/s",
        "throughput: batch size * world size / step",
        "summary.examples_per_second",
        Shown(name="examples", unit="/s", place=11, rank=1, write=format_count, when=_are_mixed),
        Shown(name="examples", unit="/s", place=11, rank=2, write=format_count, when=are_texts),
        Shown(
            name="examples",
            unit="/s",
            view="ranks",
            place=2,
            rank=1,
            get=read("scaling.examples_per_second"),
            write=format_count,
        ),
        openmetrics="examples_per_second",
    ),
    real(
        "tokens_per_second",
        "tokens/s",
        "throughput of a language model",
        "summary.tokens_per_second",
        Shown(name="tokens", unit="/s", place=12, write=format_count, when=are_texts),
        Shown(name="tokens", unit="/s", place=12, rank=6, write=format_count, when=_are_mixed),
        openmetrics="tokens_per_second",
        bencher="tokens-per-second",
    ),
    real(
        "token_seconds",
        "s",
        "step / tokens of all its examples: what a token costs, not how long one takes to appear",
        "summary.seconds_per_token",
        Shown(name="token", scale="s", place=13, rank=1, when=are_texts),
        Shown(name="token", scale="s", place=13, rank=6, hidden_in=PAGE, when=_are_mixed),
        openmetrics="token_seconds",
        bencher="seconds-per-token",
    ),
    *(
        _phase(phase, header, f"median of the {phase.value} phase", place)
        for place, (phase, header) in enumerate(_PHASE_HEADERS.items(), 2)
    ),
    text(
        "own_phases",
        "phases that the step marked itself, in % of the step",
        own_phases,
        Shown(name="own phases", unit="%", place=9, rank=2, right=False, hidden_in=PAGE),
        stored=False,
    ),
    real("phase_sum_seconds", "s", "sum of the phase medians", "summary.phase_sum_seconds"),
    real(
        "residual_fraction",
        "fraction",
        "1 - phase sum / step: the share of the step that no phase explains; negative if the marks cost time",
        "summary.residual_fraction",
        Shown(name="gap", unit="%", place=10, rank=7, write=lambda f: f"{f * 100:+.0f}", hidden_in=SMALL),
    ),
)
