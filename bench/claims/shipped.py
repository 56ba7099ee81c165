"""Where the claim files that come with stepbench lie."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def timm_file() -> Path:
    """Return where timm's published figures lie; they need timm, so they are no part of `shipped_files`."""
    return Path(__file__).with_name("timm.toml")


def shipped_files() -> tuple[Path, ...]:
    """List the claim files of the reference models, sorted, then `axes.toml` and `published.toml`; imports no model."""
    spec = find_spec("bench.models")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    of_models = sorted(path for folder in folders for path in Path(folder).glob("*.toml"))
    own = (Path(__file__).with_name(f"{name}.toml") for name in ("axes", "published"))
    return (*of_models, *own)
