"""Calibrate: run an A/A comparison and keep what it says of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.core.errors import IncomparableError, NothingMeasuredError
from bench.report.calibration import Noise
from bench.runner.ab import Progress
from bench.runner.calibration import Calibration, CellNoise, take_apart, write_calibration
from bench.runner.comparing import Request, Started, compare_sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A calibration that was just made, and where it is kept."""

    path: Path
    calibration: Calibration

    @property
    def noises(self) -> tuple[Noise, ...]:
        """The rows of its report."""
        return tuple(_row(cell) for cell in self.calibration.cells)


def calibrate(request: Request, listen: Callable[[Started | Progress], None]) -> Calibrated:
    """Measure unchanged code against itself, take the noise apart, and keep it.

    Raises:
        IncomparableError: The machine is unfit; what it does now is not what it usually does.
        NothingMeasuredError: No cell has three good sessions.
        BenchError: As `compare_sides`.
    """
    compared = compare_sides(request, listen)
    if compared.unfit:
        raise IncomparableError(f"this machine cannot be calibrated now: {compared.unfit}")
    cells = dict.fromkeys(one.cell for session in compared.sessions for one in session.cells)
    settings = request.settings
    found = (take_apart(compared.sessions, cell, settings.quads, settings.threshold.alpha) for cell in cells)
    noises = tuple(noise for noise in found if noise is not None)
    if not noises:
        raise NothingMeasuredError("nothing was calibrated: no cell has three sessions that count; run more --sessions")
    calibration = Calibration(
        fingerprint=compared.environment.fingerprint,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        cells=noises,
    )
    path = write_calibration(request.results, calibration)
    return Calibrated(path=path, calibration=calibration)


def _row(cell: CellNoise) -> Noise:
    return Noise(
        cell_id=cell.cell_id,
        sessions=cell.sessions,
        within=cell.within,
        between=cell.between,
        best_quads=cell.best_quads,
        detectable=cell.detectable,
        slot_shift=cell.slot_shift,
        slot_p=cell.slot_p,
    )
