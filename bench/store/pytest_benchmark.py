"""Read the JSON files of pytest-benchmark (3 to 5), with what our plugin adds to them where it was there.

machine_info.stepbench.environment    Environment: only with our plugin
commit_info.id, .dirty                as pytest-benchmark found them
datetime                              of the session; UTC where it has no zone
benchmarks[].fullname, .stats         .stats.data where the raw seconds were saved
benchmarks[].extra_info.cell          Cell: only of the fixture `bench_cell`
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.advice import AdviceKind
from bench.core.cell import Cell, short_hash
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.estimate import Estimate
from bench.core.files import read_file
from bench.core.jsonio import from_json, parse_json
from bench.stats.estimate import estimate_median
from bench.store.atomic import store_error

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_COMPARABLE = ("machine", "processor", "system", "release", "python_implementation", "python_version")
_COMPARABLE_CPU = ("brand_raw", "brand", "arch", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBenchmark:
    """One benchmark of the file.

    Attributes:
        name: pytest-benchmark's `fullname`.
        cell: What the fixture `bench_cell` measured; None for any other benchmark.
        median_seconds: None where it is not above 0.
        seconds: Every round, where they were saved.
        record_digest: Digest of the record that the same measurement left in `results/`; None in older files.
        raw: The JSON object.
    """

    name: str
    cell: Cell | None
    median_seconds: float | None
    seconds: tuple[float, ...]
    record_digest: str | None
    raw: Mapping[str, Any]

    @property
    def step(self) -> Estimate | None:
        """Its median, with an interval where every round was saved."""
        if self.median_seconds is None:
            return None
        found = estimate_median(self.seconds) if self.seconds else None
        low, high = (found.low, found.high) if found else (None, None)
        n = len(self.seconds) or 1
        method = "median of pytest-benchmark"
        return Estimate(
            point=self.median_seconds, low=low, high=high, confidence=0.95, n=n, n_effective=n, method=method
        )

    @property
    def doubts(self) -> tuple[AdviceKind, ...]:
        """The kinds of doubt that our plugin wrote beside it, as far as this version knows them."""
        extra = self.raw.get("extra_info")
        named = extra.get("advice") if isinstance(extra, Mapping) else None
        return tuple(kind for kind in AdviceKind if kind.value in (named if isinstance(named, list) else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """One JSON file of pytest-benchmark.

    Attributes:
        written_at: `datetime` as it stands there; None in files that do not say.
        environment: Where our plugin wrote it.
        machine: What else makes the machine comparable, name and value; empty where the file does not say.
        commit: None where it is no hash ("unversioned").
        version: Version of pytest-benchmark.
    """

    name: str
    version: str
    written_at: str | None
    environment: Environment | None
    machine: tuple[tuple[str, str], ...]
    commit: str | None
    is_dirty: bool | None
    benchmarks: tuple[StoredBenchmark, ...]

    @property
    def fingerprint(self) -> str | None:
        """Name the machine: ours where the plugin was there, else a hash of what pytest-benchmark knows of it."""
        if self.environment is not None:
            return self.environment.fingerprint
        return short_hash({"pytest-benchmark": dict(self.machine)}) if self.machine else None


def read_session(path: Path) -> StoredSession:
    """Read a JSON file of pytest-benchmark.

    Raises:
        StoreError: It cannot be read, is truncated, or is something else; the message names it.
    """
    try:
        document: Any = parse_json(read_file(path), is_finite=False)
        return _session(document, path.name)
    except OSError as error:
        raise store_error("read", path, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise StoreError(f"{path} is neither a run nor a JSON file of pytest-benchmark ({error})") from error


def _session(document: Any, name: str) -> StoredSession:
    machine = document.get("machine_info") or {}
    environment = (machine.get("stepbench") or {}).get("environment")
    commit = document.get("commit_info") or {}
    commit_id, dirty = commit.get("id"), commit.get("dirty")
    written_at = document.get("datetime")
    return StoredSession(
        name=name,
        version=str(document.get("version", "")),
        written_at=written_at if isinstance(written_at, str) else None,
        environment=from_json(Environment, environment) if environment else None,
        machine=tuple(_comparable(machine)),
        commit=commit_id if isinstance(commit_id, str) and _COMMIT.fullmatch(commit_id) else None,
        is_dirty=dirty if isinstance(dirty, bool) else None,
        benchmarks=tuple(map(_benchmark, document["benchmarks"])),
    )


def _comparable(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keep what decides a speed: no host name, no clock that moves."""
    cpu = machine.get("cpu") or {}
    found = [(name, machine.get(name)) for name in _COMPARABLE]
    found += [(f"cpu.{name}", cpu.get(name)) for name in _COMPARABLE_CPU]
    return [(name, str(value)) for name, value in found if value]


def _benchmark(benchmark: dict[str, Any]) -> StoredBenchmark:
    extra, stats = benchmark.get("extra_info") or {}, benchmark["stats"]
    cell = from_json(Cell, extra["cell"]) if "cell" in extra else None
    median = float(stats["median"])
    digest = extra.get("record_digest")
    return StoredBenchmark(
        name=str(benchmark["fullname"]),
        cell=cell,
        median_seconds=median if 0 < median < float("inf") else None,
        seconds=tuple(float(second) for second in stats.get("data") or ()),
        record_digest=digest if isinstance(digest, str) else None,
        raw=benchmark,
    )
