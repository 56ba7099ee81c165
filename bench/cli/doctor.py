"""`bench doctor`: is this machine fit to measure on?"""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import print_json
from bench.core.errors import ExitCode


def command(
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 4 if times here would be doubtful.")] = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Show devices, precisions, how busy the machine is, and what measuring itself costs."""
    from bench.runner.doctor import diagnose

    diagnosis = diagnose()
    if format is options.Format.JSON:
        print_json("doctor", fingerprint=diagnosis.environments[0].fingerprint, diagnosis=diagnosis)
    else:
        from bench.cli.doctor_text import doctor_text

        print(doctor_text(diagnosis))
    return ExitCode.UNFIT if strict and diagnosis.doubts else ExitCode.FINE
