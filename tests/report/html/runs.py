"""Runs for the report's tests: an ordinary one, a hostile one, a long one, and a comparison."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from bench.core.cell import Cell, Precision
from bench.core.claim import CheckedClaim
from bench.core.comparison import Comparison, ComparisonReason, ComparisonVerdict, Heading
from bench.core.estimate import Estimate
from bench.core.peaks import Peak
from bench.core.precision import Arithmetic
from bench.core.record import LayerCount, Outcome, Record
from bench.store.stored import StoredComparison, StoredRun
from tests.records import ENVIRONMENT, NOISY, make_claims, make_layers, make_record, make_sweep
from tests.stored_runs import make_run

SCRIPT = "<script>alert(1)</script>"
FORMULA = "=cmd|' /C calc'!A0"
BREAKOUT = "</script><img src=x onerror=alert(2)><!-- \u2028 \udcff '\"`${alert(3)}"

PEAK = Peak(
    arithmetic=Arithmetic.FP32, flops_per_second=2e12, bytes_per_second=40e9, measured_at="2026-11-23T17:00:00+00:00"
)


def ordinary_run(run_id: str = "20261123-175309-ab12cd", **changes: object) -> StoredRun:
    records = list(make_sweep())
    counters = replace(records[8].counters, layers=make_layers())
    records[8] = replace(records[8], counters=counters)
    fields: dict[str, Any] = {
        "started_at": "2026-11-23T17:53:09+00:00",
        "command": ("/usr/bin/bench", "run"),
        "environment": ENVIRONMENT,
        "records": tuple(records),
        "claims": make_claims(),
    }
    return make_run(**({"id": run_id} | fields | changes))


def growing_run() -> StoredRun:
    """Three batches and three depths, which fits can be made of."""
    batches = [make_record("my_net", size, step=0.004 + 0.0005 * size) for size in (1, 8, 64)]
    depths = [make_record(f"mlp@depth={size}", step=0.001 * max(4, size)) for size in (2, 4, 8, 16)]
    return make_run(id="growing", records=(*batches, *depths))


def run_with_peaks(run_id: str = "peaked") -> StoredRun:
    """Give the fp32 cells of the ordinary run a roof."""
    run = ordinary_run(run_id)
    records = (replace(r, peak=PEAK) if r.cell.precision is Precision.FP32 else r for r in run.records)
    return replace(run, records=tuple(records))


def hostile_run() -> StoredRun:
    """Everything that comes from outside tries to be markup, script or a formula."""
    layer = LayerCount(name=BREAKOUT, type=SCRIPT, parameters=3, flops_forward=5)
    first = make_record(SCRIPT, advice=(NOISY,))
    records: list[Record] = [
        replace(first, counters=replace(first.counters, layers=(layer,)), peak=replace(PEAK, measured_at=BREAKOUT)),
        make_record(SCRIPT, 16),
        make_record(SCRIPT, 32, Precision.BF16_AMP),
        make_record(FORMULA, step=None, outcome=Outcome.FAILED, reason=BREAKOUT),
        make_record("loud", step=None, outcome=Outcome.FAILED, reason=f"{SCRIPT} {'x' * 1_000_000}"),
        make_record("quote\"'><svg onload=alert(4)>", 2),
    ]
    claims = tuple(
        CheckedClaim(
            claim=replace(one.claim, id=SCRIPT, source=BREAKOUT),
            measured=one.measured,
            verdict=one.verdict,
            reason=BREAKOUT,
        )
        for one in make_claims()
    )
    return make_run(
        id=SCRIPT,
        started_at=BREAKOUT,
        command=("bench", "run", SCRIPT, BREAKOUT),
        environment=replace(ENVIRONMENT, host=SCRIPT, cpu=BREAKOUT, flags=((SCRIPT, BREAKOUT),)),
        records=tuple(records),
        claims=claims,
        missing=(Cell(model=SCRIPT, batch_size=8),),
        problems=(BREAKOUT,),
    )


def long_run(cells: int, steps: int = 12) -> StoredRun:
    """Make many cells: models x batch sizes x precisions, of which some fail and some are doubtful.

    Only the first hundred have phases: deriving the figures of thousands of cells is not what is tested.
    """
    precisions = (Precision.FP32, Precision.BF16_AMP)
    records = []
    for index in range(cells):
        model, rest = divmod(index, 10)
        batch, precision = 2 ** (rest // 2), precisions[rest % 2]
        failed = index % 97 == 96
        record = make_record(
            f"net_{model:04}",
            batch,
            precision,
            step=None if failed else 1e-3 * (1 + batch / 10) * (1 + math.sin(model) / 3),
            n=steps,
            outcome=Outcome.FAILED if failed else Outcome.OK,
            reason=f"RuntimeError: cell {index} broke" if failed else None,
            advice=(NOISY,) if index % 7 == 0 and not failed else (),
        )
        if index >= 100:
            record = replace(record, samples=record.samples[:1])
        records.append(record)
    return make_run(id="20261123-180000-000000", environment=ENVIRONMENT, records=tuple(records))


def compared_run() -> StoredRun:
    return make_run(
        id="20261123-190000-abcdef",
        environment=ENVIRONMENT,
        comparison=StoredComparison(
            comparisons=(
                _comparison("mlp/train/b8/cpu/fp32", ComparisonVerdict.SLOWER, 0.08),
                _comparison("my_net/train/b8/cpu/fp32", ComparisonVerdict.SAME, 0.002),
                Comparison(
                    cell_id="lost/train/b8/cpu/fp32",
                    cell_key="lost",
                    verdict=ComparisonVerdict.INCOMPARABLE,
                    reason=ComparisonReason.MISSING_SIDE,
                    facts=(("side", "head"), ("error", f"no module named {SCRIPT}")),
                ),
            ),
            heading=Heading(base="origin/main (1a2b3c4d5)", head="HEAD (9f8e7d6c5)", method="6 sessions of 8 quads"),
        ),
    )


def _comparison(cell: str, verdict: ComparisonVerdict, shift: float) -> Comparison:
    is_slower = verdict is ComparisonVerdict.SLOWER

    def side(seconds: float) -> Estimate:
        return Estimate(
            point=seconds, low=seconds * 0.99, high=seconds * 1.01, confidence=0.95, n=100, n_effective=8, method="test"
        )

    return Comparison(
        cell_id=cell,
        cell_key=cell,
        base=side(0.01),
        head=side(0.01 * math.exp(shift)),
        shift=shift,
        low=shift - 0.01,
        high=shift + 0.01,
        p_adjusted=0.004 if is_slower else None,
        minimum_detectable=0.03,
        session_shifts=tuple(shift + offset / 1000 for offset in (-9, -4, -1, 2, 5, 8)),
        verdict=verdict,
        reason=ComparisonReason.SLOWDOWN_CONFIRMED if is_slower else ComparisonReason.SLOWDOWN_EXCLUDED,
        facts=(("fail_at", 0.02), ("tolerate", 0.05), ("alpha", 0.05)),
    )
