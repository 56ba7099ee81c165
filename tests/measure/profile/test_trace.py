from __future__ import annotations

import gzip
import json

from bench.device.prepare import prepare
from bench.measure.profile.collect import cut, write_trace
from tests.measure.profile.small import Branching, cell, workload


def read(path):
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def test_a_trace_holds_a_few_steps_with_their_layers(tmp_path) -> None:
    path = tmp_path / "trace.json.gz"
    with prepare(workload(Branching), cell()) as step:
        step()
        words = write_trace(step, cell(), path)
    names = [event["name"] for event in read(path)["traceEvents"] if event.get("ph") == "X"]
    assert names.count("bench.step") == 3
    assert names.count("bench.layer:left.relu") == 6
    assert words == "3 steps"
    assert [file.name for file in tmp_path.iterdir()] == ["trace.json.gz"]


def test_a_trace_that_is_too_long_is_cut_off_and_says_so(tmp_path) -> None:
    path = tmp_path / "trace.json"
    with prepare(workload(Branching), cell()) as step:
        step()
        words = write_trace(step, cell(), path, max_events=50)
    document = read(path)
    assert len(document["traceEvents"]) <= 50
    assert words.startswith("1 step, of which the last ")
    assert document["stepbench"]["contents"] == words


def test_the_first_events_are_kept_with_the_names_of_threads() -> None:
    events = [{"ph": "M", "name": "process"}, *({"ph": "X", "ts": ts} for ts in (5, 3, 9, 1))]
    kept, dropped = cut(events, 3)
    assert [event.get("ts") for event in kept] == [None, 1, 3]
    assert dropped == 2
