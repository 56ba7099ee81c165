"""IDX, the file format of MNIST: a big-endian header (type, dimensions, sizes), then the bytes.

`torchvision.datasets.MNIST` reads `ROOT/MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte`; these write them.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from torch import Tensor

from bench.scenarios.digits import draw_digits
from bench.store.atomic import make_folder, write_bytes

TRAIN_EXAMPLES, TEST_EXAMPLES = 6_000, 1_000
_VERSION = 1  # of the drawing: another one gets another folder
_UBYTE = 0x08
_SEED = 20_260_714


def synthetic_root() -> Path:
    """Return the folder of the drawn digits, and draw them where they are not there yet (a few seconds, once).

    It lies in the user's cache (`XDG_CACHE_HOME`, else `~/.cache`). The digits are the same everywhere: a training's
    seed changes weights and order, not the data.

    Raises:
        StoreError: The files cannot be written.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(cache) / "stepbench" / f"digits-v{_VERSION}"
    if not all(path.is_file() for path in idx_paths(root)):
        write_digits(root)
    return root


def write_digits(root: Path, train: int = TRAIN_EXAMPLES, test: int = TEST_EXAMPLES, seed: int = _SEED) -> None:
    """Draw a training and a test set, and write them as MNIST's four files, each atomically.

    Raises:
        StoreError: The files cannot be written.
    """
    drawn = (*draw_digits(train, seed), *draw_digits(test, seed + 1))
    for path, values in zip(idx_paths(root), drawn, strict=True):
        make_folder(path.parent)
        write_bytes(path, to_idx(values))


def idx_paths(root: Path) -> tuple[Path, ...]:
    """List MNIST's files below a root: images and labels for training, then for testing."""
    raw = root / "MNIST" / "raw"
    return tuple(raw / f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def to_idx(values: Tensor) -> bytes:
    """Write a uint8 tensor as IDX."""
    header = struct.pack(f">HBB{values.dim()}I", 0, _UBYTE, values.dim(), *values.shape)
    return header + values.contiguous().numpy().tobytes()
