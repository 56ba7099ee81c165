"""Results of the steps of CI, made by hand."""

from __future__ import annotations

from bench.core.comparison import Comparison, ComparisonReason, ComparisonVerdict, Heading
from bench.core.errors import ExitCode
from bench.core.estimate import Estimate
from bench.core.gate import GateRow, GateVerdict
from bench.report.verdict import Compared, Gated, StepResult
from tests.records import make_claims
from tests.report.formats.runs import gate_row

THRESHOLD = (("fail_at", 0.02), ("tolerate", 0.05), ("alpha", 0.05))


def estimate(seconds: float) -> Estimate:
    return Estimate(
        point=seconds, low=seconds * 0.99, high=seconds * 1.01, confidence=0.95, n=800, n_effective=8, method="by hand"
    )


def comparison(verdict: ComparisonVerdict, model: str = "net.py:net", batch_size: int = 8) -> Comparison:
    shift = {ComparisonVerdict.SLOWER: 0.0953, ComparisonVerdict.SAME: 0.002}.get(verdict)
    reasons = {
        ComparisonVerdict.SLOWER: ComparisonReason.SLOWDOWN_CONFIRMED,
        ComparisonVerdict.SAME: ComparisonReason.SLOWDOWN_EXCLUDED,
        ComparisonVerdict.INCONCLUSIVE: ComparisonReason.TOO_FEW_SESSIONS,
    }
    return Comparison(
        cell_id=f"{model}/train/b{batch_size}/cpu/fp32",
        cell_key=f"{model}{batch_size}",
        base=estimate(0.010),
        head=estimate(0.010 * 1.1) if shift else None,
        shift=shift,
        low=None if shift is None else shift - 0.01,
        high=None if shift is None else shift + 0.01,
        p_adjusted=0.004 if verdict is ComparisonVerdict.SLOWER else None,
        minimum_detectable=0.02,
        session_shifts=() if shift is None else (shift,) * 8,
        verdict=verdict,
        reason=reasons.get(verdict, ComparisonReason.MISSING_SIDE),
        facts=(("side", "head"), ("error", "ImportError: no x"))
        if verdict is ComparisonVerdict.INCOMPARABLE
        else THRESHOLD,
    )


def gate_result(*rows: GateRow, code: ExitCode) -> StepResult:
    lines = tuple(None if row.verdict is GateVerdict.SAME else "gate,2.15,net.py:net,145" for row in rows)
    return StepResult(
        name="gate",
        command="bench gate suite.toml",
        exit_code=code,
        answer=Gated(suite="suite", torch="2.15", rows=rows, lines=lines),
    )


def ab_result(*comparisons: Comparison, code: ExitCode) -> StepResult:
    heading = Heading(base="HEAD^1 (1a2b3c4d5)", head="HEAD (6e7f8a9b0)", method="6 sessions of 8 quads, 2 min, seed 5")
    answer = Compared(comparisons=comparisons, heading=heading)
    return StepResult(name="ab", command="bench ab HEAD^1 HEAD net.py:net", exit_code=code, answer=answer)


PASSED = (
    gate_result(gate_row(GateVerdict.SAME), code=ExitCode.FINE),
    StepResult(name="check", command="bench check", exit_code=ExitCode.FINE, answer=make_claims()[:2]),
    ab_result(comparison(ComparisonVerdict.SAME), code=ExitCode.FINE),
)
FAILED = (
    gate_result(gate_row(GateVerdict.MORE), gate_row(GateVerdict.SAME, "other"), code=ExitCode.REGRESSION),
    StepResult(name="check", command="bench check claims.toml", exit_code=ExitCode.REGRESSION, answer=make_claims()),
    ab_result(
        comparison(ComparisonVerdict.SAME, batch_size=2),
        comparison(ComparisonVerdict.SLOWER),
        comparison(ComparisonVerdict.INCOMPARABLE, "broken.py:net"),
        code=ExitCode.REGRESSION,
    ),
)
SILENT = StepResult(
    name="gate",
    command="bench gate",
    exit_code=ExitCode.NOTHING,
    problem="bench: no counters of suite 'gate'. Put them on record: bench gate --update",
)
