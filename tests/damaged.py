"""Valid documents changed at random, values, keys and bytes: what every reader of files is tried with."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

VALUES = (
    *(None, True, "", "x", "\ud800", "\x1b]0;x\x07", "a\u2028b", "=cmd|' /C calc'!A0", [], {}, [[]], {"a": 1}),
    *(
        0,
        -1,
        1,
        2**63,
        2**64,
        10**29,
        -(10**29),
        0.0,
        -0.5,
        1e-320,
        1e300,
        1.5,
        "nan",
        "2026",
        "0001-01-01T00:00:00+14:00",
    ),
)
RAW = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 3000, b'"\\ud800"', b"1E400", b"-0", b"\xff")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Name every place in a document."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def changed_document(document: Any, draw: random.Random) -> bytes:
    """Change one to three places of a JSON document."""
    document = json.loads(json.dumps(document))
    for _ in range(draw.randint(1, 3)):
        known = places(document)
        *above, key = draw.choice(known)
        holder = document
        for step in above:
            holder = holder[step]
        what = draw.randrange(4)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            holder[f"{key}x"] = holder[key]
        elif what == 2 and isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[key] = copy.deepcopy(draw.choice(VALUES))  # or the next change would be one of VALUES
        if not places(document):
            break
    return json.dumps(document).encode()


def changed_bytes(data: bytes, draw: random.Random) -> bytes:
    """Cut, double, insert or overwrite bytes."""
    start = draw.randrange(len(data) + 1)
    end = min(len(data), start + draw.randrange(40))
    raw = draw.choice([*RAW, b"", b"\x00", b'"', b",", b"\n", b"\xef\xbb\xbf", bytes([draw.randrange(256)])])
    return draw.choice([data[:start] + data[end:], data[:end] + data[start:], data[:start] + raw + data[end:]])


def many(count: int) -> Callable[[Any], Any]:
    return settings(max_examples=count, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def changed(data: bytes, draw: random.Random, *, is_json: bool) -> bytes:
    """Change a file: the document in most of those that hold JSON, else bytes."""
    if is_json and draw.random() < 0.7:
        return changed_document(json.loads(data), draw)
    return changed_bytes(data, draw)


def change_database(path: Path, draw: random.Random) -> None:
    """Change one to three values of a SQLite database, whatever type its columns say."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(draw.randint(1, 3)):
            table = draw.choice(sorted(tables))
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            value = draw.choice([*(one for one in VALUES if _is_storable(one)), b"\xff", "{", "[1]", '{"a": 1}', 1e999])
            with contextlib.suppress(sqlite3.IntegrityError):
                database.execute(f'UPDATE "{table}" SET "{draw.choice(columns)}" = ?', (value,))
        database.commit()


def _is_storable(value: Any) -> bool:
    is_whole = isinstance(value, int) and abs(value) < 2**63
    return value is None or is_whole or isinstance(value, float) or (isinstance(value, str) and value.isprintable())
