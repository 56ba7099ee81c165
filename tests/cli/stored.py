"""Runs on disk, made without measuring."""

from __future__ import annotations

import json
from pathlib import Path

from bench.core.jsonio import to_json
from bench.store.runs import RunFolder, RunInfo
from tests.records import ENVIRONMENT, STARTED_AT, make_claims, make_sweep


def store_run(results: Path, records: tuple = make_sweep(), claims: tuple = make_claims()) -> RunFolder:
    info = RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT, cells=tuple(record.cell for record in records))
    folder = RunFolder.create(results, info)
    for record in records:
        folder.append(record)
    (folder.path / "claims.json").write_text(json.dumps(to_json(claims)))
    return folder
