"""The six errors of stepbench: everything a user can cause is one of them, and ends in its exit code.

    BenchError                          exit 2: what all of them are
    ├── UsageError                      an option, a suite, claim or data file, a device or a name that makes no sense
    ├── ModelError                      no such model, or one that cannot be built, fed or used
    ├── StoreError                      a results folder, a file in it or a history that cannot be read or written
    ├── IncomparableError               exit 4: the two sides were not measured under the same conditions
    └── NothingMeasuredError            exit 5: nothing was measured, or a base is missing

A message says what was asked, what was found and what to do, in one line.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What every command answers to the shell; CI never has to parse text."""

    FINE = 0
    REGRESSION = 1  # or a claim mismatch; with --strict a cell that failed
    USAGE = 2
    INCONCLUSIVE = 3  # only with --strict
    UNFIT = 4  # environment unfit, or the sides are incomparable
    NOTHING = 5  # nothing measured, or a base is missing
    INTERNAL = 70  # an error of stepbench itself, never a verdict; the number is that of sysexits.h


class BenchError(Exception):
    """Base of every error that the user can fix; printed as one line."""

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """An option, a file that a person writes, or a name makes no sense here."""


class ModelError(BenchError):
    """A model is not known, or cannot be imported, built or fed."""


class StoreError(BenchError):
    """A results folder, a file in it or a history cannot be read or written.

    Args:
        is_other_version: A newer stepbench wrote it, or one too old to be read: it is left alone, never measured again.
    """

    def __init__(self, message: str, *, is_other_version: bool = False) -> None:
        super().__init__(message)
        self.is_other_version = is_other_version


class IncomparableError(BenchError):
    """Two measurements were not taken under the same conditions."""

    exit_code = ExitCode.UNFIT


class NothingMeasuredError(BenchError):
    """There is nothing to judge: no cell was measured, or a base is missing."""

    exit_code = ExitCode.NOTHING
