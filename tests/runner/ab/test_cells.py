"""Two models, or two settings of one, as the two sides."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.core.cell import Cell, Mode, Precision
from bench.core.comparison import ComparisonVerdict
from bench.core.errors import UsageError
from bench.runner.ab import ratios
from bench.runner.ab.ratios import cells_of, compare_cells, measure_pairs
from bench.runner.ab.servers import Servers
from bench.runner.ab.stages import Settings
from bench.tables.comparison import ratio_text
from tests.runner.ab_fakes import FakeMachine, cell

SETTINGS = Settings(quads=2, seed=7)


def test_b_is_a_with_what_was_set() -> None:
    a, b = cells_of("my_net", None, {}, "precision=bf16-amp,batch-size=16")
    assert (a.model, a.batch_size, a.precision) == ("my_net", 8, Precision.FP32)
    assert b == replace(a, precision=Precision.BF16_AMP, batch_size=16)
    assert cells_of("my_net", "my_net@width=2", {}, None)[1] == replace(a, model="my_net@width=2")
    _, b = cells_of("net.py:f", None, {"input_shape": ((3, 8),)}, "input=10,threads=1")
    assert (b.input_shape, b.threads) == ((10,), 1)


@pytest.mark.parametrize(
    ("a", "b", "axes", "set_b", "words"),
    [
        (None, "mlp", {}, None, "need --model-a"),
        ("mlp", None, {}, None, "are both mlp"),
        ("mlp", "mlp", {}, "batch-size=8", "are both mlp"),
        ("mlp", None, {}, "fast", "'fast' is no setting"),
        ("mlp", None, {}, "speed=2", "no axis named 'speed'"),
        ("mlp", None, {}, "precision=fp7", "fp7"),
        ("mlp", None, {"batch_size": (8, 16)}, "precision=bf16", "2 cells"),
        ("mlp", None, {}, "device=cuda:0", "one device"),
        ("mlp", None, {}, "world-size=2", "both sides are one process of one seed; leave world_size out"),
        ("mlp", None, {}, "seed=2", "leave seed out"),
        ("mlp", None, {"mode": (Mode.INFER,)}, "optimizer=sgd", "optimizer sgd needs --mode train"),
    ],
)
def test_what_makes_no_sense_is_refused(
    a: str | None, b: str | None, axes: dict[str, tuple[int, ...]], set_b: str | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        cells_of(a, b, axes, set_b)


def test_two_models_are_judged_like_two_commits() -> None:
    machine = FakeMachine(speed=lambda _side, model: {"mlp": 1.0, "cnn": 1.3}[model])
    pair = cell("cnn : mlp")
    judged = measure_pairs(
        {pair: (cell("mlp"), cell("cnn"))}, SETTINGS, device="cpu", start=machine.start, environments={}
    )
    (comparison,) = judged.comparisons
    assert comparison.verdict is ComparisonVerdict.SLOWER
    assert comparison.shift == pytest.approx(math.log(1.3), abs=0.01)
    text = ratio_text(comparison, "mlp", "cnn", "step")
    assert text.startswith("cnn takes 1.297 times as long as mlp (1.2")
    assert text.endswith("): slower per step")


def test_other_batch_sizes_are_compared_per_example() -> None:
    machine = FakeMachine(speed=lambda side, _: 1.0 if side == "base" else 1.5)  # per step, at twice the batch
    a, b = cell("mlp"), Cell(model="mlp", batch_size=16)
    pair = cell("pair")
    judged = measure_pairs(
        {pair: (a, b)},
        SETTINGS,
        device="cpu",
        start=machine.start,
        environments={},
        offsets={pair.key: math.log(2)},
    )
    (comparison,) = judged.comparisons
    assert comparison.verdict is ComparisonVerdict.FASTER
    assert comparison.shift == pytest.approx(math.log(0.75), abs=0.01)
    assert "faster per example" in ratio_text(comparison, a.id, b.id, "example")


def test_the_budget_of_two_cells_begins_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deadlines: list[float | None] = []

    def look(servers: Servers, *_: Any) -> Any:
        deadlines.append(servers.deadline)
        raise UsageError("enough")

    seconds = itertools.count(0.0, 10.0)  # every look at the clock is ten seconds later
    monkeypatch.setattr(ratios, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(ratios, "_look", look)
    settings = replace(SETTINGS, budget_seconds=60.0)
    waited: list[int] = []
    with pytest.raises(UsageError, match="enough"):
        compare_cells(cell("mlp"), cell("cnn"), settings, tmp_path, get_ready=lambda: waited.append(len(deadlines)))
    assert deadlines == [60.0]
    assert waited == [0], "waiting for a quiet machine comes first"
