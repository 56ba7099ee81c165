from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from bench.core.advice import AdviceKind
from bench.core.cell import Precision
from bench.measure.profile import advice
from bench.measure.profile.advice import try_option
from tests.measure.profile.small import WIDTH, cell, workload


class SlowOnSmallBatches(nn.Module):
    """Does forty times the work for batches below 16, whatever the machine does meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        for _ in range(40 if x.shape[0] < 16 else 1):
            x = self.layer(x)
        return x


def test_an_option_that_helps_is_measured_to_help_per_example() -> None:
    small, large = cell(8), cell(16)
    trial = try_option(workload(SlowOnSmallBatches), small, large, kind=AdviceKind.BATCH_TOO_SMALL, option="-b 16")
    assert trial.has_helped and not trial.has_hurt
    assert trial.low <= trial.ratio <= trial.high < 0.5
    assert trial.tried_seconds < trial.base_seconds
    assert trial.pairs == 16


def test_an_option_that_cannot_run_says_why() -> None:
    tf32 = replace(cell(), precision=Precision.TF32)
    trial = try_option(workload(SlowOnSmallBatches), cell(), tf32, kind=AdviceKind.TF32_OFF, option="-p tf32")
    assert trial.ratio is None
    assert "CUDA" in trial.reason

    def breaks():
        raise RuntimeError("cannot be built")

    trial = try_option(workload(breaks), cell(), cell(4), kind=AdviceKind.TF32_OFF, option="")
    assert trial.reason == "RuntimeError: cannot be built"


def test_switches_of_one_side_do_not_stand_while_the_other_runs(monkeypatch) -> None:
    monkeypatch.setattr(advice, "BLOCK_SECONDS", 1e-6)
    seen: dict[int, set[int]] = {}

    class Looks(nn.Linear):
        def __init__(self) -> None:
            super().__init__(WIDTH, 4)

        def forward(self, x):
            seen.setdefault(x.shape[0], set()).add(torch.get_num_threads())
            return super().forward(x)

    try_option(workload(Looks), cell(8), replace(cell(4), threads=2), kind=AdviceKind.TF32_OFF, option="", quads=1)
    assert seen == {8: {1}, 4: {2}}
