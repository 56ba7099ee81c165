"""A trace of a few steps for Perfetto or chrome://tracing, bounded in size."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.device.step import Step
from bench.measure.profile.collect import raw_events, recording_steps

TRACED_STEPS = 3
MAX_EVENTS = 200_000
"""About 50 MB of JSON: what Perfetto still opens at once."""


def write_trace(step: Step, cell: Cell, path: Path, *, max_events: int = MAX_EVENTS) -> str:
    """Trace a few steps into a file, packed if its name ends in `.gz`; return in words what was left out.

    A step of more than `max_events` events is cut off: its first events are kept.
    """
    with recording_steps(step, cell, 1) as profiler:
        events = max(1, len(raw_events(profiler)))
    steps = max(1, min(TRACED_STEPS, max_events // events))
    with recording_steps(step, cell, steps) as profiler:
        raw = path.with_name(f".{path.name}.raw.json")
        try:
            profiler.export_chrome_trace(str(raw))
            document = json.loads(raw.read_text(encoding="utf-8"))
        finally:
            raw.unlink(missing_ok=True)
    kept, dropped = cut(document["traceEvents"], max_events)
    document["traceEvents"] = kept
    words = f"{steps} step{'s' if steps > 1 else ''}"
    if dropped:
        words += f", of which the last {dropped:,} of {dropped + len(kept):,} events were cut off"
    document["stepbench"] = {"cell": cell.id, "contents": words}
    data = json.dumps(document).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return words


def cut(events: list[dict[str, Any]], limit: int) -> tuple[list[dict[str, Any]], int]:
    """Keep the first events in time, and all that only name processes and threads; tell how many were dropped."""
    names = [event for event in events if event.get("ph") == "M"]
    timed = sorted((event for event in events if event.get("ph") != "M"), key=lambda event: event.get("ts", 0))
    kept = timed[: max(0, limit - len(names))]
    return names + kept, len(timed) - len(kept)
