from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.core.cell import CompileMode
from bench.device.prepare import prepare
from bench.measure.profile.collect import cut, write_trace
from tests.measure.profile.small import Branching, Checkpointed, cell, workload
from tests.perfetto import dropped, read_trace, slices


@pytest.mark.parametrize("model", [Branching, Checkpointed])
def test_a_trace_that_perfetto_opens_holds_a_few_steps_with_their_layers(tmp_path, model) -> None:
    path = tmp_path / "trace.json.gz"
    with prepare(workload(model), cell()) as step:
        step()
        words = write_trace(step, cell(), path)
    names = slices(path)
    assert names.count("bench.step") == names.count("bench.phase:backward") == 3
    assert names.count("bench.layer:left.relu" if model is Branching else "bench.layer:head") in (3, 6)
    assert words == "3 steps"
    assert [file.name for file in tmp_path.iterdir()] == ["trace.json.gz"]


@pytest.mark.filterwarnings("ignore")  # the tracer looks at tensors in ways that warn
def test_perfetto_opens_the_trace_of_a_compiled_step(tmp_path) -> None:
    path = tmp_path / "trace.json"
    with prepare(workload(Branching), cell()) as step:
        step.model.compile(backend="eager")  # what Inductor makes of it is not traced here
        for _ in range(3):
            step()
        assert write_trace(step, replace(cell(), compile=CompileMode.DEFAULT), path) == "3 steps"
    torch._dynamo.reset()
    names = slices(path)
    assert names.count("bench.step") == 3
    assert any("Compiled" in name for name in names)
    assert not any(name.startswith("bench.layer:") for name in names)  # hooks would be compiled, too


def test_a_trace_that_is_too_long_is_cut_off_and_says_so(tmp_path) -> None:
    path = tmp_path / "trace.json"
    with prepare(workload(Branching), cell()) as step:
        step()
        words = write_trace(step, cell(), path, max_events=50)
    document = read_trace(path)
    assert len(document["traceEvents"]) <= 50
    assert words.startswith("1 step, of which the last ")
    assert document["stepbench"]["contents"] == words


def test_the_first_events_are_kept_with_the_names_of_threads() -> None:
    events = [{"ph": "M", "name": "process"}, *({"ph": "X", "ts": ts} for ts in (5, 3, 9, 1))]
    kept, dropped = cut(events, 3)
    assert [event.get("ts") for event in kept] == [None, 1, 3]
    assert dropped == 2


def test_slices_that_cross_are_found_and_those_within_or_after_each_other_are_not() -> None:
    def slices(*spans: tuple[float, float]) -> list[dict[str, object]]:
        return [{"ph": "X", "pid": 1, "tid": 1, "ts": ts, "dur": dur, "name": f"{ts}"} for ts, dur in spans]

    assert dropped(slices((0, 10), (2, 3), (5, 5), (10, 2))) == []
    assert dropped(slices((2, 8), (0, 4))) == [("0", "2")]
    assert dropped(slices((0, 4)) + [event | {"tid": 2} for event in slices((2, 8))]) == []
