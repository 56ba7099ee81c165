"""What `--history` may be: a file, or a SQLAlchemy URL of SQLite or PostgreSQL. A password is never printed."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bench.core.errors import UsageError

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
