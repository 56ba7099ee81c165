from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import StoreError
from bench.store.claims import read_claims, write_claims
from bench.store.records import RunFolder, RunInfo
from tests.records import STARTED_AT, make_claims


def test_claims_come_back_as_they_were(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT))
    assert read_claims(folder) == ()
    write_claims(folder, make_claims())
    assert read_claims(folder) == make_claims()


def test_a_run_without_claims_has_no_file(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT))
    write_claims(folder, ())
    assert not (folder.path / "claims.json").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"claims": [{"claim": 3}]}'])
def test_a_file_that_holds_something_else_is_named(tmp_path: Path, text: str) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT))
    (folder.path / "claims.json").write_text(text)
    with pytest.raises(StoreError, match=r"claims\.json"):
        read_claims(folder)
