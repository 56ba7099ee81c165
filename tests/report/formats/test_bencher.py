from __future__ import annotations

import json

import jsonschema
import pytest

from bench.report.formats.bencher import to_bencher
from tests.records import STARTED_AT, make_record
from tests.report.formats.runs import RUN, UNMEASURED
from tests.stored_runs import make_run

# The JSON Schema of Bencher Metric Format as its reference page publishes it, and the longest names it takes.
METRIC = {
    "type": "object",
    "required": ["value"],
    "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
    "additionalProperties": False,
}
BMF = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 1024},
    "additionalProperties": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z0-9-]{1,64}$"},
        "additionalProperties": METRIC,
    },
}


def test_it_follows_the_schema_and_leaves_out_what_was_not_measured() -> None:
    benchmarks = json.loads(to_bencher(RUN))
    jsonschema.validate(benchmarks, BMF)
    assert set(benchmarks) == {record.cell.id for record in RUN.records} - UNMEASURED


def test_latency_is_in_nanoseconds_with_its_interval() -> None:
    for one in RUN.measured:
        measures = json.loads(to_bencher(RUN))[one.record.cell.id]
        step = one.summary.step
        assert measures["latency"] == pytest.approx(
            {"value": step.point * 1e9, "lower_value": step.low * 1e9, "upper_value": step.high * 1e9}
        )
        rate = measures["examples-per-second"]
        assert rate["lower_value"] < rate["value"] < rate["upper_value"]
        assert rate["lower_value"] == pytest.approx(one.record.cell.batch_size / step.high)
        assert measures["step-resident-bytes"] == {"value": 210_000_000}
        assert measures["doubts"]["value"] == (2 if one.record.advice else 0)
        break


def test_what_was_not_counted_is_no_measure() -> None:
    measures = json.loads(to_bencher(RUN))["mlp/train/b8/cpu/fp32"]
    assert "energy-joules" not in measures


def test_long_names_are_cut_and_stay_apart() -> None:
    records = (make_record("m" * 2000), make_record("m" * 2000, batch_size=9))
    benchmarks = json.loads(to_bencher(make_run(id="r", started_at=STARTED_AT, records=records)))
    jsonschema.validate(benchmarks, BMF)
    assert len(benchmarks) == 2
