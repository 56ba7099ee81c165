"""What generating and sampling share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.core.progress import waited_for
from bench.core.record import Sampling
from bench.measure.scenarios import calls
from bench.stats.stopping import FEWEST_STEPS


@pytest.mark.parametrize(("device", "warmups"), [("cuda:0", 2 + 64), ("cpu", 2)])
def test_a_first_call_that_compiles_is_no_second_of_work(
    monkeypatch: pytest.MonkeyPatch, device: str, warmups: int
) -> None:
    """The host loads libraries or compiles for a minute, in which an accelerator idles (A5)."""
    now = [0.0]
    seconds = iter([60.0])

    def warm_up() -> None:
        now[0] += next(seconds, 2**-6)

    def run() -> float:
        now[0] += 2**-6
        return 2**-6

    monkeypatch.setattr(calls, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    made, _ = calls.repeat(run, warm_up, device, Sampling(budget_seconds=0.01, min_steps=2))
    assert made == warmups


def test_the_first_run_says_what_all_may_take() -> None:
    heard: list[float] = []
    with waited_for(heard.append):
        calls.repeat(lambda: 32.0, lambda: None, "cpu", Sampling(budget_seconds=0.01))
    assert heard == [2 * FEWEST_STEPS * 32.0]
