"""What Perfetto asks of a trace in JSON: the Trace Event Format, as far as torch's profiler uses it.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format); what becomes of
slices is in `src/trace_processor/importers/common/slice_tracker.cc` of google/perfetto.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NoReturn

import jsonschema

ID = {"type": ["integer", "string"], "minimum": 0, "maximum": 2**32 - 1}  # of a process or thread, read as 32 bits
FLOW = {"type": ["integer", "string"]}
TIME = {"type": "number", "minimum": 0}
METADATA = ["process_name", "process_labels", "process_sort_index", "thread_name", "thread_sort_index"]


def _where(phases: str, then: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {"ph": {"enum": list(phases)}}}, "then": then}


EVENT = {
    "type": "object",
    "required": ["ph", "name", "pid"],
    "properties": {
        "ph": {"enum": list("XiMstf")},
        "name": {"type": "string"},
        "cat": {"type": "string"},
        "pid": ID,
        "tid": ID,
        "id": FLOW,
        "ts": TIME,
        "dur": TIME,
        "args": {"type": "object"},
    },
    "allOf": [
        _where("X", {"required": ["ts", "dur", "tid"]}),
        _where("stf", {"required": ["ts", "tid", "id", "cat"]}),
        _where("i", {"required": ["ts"], "properties": {"s": {"enum": ["g", "p", "t"]}}}),
        _where("M", {"required": ["args"], "properties": {"name": {"enum": METADATA}}}),
    ],
}
DOCUMENT = {
    "type": "object",
    "required": ["traceEvents"],
    "properties": {"traceEvents": {"type": "array"}, "displayTimeUnit": {"enum": ["ms", "ns"]}},
}


def _refuse(word: str) -> NoReturn:
    raise AssertionError(f"{word} is no JSON")


def read_trace(path: Path) -> dict[str, Any]:
    """Read a trace, packed or not, and check that Perfetto can open it."""
    data = path.read_bytes()
    document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data, parse_constant=_refuse)
    jsonschema.validate(document, DOCUMENT)
    events = jsonschema.Draft202012Validator(EVENT)
    for event in document["traceEvents"]:
        problem = next(events.iter_errors(event), None)
        assert problem is None, (problem.message, event)
    flows = [event for event in document["traceEvents"] if event["ph"] in "stf"]
    begun = {(event["cat"], event["id"]) for event in flows if event["ph"] == "s"}
    assert begun >= {(event["cat"], event["id"]) for event in flows if event["ph"] != "s"}, (
        "a flow ends without a start"
    )
    assert not (found := dropped(document["traceEvents"])), found[:3]
    return document  # type: ignore[no-any-return]


def dropped(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Find the slices that Perfetto drops: those of a thread that begin within another one and end after it.

    Its importer reads microseconds as whole nanoseconds, sorts by the begin (the longer first), and keeps a stack for
    each thread: `slice_drop_overlapping_complete_event` counts what is found here.
    """
    threads: dict[tuple[object, object], list[tuple[int, int, str]]] = {}
    for event in events:
        if event["ph"] == "X":
            begin, length = (int(round(event[key] * 1000, 3)) for key in ("ts", "dur"))
            threads.setdefault((event["pid"], event["tid"]), []).append((begin, begin + length, event["name"]))
    found = []
    for slices in threads.values():
        stack: list[tuple[int, str]] = []
        for begin, end, name in sorted(slices, key=lambda one: (one[0], -one[1])):
            while stack and stack[-1][0] <= begin:
                stack.pop()
            if stack and end > stack[-1][0]:
                found.append((stack[-1][1], name))
            else:
                stack.append((end, name))
    return found


def slices(path: Path) -> list[str]:
    """Read the names of a trace's slices, in the order of the file."""
    return [event["name"] for event in read_trace(path)["traceEvents"] if event["ph"] == "X"]
