"""`bench check`: documented values against what the models measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import look, print_json
from bench.core.claim import ClaimVerdict
from bench.core.errors import ExitCode


def command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Claim files (*.toml); default: all that come with stepbench.", show_default=False),
    ] = None,
    torchvision: Annotated[
        bool, typer.Option("--torchvision", help="What torchvision documents of its classification models.")
    ] = False,
    all_rows: Annotated[bool, typer.Option("--all", help="Print matches too where there are many.")] = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Check documented values against measured ones; exit code 1 if one does not hold.

    An ERRATUM is a document known to be wrong: it stays fine while the value on record is measured again.
    """
    from bench.runner.checking import check_files, check_shipped, check_torchvision

    if torchvision:
        checked = check_torchvision()
    elif files:
        checked = check_files(files)
    else:
        checked = check_shipped()
    if format is options.Format.JSON:
        print_json("check", claims=checked)
    else:
        from bench.report.claims import claims_summary
        from bench.report.terminal import claims_table

        is_long = torchvision and not all_rows
        shown = [claim for claim in checked if not is_long or claim.verdict is not ClaimVerdict.MATCH]
        if shown:
            print(claims_table(shown, **look()))
        if is_long:
            print(f"{claims_summary(checked)}; --all shows every row")
    is_wrong = any(claim.verdict is ClaimVerdict.MISMATCH for claim in checked)
    return ExitCode.REGRESSION if is_wrong else ExitCode.FINE
