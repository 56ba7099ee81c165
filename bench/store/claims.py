"""The claims that were checked with a run, on disk beside its records: `claims.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench.core.claim import CheckedClaim
from bench.core.errors import StoreError
from bench.core.jsonio import from_json, to_json
from bench.store.atomic import store_error
from bench.store.records import RunFolder

FILE = "claims.json"
SCHEMA = 1
"""Version of the file. History: 1 (2026-11-23) first."""


def write_claims(folder: RunFolder, claims: Sequence[CheckedClaim]) -> None:
    """Keep checked claims; a run without any gets no file.

    Raises:
        StoreError: The file cannot be written.
    """
    if claims:
        document = {"schema": SCHEMA, "claims": to_json(tuple(claims))}
        folder.write_text(FILE, json.dumps(document, indent=1, allow_nan=False) + "\n")


def read_claims(folder: RunFolder) -> tuple[CheckedClaim, ...]:
    """Read the claims of a run; none of a run that has none, or of a version that kept none.

    Raises:
        StoreError: The file cannot be read or understood.
    """
    path = folder.path / FILE
    try:
        document = json.loads(path.read_bytes())
        return tuple(from_json(CheckedClaim, claim) for claim in document["claims"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise store_error("read", path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} holds no claims of stepbench ({error}); delete it") from error
