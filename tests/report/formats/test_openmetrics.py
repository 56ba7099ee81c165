from __future__ import annotations

from prometheus_client.openmetrics import parser

from bench.core.record import Outcome
from bench.report.formats.openmetrics import GAUGES, to_openmetrics
from tests.report.formats.runs import RUN, UNMEASURED


def families() -> dict:
    return {family.name: family for family in parser.text_string_to_metric_families(to_openmetrics(RUN))}


def test_prometheus_reads_it_back_with_units_and_values() -> None:
    found = families()
    step = found["stepbench_step_seconds"]
    assert (step.type, step.unit) == ("gauge", "seconds")
    values = {sample.labels["cell"]: sample.value for sample in step.samples}
    assert values == {one.record.cell.id: one.seconds for one in RUN.measured}
    peak = found["stepbench_step_resident_bytes"]
    assert (peak.unit, {sample.value for sample in peak.samples}) == ("bytes", {210_000_000.0})
    assert found["stepbench_run_started_timestamp_seconds"].samples[0].value == 1795456389.0


def test_what_was_not_measured_has_no_sample_and_its_outcome_is_said() -> None:
    found = families()
    gauges = [found[f"stepbench_{name}"] for name, _ in GAUGES if f"stepbench_{name}" in found]
    assert "stepbench_energy_joules" not in found
    assert not UNMEASURED & {sample.labels["cell"] for gauge in gauges for sample in gauge.samples}
    states = {
        sample.labels["cell"]: sample.labels["stepbench_outcome"]
        for sample in found["stepbench_outcome"].samples
        if sample.value == 1
    }
    assert states == {record.cell.id: record.outcome.value for record in RUN.records}
    assert len(found["stepbench_outcome"].samples) == len(RUN.records) * len(Outcome)


def test_doubts_are_carried() -> None:
    doubts = {(s.labels["cell"], s.labels["kind"]) for s in families()["stepbench_doubt"].samples}
    assert ("mlp/train/b8/cpu/fp32", "busy-machine") in doubts
