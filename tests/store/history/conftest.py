"""Every test of the tables runs on SQLite and on a real PostgreSQL. Without its programs those skip, but in CI fail."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.store.history.database import History, open_history
from tests.store.history.postgres import missing_programs, running_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    missing = missing_programs()
    if missing:
        words = f"PostgreSQL is not installed (no {', '.join(missing)}); Debian: apt-get install postgresql"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(words)
        pytest.skip(words)
    with running_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a history can be made: a new file, or a new schema of the server."""
    if request.param == "sqlite":
        return str(tmp_path / "history" / "history.sqlite")
    import psycopg

    server = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{server}&options=-csearch_path%3D{name}"


@pytest.fixture
def history(url: str) -> Iterator[History]:
    with open_history(url, makes=True) as opened:
        yield opened
