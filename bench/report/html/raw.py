"""The raw samples behind the rows, small enough to travel with the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.core.record import Phase, Record, Sample
from bench.report.html.contract import Row

BUDGET = 200_000
"""Values that a page carries at most; about a megabyte."""
_FEWEST = 20
_MOST = 2_000
_RESOLUTION = 2_000
"""Values are whole multiples of the median / this: half a per mille, far below any noise."""


def raw_samples(rows: Sequence[Row]) -> tuple[dict[int, Any], str]:
    """Take the unsplit steps of every row, thinned where there are too many; and say so.

    Returns:
        By row, a list of processes: `unit` seconds per value, `steps` and `warm` as whole multiples of it, `every`
        which step was taken, `of` how many there were, `clock`; and a sentence for people.
    """
    limit = min(_MOST, max(_FEWEST, BUDGET // max(1, len(rows))))
    found, is_thinned = {}, False
    for row in rows:
        if series := row.record.process_seconds(Phase.STEP):
            share = max(1, limit // len(series))
            found[row.index] = [
                _encoded(seconds, sample, share)
                for seconds, sample in zip(series, _first_ranks(row.record), strict=True)
            ]
            is_thinned = is_thinned or any(one["every"] > 1 for one in found[row.index])
    if not is_thinned:
        return found, ""
    return found, (
        f"Of each cell at most {limit:,} steps travel with this page, taken at even distances; "
        "all are in the run's folder, records/<cell-key>.json."
    )


def _first_ranks(record: Record) -> list[Sample]:
    """Return one sample per fresh process: of ranks that trained together, the first, whose warm-up stands for all."""
    found: dict[int, Sample] = {}
    samples = [sample for sample in record.samples if sample.phase is Phase.STEP and sample.seconds]
    if record.cell.world_size == 1:
        return samples
    for sample in samples:
        found.setdefault(sample.process, sample)
    return list(found.values())


def _encoded(seconds: Sequence[float], sample: Sample, limit: int) -> dict[str, Any]:
    every = -(-len(seconds) // limit)
    middle = sorted(seconds)[len(seconds) // 2]
    unit = (middle or max(seconds) or 1.0) / _RESOLUTION
    return {
        "unit": float(f"{unit:.6g}"),
        "steps": [round(second / unit) for second in seconds[::every]],
        "warm": [round(second / unit) for second in sample.warmup_seconds[:40]],
        "every": every,
        "of": len(seconds),
        "clock": sample.clock,
    }
