"""The JSON of pytest-benchmark, as `--benchmark-json` writes it: what `pytest-benchmark compare` reads.

One round is one step, of any process; the statistics are pytest-benchmark's own, from the raw seconds in `data`. The
format cannot express a benchmark that failed: like pytest-benchmark we leave those out, and list them with their
reasons under `stepbench.not_measured`, which it ignores.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bench.core.jsonio import to_json
from bench.core.record import Record
from bench.core.text import plain
from bench.report.formats import Format
from bench.store.stored import Measured, StoredRun


def to_pytest_benchmark(run: StoredRun, extra_info: Callable[[Record], dict[str, Any]]) -> str:
    """Write a run; `extra_info` makes what a benchmark holds beside its seconds, as the fixture `bench_cell` does."""
    import pytest_benchmark

    environment = run.environment
    machine: dict[str, Any] = {}
    if environment is not None:
        machine = {
            "node": environment.host,
            "system": environment.os,
            "python_version": environment.python,
            "cpu": {"brand_raw": environment.cpu, "count": environment.cores},
            "stepbench": {"fingerprint": environment.fingerprint, "environment": to_json(environment)},
        }
    document = {
        "machine_info": machine,
        "commit_info": {
            "id": (environment.git_commit if environment else None) or "unversioned",
            "dirty": bool(environment and environment.git_dirty),
        },
        "benchmarks": [_benchmark(one, extra_info(one.record)) for one in run.measured],
        "datetime": run.info.started_at,
        "version": pytest_benchmark.__version__,
        "stepbench": {
            "run": run.id,
            "not_measured": [
                {
                    "cell_id": record.cell.id,
                    "outcome": record.outcome.value,
                    "reason": record.reason and plain(record.reason),
                }
                for record in run.unmeasured
            ],
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _benchmark(one: Measured, extra_info: dict[str, Any]) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats

    make: Any = Stats  # it has no types
    stats = make()
    for second in one.steps:
        stats.update(second)
    cell = one.record.cell
    name = plain(cell.id)
    axes = {key: value for key, value in to_json(cell).items() if value is not None}
    # No text from outside may command the terminal, or break the table of who groups by it.
    params = {key: plain(value) if isinstance(value, str) else value for key, value in axes.items()}
    return {
        "group": None,
        "name": name,
        "fullname": name,
        "params": params,
        "param": name,
        "extra_info": extra_info,
        "options": {},
        "stats": {**stats.as_dict(), "data": list(one.steps), "iterations": 1},
    }


FORMAT = Format(write=lambda run, asked: to_pytest_benchmark(run, asked.extra_info))
