from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.core.comparison import Comparison, ComparisonReason, ComparisonVerdict
from bench.runner.ab.calibration import Selftest, added_shifts
from bench.runner.ab.run import Compared
from bench.runner.ab.sides import Side
from bench.runner.ab.stages import Comparing, Settings
from tests.records import ENVIRONMENT
from tests.runner.ab_fakes import FakeMachine, cell


def made(verdict: str) -> Comparison:
    reason = ComparisonReason.SLOWDOWN_EXCLUDED
    return Comparison(cell_id="mlp", cell_key="k", verdict=ComparisonVerdict(verdict), reason=reason)


@pytest.mark.parametrize(
    ("unchanged", "injected", "on_average", "is_passed"),
    [
        ("same", "slower", "slower", True),
        ("inconclusive", "slower", "slower", True),
        ("slower", "slower", "slower", False),
        ("faster", "slower", "slower", False),
        ("same", "same", "slower", False),
        ("same", "slower", "same", False),
        ("same", "inconclusive", "slower", False),
        ("same", "faster", "slower", False),
    ],
)
def test_it_passes_without_alarm_and_without_a_miss_only(
    unchanged: str, injected: str, on_average: str, is_passed: bool
) -> None:
    found = Selftest(
        unchanged=(made(unchanged),),
        injected=(made(injected),),
        on_average=(made(on_average),),
        asked=math.log(1.05),
        added={},
        unfit=None,
        seconds=1.0,
    )
    assert found.is_passed is is_passed


def test_what_was_really_added_is_told_beside_what_was_asked() -> None:
    mlp = cell("mlp")
    settings = Settings(quads=2, seed=7, slow=(("head", 0.05),))
    judged = Comparing((mlp,), settings, FakeMachine().start).run()
    side = Side(name="base", given=".", folder=Path(), root=Path())
    compared = Compared(
        folder=Path(),
        base=side,
        head=side,
        comparisons=judged.comparisons,
        sessions=judged.sessions,
        environment=ENVIRONMENT,
        differing=(),
        unfit=None,
        is_cut_short=False,
        seed=7,
        seconds=1.0,
    )
    assert added_shifts(compared, 0.05)[mlp.key] == pytest.approx(math.log(1.05), abs=0.002)
