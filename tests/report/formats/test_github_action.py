from __future__ import annotations

import json

import jsonschema
import pytest

from bench.report.formats.github_action_benchmark import to_bigger_is_better, to_smaller_is_better
from tests.records import STARTED_AT, make_record
from tests.report.formats.runs import RUN, UNMEASURED
from tests.stored_runs import make_run

# What the action's own type `BenchmarkResult` asks for; further keys are dropped by it.
RESULTS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "value", "unit"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "value": {"type": "number"},
            "unit": {"type": "string", "minLength": 1},
            "range": {"type": "string", "pattern": "^± [0-9]"},
            "extra": {"type": "string"},
        },
    },
}


@pytest.mark.parametrize("write", [to_smaller_is_better, to_bigger_is_better])
def test_it_is_an_array_of_benchmark_results_with_names_of_their_own(write) -> None:
    results = json.loads(write(RUN))
    jsonschema.validate(results, RESULTS)
    names = [(result["name"], result["unit"]) for result in results]
    assert len(names) == len(set(names))
    assert not any(name.startswith(tuple(UNMEASURED)) for name, _ in names)


def test_a_step_is_in_seconds_with_half_its_interval_and_its_doubts() -> None:
    results = {result["name"]: result for result in json.loads(to_smaller_is_better(RUN))}
    step = results["mlp/train/b8/cpu/fp32: step"]
    summary = next(one.summary for one in RUN.measured if one.record.cell.id == "mlp/train/b8/cpu/fp32")
    assert (step["value"], step["unit"]) == (summary.step.point, "s")
    assert float(step["range"].removeprefix("± ")) == pytest.approx(
        (summary.step.high - summary.step.low) / 2, rel=0.01
    )
    assert "doubts: noisy-samples, busy-machine" in step["extra"]
    assert "fingerprint" in step["extra"]
    peak = results["mlp/train/b8/cpu/fp32: step resident"]
    assert (peak["value"], peak["unit"]) == (210_000_000, "bytes")


def test_throughput_grows_and_language_models_have_tokens_too() -> None:
    run = make_run(id="r", started_at=STARTED_AT, records=(make_record(step=0.5, tokens_per_example=64),))
    results = json.loads(to_bigger_is_better(run))
    assert {result["unit"]: result["value"] for result in results} == pytest.approx(
        {"examples/s": 8 / 0.5, "tokens/s": 64 * 8 / 0.5}, rel=0.01
    )


def test_units_do_not_change_with_the_size_of_a_figure() -> None:
    for seconds in (1e-7, 1.0, 1e4):
        (step, _) = json.loads(
            to_smaller_is_better(make_run(id="r", started_at=STARTED_AT, records=(make_record(step=seconds),)))
        )
        assert step["unit"] == "s"
