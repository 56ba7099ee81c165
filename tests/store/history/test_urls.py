from __future__ import annotations

import socket

import pytest

from bench.core.errors import StoreError, UsageError
from bench.store.history import database
from bench.store.history.database import open_history, read_url, scrub, shown

SECRET = "p@ss/w%rd!"
QUOTED = "p%40ss%2Fw%25rd%21"


def test_a_path_is_a_sqlite_file() -> None:
    url = read_url("results/my history.sqlite")
    assert (url.get_backend_name(), url.database) == ("sqlite", "results/my history.sqlite")
    assert shown(url) == "results/my history.sqlite"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_names_of_postgresql_use_the_driver_that_the_extra_installs(scheme: str) -> None:
    assert read_url(f"{scheme}://team@db/bench").drivername == "postgresql+psycopg"
    assert read_url("postgresql+psycopg2://team@db/bench").drivername == "postgresql+psycopg2"


@pytest.mark.parametrize(
    "given",
    [
        f"postgresql://team:{QUOTED}@db:5432/bench",
        f"postgresql://team@db/bench?password={QUOTED}",
        f"postgresql://team:{QUOTED}@db/bench?sslpassword={QUOTED}",
    ],
)
def test_no_form_of_a_password_is_shown(given: str) -> None:
    url = read_url(given)
    texts = [shown(url), scrub(f"driver says {SECRET} and {QUOTED} and {given}", url)]
    for text in texts:
        assert SECRET not in text
        assert QUOTED not in text
        assert "***" in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "is empty"),
        ("postgresql://team:secret@x@host:12:port/db", "cannot be read as a URL"),
        ("://secret", "cannot be read as a URL"),
        ("mysql://team:secret@db/bench", "only in SQLite or PostgreSQL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_what_is_no_history_is_refused_without_repeating_it(given: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_url(given)
    assert "secret" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = f"postgresql://team@127.0.0.1:{silent.getsockname()[1]}/bench"
        with pytest.raises(StoreError, match="timeout"), open_history(given):
            pass


def test_a_server_that_is_not_there_is_one_line_without_the_password() -> None:
    with pytest.raises(StoreError) as caught, open_history("postgresql://team:hunter2@127.0.0.1:1/bench"):
        pass
    message = str(caught.value)
    assert "cannot use the history postgresql+psycopg://team:***@127.0.0.1:1/bench" in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_a_driver_that_is_not_there_says_what_to_install() -> None:
    with (
        pytest.raises(StoreError, match="extra 'postgres'"),
        open_history("postgresql+nope://x/y"),
    ):
        pass
