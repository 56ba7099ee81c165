"""The errors of stepbench: everything a user can cause derives from `BenchError`.

    BenchError                          exit 2: wrong usage
    ├── UnknownModelError               (LookupError)  no model of that name
    ├── ModelError                      the user's model or workload cannot be built or used
    ├── SuiteError                      (ValueError)   an axis value or a suite file that makes no sense
    ├── DeviceError                     (LookupError)  a device that is not there
    ├── DataError                       (ValueError)   a data set that is not there, damaged, or of no use to the model
    ├── ClaimError                      (ValueError)   a claim file that cannot be read
    ├── StoreError                      (OSError)      a results folder or record that cannot be read or written
    │   └── SchemaError                                a file or a history written by a newer stepbench
    ├── HistoryError                    a history database that cannot be reached, read or changed
    ├── IncomparableError               exit 4: the two sides were not measured under the same conditions
    └── NothingMeasuredError            exit 5: nothing was measured, or a base is missing

A message says what was asked, what was found and what to do, in one line.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What every command answers to the shell; CI never has to parse text."""

    FINE = 0
    REGRESSION = 1  # or a claim mismatch
    USAGE = 2
    INCONCLUSIVE = 3  # only with --strict
    UNFIT = 4  # environment unfit, or the sides are incomparable
    NOTHING = 5  # nothing measured, or a base is missing
    INTERNAL = 70  # an error of stepbench itself, never a verdict; the number is that of sysexits.h


class BenchError(Exception):
    """Base of every error that is the user's to mend; printed as one line."""

    exit_code = ExitCode.USAGE


class UnknownModelError(BenchError, LookupError):
    """No model answers to the name that was asked for."""


class ModelError(BenchError):
    """A user's model or workload cannot be imported, built or fed."""


class SuiteError(BenchError, ValueError):
    """An axis value, an option or a suite file makes no sense."""


class DeviceError(BenchError, LookupError):
    """The device that was asked for is not on this machine."""


class DataError(BenchError, ValueError):
    """A data set is not there, is damaged, or does not fit the model."""


class ClaimError(BenchError, ValueError):
    """A claim file cannot be understood."""


class StoreError(BenchError, OSError):
    """A results folder or a file in it cannot be read or written."""


class SchemaError(StoreError):
    """A file was written by a newer stepbench than this one."""


class HistoryError(BenchError):
    """A history database, or what was asked of it, makes no sense or cannot be reached."""


class IncomparableError(BenchError):
    """Two measurements were not taken under the same conditions."""

    exit_code = ExitCode.UNFIT


class NothingMeasuredError(BenchError):
    """There is nothing to judge: no cell was measured, or a base is missing."""

    exit_code = ExitCode.NOTHING
