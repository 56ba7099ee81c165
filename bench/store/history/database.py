"""Open a history: SQLite or PostgreSQL, checked, made or upgraded; a driver's errors become one line.

What `--history` may be: a file, or a SQLAlchemy URL of SQLite or PostgreSQL. A password is never printed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from bench.core.errors import NothingMeasuredError, StoreError, UsageError
from bench.store.atomic import make_folder
from bench.store.history.migrations import VERSION, check, migrate, version_of

_ASKED = 900  # SQLite before 3.32 takes 999 variables
_BUSY_SECONDS = 60
"""How long SQLite waits for another process that writes, and PostgreSQL's driver for a server that says nothing."""


class History:
    """An open history; made by `open_history`.

    Attributes:
        where: For people: its path or URL without a password.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self.where = where
        self._engine = engine
        self._writer = engine.execution_options(stepbench_writes=True)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it or nothing."""
        with self._writer.begin() as connection:
            yield connection


def parts_of(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Part what is asked for into as much as one question may hold."""
    for start in range(0, len(values), _ASKED):
        yield values[start : start + _ASKED]


@contextlib.contextmanager
def open_history(given: str, *, makes: bool = False) -> Iterator[History]:
    """Open a history by its path or URL; one of an older schema is upgraded, and `makes` makes it if there is none.

    Raises:
        StoreError: It cannot be reached, read or written; it holds something else; a newer stepbench made it. The
            message never holds a password.
        NothingMeasuredError: There is none.
    """
    url = read_url(given)
    where = shown(url)
    if url.get_backend_name() == "sqlite":
        _check_file(Path(str(url.database)), makes)
    engine = _engine(url)
    try:
        try:
            history = History(engine, where)
            _prepare(history, makes)
            yield history
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        line = scrub(" ".join(reason.split())[:300], url)
        raise StoreError(f"cannot use the history {where}: {line or type(error).__name__}") from None


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            is_ours = url.get_driver_name() == "psycopg" and "connect_timeout" not in url.query
            return create_engine(url, connect_args={"connect_timeout": _BUSY_SECONDS} if is_ours else {})
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise StoreError(
                f"a history in PostgreSQL needs a driver ({error}); install stepbench with its extra 'postgres'"
            ) from None
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python's sqlite3 begins too late, and never for CREATE TABLE
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -65536")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A writer takes its lock at once: two that begin by reading would deadlock when both come to write.
        is_writing = connection.get_execution_options().get("stepbench_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _check_file(path: Path, makes: bool) -> None:
    if makes:
        make_folder(path.parent)
    elif not path.exists():
        raise NothingMeasuredError(f"there is no history at {path}; make it with `bench history ingest`")
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a history; name a file in it with --history")
    target = path if path.exists() else path.parent
    if makes and not os.access(target, os.W_OK):
        raise StoreError(f"cannot write the history {path}: no permission for {target}; name a file with --history")


def _prepare(history: History, makes: bool) -> None:
    with history.reading() as connection:
        found = version_of(connection)
        if found is not None:
            check(found, history.where)
        elif not makes:
            raise NothingMeasuredError(f"{history.where} holds no history yet; fill it with `bench history ingest`")
        elif connection.dialect.name == "sqlite" and inspect(connection).get_table_names():
            raise StoreError(f"{history.where} is a database of something else; name another file with --history")
    if found != VERSION:
        with history.writing() as connection:
            migrate(connection, history.where)


_EXAMPLES = "write for example results/history.sqlite or postgresql://user@host/database"
_POSTGRES = ("postgresql", "postgres")  # the second is what many hosts hand out


def read_url(given: str) -> URL:
    """Read a path or a URL.

    Raises:
        UsageError: It is neither, or of another database. The text itself is not repeated: it may hold a password.
    """
    if "://" not in given:
        if not given.strip():
            raise UsageError(f"--history is empty; {_EXAMPLES}")
        return URL.create("sqlite", database=given)
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):  # for a password with an @ or a / that is not written as %40 or %2F, too
        raise UsageError(f"--history cannot be read as a URL; {_EXAMPLES}") from None
    backend, _, driver = url.drivername.partition("+")
    if backend in _POSTGRES:
        return url.set(drivername=f"postgresql+{driver or 'psycopg'}")
    if backend != "sqlite":
        raise UsageError(f"a history cannot be kept in {backend!r}, only in SQLite or PostgreSQL; {_EXAMPLES}")
    if url.database in (None, "", ":memory:"):
        raise UsageError(f"--history names no file: a history in memory is lost at once; {_EXAMPLES}")
    return url


def shown(url: URL) -> str:
    """Write a URL for people: a file by its path, anything else without passwords."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    masked = {name: "***" if _is_secret(name) else value for name, value in url.query.items()}
    return url.set(query=masked).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def scrub(text: str, url: URL) -> str:
    """Remove every form of the URL's passwords from a text that comes from a driver."""
    secrets = [str(url.password)] if url.password else []
    for name, value in url.query.items():
        if _is_secret(name):
            secrets += [value] if isinstance(value, str) else list(value)
    for secret in sorted((form for s in secrets for form in (s, quote(s), quote_plus(s)) if form), key=len)[::-1]:
        text = text.replace(secret, "***")
    return text


def _is_secret(name: str) -> bool:
    return "pass" in name.lower()
