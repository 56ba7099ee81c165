"""Check documented values against measured ones.

Exit code 1 if one is wrong. An ERRATUM is a value known to be wrong: it passes while the measurement is the recorded
one. A claim of time that is false on this machine, or INCONCLUSIVE, fails only with --strict.

Examples:
    bench check
    bench check my_claims.toml --time
    bench check --timm
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer
from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.tables.document import Document

PANEL = "Understand a model"


def command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Claim files (*.toml).", show_default="all that come with stepbench"),
    ] = None,
    torchvision: Annotated[
        bool, typer.Option("--torchvision", help="Check what torchvision documents of its classification models.")
    ] = False,
    timm: Annotated[
        bool, typer.Option("--timm", help="Check what timm publishes of its models; takes minutes.")
    ] = False,
    time: Annotated[
        bool, typer.Option("--time", help="Also measure claims of time, in interleaved processes; takes minutes.")
    ] = False,
    device: Annotated[str, typer.Option("-d", "--device", help="For --time: cpu, cuda or cuda:N.")] = "cpu",
    sessions: Annotated[
        int, typer.Option(min=6, max=18, help="For --time: sessions, each with a fresh pair of processes.")
    ] = 9,
    quads: Annotated[int, typer.Option(min=1, help="For --time: quads (4 visits) per session and claim.")] = 8,
    seed: options.CoinsOption = None,
    void: options.VoidOption = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 if a claim of time is false here, 3 if one is undecided.")
    ] = False,
    all_rows: Annotated[
        bool, typer.Option("--all", help="With --torchvision or --timm: print every row, not only differences.")
    ] = False,
    timeout: options.LimitOption = None,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting, watching_sessions
    from bench.runner.claims import check_files, check_shipped, check_timm, check_torchvision

    if torchvision and timm:
        raise UsageError("--torchvision and --timm are two lists of claims; check one after the other")
    if (torchvision or timm) and (files or time):
        library = "--timm" if timm else "--torchvision"
        raise UsageError(f"{library} checks its own claims, which are counts; leave out files and --time")
    limit = options.parse_duration(timeout, "--timeout")
    with waiting(is_quiet=quiet):
        if torchvision:
            checked = check_torchvision(timeout_seconds=limit)
        elif timm:
            checked = check_timm(timeout_seconds=limit)
        elif files:
            checked = check_files(files, timeout_seconds=limit)
        else:
            checked = check_shipped(timeout_seconds=limit)
    if time:
        from bench.claims.ratios import is_timed
        from bench.runner.ab.ratios import check_times
        from bench.runner.ab.stages import Settings, draw_seed

        drawn = draw_seed() if seed is None else seed
        settings = Settings(sessions=sessions, quads=quads, seed=drawn, judges_state=void, timeout_seconds=limit)
        claims = [one.claim for one in checked if is_timed(one.claim)]
        with watching_sessions(is_quiet=quiet) as listen:
            measured = iter(check_times(claims, settings=settings, device=device, listen=listen))
        checked = tuple(next(measured) if is_timed(one.claim) else one for one in checked)
    hidden = () if all_rows else (ClaimVerdict.MATCH,) if torchvision else _AS_RECORDED if timm else ()
    answer("check", format, lambda: _document(checked, hidden), claims=checked)
    return exit_code(checked, is_strict=strict)


_AS_RECORDED = (ClaimVerdict.MATCH, ClaimVerdict.ERRATUM)
"""Verdicts left out of timm's table: most of its GMACs are errata, because its counter adds normalisation."""


def _document(checked: tuple[CheckedClaim, ...], hidden: tuple[ClaimVerdict, ...]) -> Document:
    from bench.tables.claims import claims_document, claims_summary
    from bench.tables.document import Text

    shown = [claim for claim in checked if claim.verdict not in hidden]
    rest = [Text(text=f"{claims_summary(checked)}; --all shows every row")] if hidden else []
    return [*(claims_document(shown)[1 if hidden else 0 :] if shown else ()), *rest]


def exit_code(checked: Sequence[CheckedClaim], *, is_strict: bool) -> ExitCode:
    """Return the exit code for all claims: a wrong count is wrong on every machine, a wrong time only on this one."""
    wrong = [claim for claim in checked if claim.verdict is ClaimVerdict.MISMATCH]
    if any(claim.interval is None or is_strict for claim in wrong):
        return ExitCode.REGRESSION
    is_open = any(claim.verdict is ClaimVerdict.INCONCLUSIVE for claim in checked)
    return ExitCode.INCONCLUSIVE if is_strict and is_open else ExitCode.FINE
