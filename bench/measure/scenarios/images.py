"""A training set and a test set of digits, as the model wants them, batch by batch.

    data = open_digits("synthetic", input_shape, download=False, limit=None)
    for images, labels in data.train_loader(plan, epoch=1, first_step=0): ...

torchvision reads the files and transforms the images, as the seed page does. What is random about an example (its
rotation and its colours) is seeded by the training's seed, the epoch and the example's number, and the order of the
examples by seed and epoch. So losses do not depend on the number of workers, and a training that is resumed in the
middle of an epoch sees exactly the examples it would have seen.

Digits that are drawn: ten glyphs of straight strokes, each time bent, turned, moved, thick or thin, and noisy.

They stand in for MNIST where nothing may be downloaded: same size, same files, ten classes that a small network learns
in minutes. They are easier than MNIST. Drawn by torch, the same for the same seed.

IDX, the file format of MNIST: a big-endian header (type, dimensions, sizes), then the bytes.

`torchvision.datasets.MNIST` reads `ROOT/MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte`; these write them.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.core.errors import BenchError, UsageError
from bench.core.training import DataFacts, TrainingPlan
from bench.store.atomic import make_folder, write_bytes

SIZE = 28
"""Pixels, height and width: MNIST's."""

_OVAL = tuple((0.5 + 0.27 * math.sin(a), 0.5 - 0.42 * math.cos(a)) for a in (i * math.tau / 12 for i in range(13)))
_SIX = (
    *((0.68, 0.10), (0.40, 0.28), (0.25, 0.58), (0.30, 0.83), (0.52, 0.92)),
    *((0.73, 0.80), (0.72, 0.60), (0.52, 0.50), (0.28, 0.62)),
)
_STROKES = (
    _OVAL,
    ((0.33, 0.27), (0.54, 0.10), (0.54, 0.90)),
    ((0.20, 0.30), (0.30, 0.13), (0.50, 0.08), (0.72, 0.16), (0.77, 0.33), (0.65, 0.52), (0.20, 0.90), (0.82, 0.90)),
    (
        *((0.22, 0.15), (0.50, 0.08), (0.75, 0.20), (0.70, 0.40), (0.45, 0.48)),
        *((0.75, 0.58), (0.78, 0.78), (0.50, 0.92), (0.20, 0.83)),
    ),
    ((0.63, 0.90), (0.63, 0.10), (0.20, 0.63), (0.83, 0.63)),
    ((0.76, 0.10), (0.30, 0.10), (0.27, 0.45), (0.52, 0.40), (0.76, 0.52), (0.77, 0.75), (0.52, 0.92), (0.20, 0.84)),
    _SIX,
    ((0.20, 0.10), (0.80, 0.10), (0.42, 0.90)),
    (
        *((0.50, 0.48), (0.28, 0.36), (0.30, 0.15), (0.50, 0.08), (0.70, 0.15), (0.72, 0.36), (0.50, 0.48)),
        *((0.25, 0.62), (0.25, 0.83), (0.50, 0.92), (0.75, 0.83), (0.75, 0.62), (0.50, 0.48)),
    ),
    tuple((1 - x, 1 - y) for x, y in _SIX),  # a nine is a six upside down
)
"""By digit, the corners of one line in a unit square; x to the right, y down."""

_CHUNK = 256
"""Digits drawn at once; bounds the memory to some megabytes."""


def draw_digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw `count` digits, as many of each class as possible, in random order.

    Returns:
        Images, uint8 `(count, 28, 28)`, white on black, and labels, uint8 `(count,)`.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(count) % 10)[torch.randperm(count, generator=generator)]
    images = [_draw(part, generator) for part in torch.split(labels, _CHUNK)]
    return torch.cat(images), labels.to(torch.uint8)


def _draw(labels: Tensor, generator: torch.Generator) -> Tensor:
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    longest = max(map(len, _STROKES))
    padded = torch.tensor([[*stroke, *[stroke[-1]] * (longest - len(stroke))] for stroke in _STROKES])
    points = padded[labels] - 0.5  # (N, P, 2)
    points = points + 0.022 * torch.randn(count, longest, 2, generator=generator)
    angle, shear = uniform(-0.25, 0.25), uniform(-0.25, 0.25)  # radians; share of the height
    width, height = uniform(0.55, 0.85), uniform(0.65, 0.85)
    x, y = points[..., 0] * width[:, None], points[..., 1] * height[:, None]
    x = x + shear[:, None] * y
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    turned = torch.stack((cosine * x - sine * y, sine * x + cosine * y), -1) + uniform(0.42, 0.58, 1, 2)  # (N, P, 2)
    thickness = uniform(0.025, 0.055, 1, 1)
    edge = 0.03
    ink = ((thickness - _distances(turned)) / edge + 0.5).clamp(0, 1) * uniform(0.7, 1.0, 1, 1)  # (N, H, W)
    noisy = ink + 0.06 * torch.randn(ink.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8)


def _distances(points: Tensor) -> Tensor:
    """Measure how far each pixel is from the nearest segment of the line through `points` `(N, P, 2)`: `(N, H, W)`."""
    line = (torch.arange(SIZE) + 0.5) / SIZE
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, SIZE, SIZE, 2)
    nearest = torch.full((len(points), SIZE, SIZE), math.inf)
    for start, end in zip(points[:, :-1].unbind(1), points[:, 1:].unbind(1), strict=True):
        start, along = start[:, None, None], (end - start)[:, None, None]  # (N, 1, 1, 2)
        length = along.square().sum(-1).clamp_min(1e-12)
        share = (((pixels - start) * along).sum(-1) / length).clamp(0, 1)  # (N, H, W)
        nearest = torch.minimum(nearest, (pixels - start - share[..., None] * along).square().sum(-1))
    return nearest.sqrt()


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


CLASSES = 10
MEAN, DEVIATION = 0.1307, 0.3081
"""Of MNIST's pixels; the seed page normalises each channel by them."""

_Key = tuple[int, int]
"""Epoch and number of an example; epoch 0 is the evaluation."""


@dataclass(frozen=True, slots=True)
class Frame:
    """How an image becomes an input: square, in 1 or 3 channels, flat or not."""

    size: int
    channels: int
    is_flat: bool

    @classmethod
    def of(cls, input_shape: Sequence[int], model: str) -> Frame:
        """Find the image that fills an input of this shape.

        Raises:
            UsageError: None does.
        """
        shape = tuple(input_shape)
        if len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2]:
            return cls(shape[1], shape[0], False)
        if len(shape) == 1:
            for channels in (1, 3):
                size = math.isqrt(shape[0] // channels)
                if size * size * channels == shape[0]:
                    return cls(size, channels, True)
        raise UsageError(
            f"model {model!r} takes {'x'.join(map(str, shape)) or 'a scalar'} per example, and digits are square "
            "images of 1 or 3 channels (or such an image in a row); train for example my_net, walkthrough_cnn or mlp"
        )


class Images(Dataset[tuple[Tensor, int]]):
    """Examples of one data set by `(epoch, number)`, each transformed under its own seed.

    The global random state is as before afterwards: a training process that prepares batches itself must draw its
    dropout as one whose workers do.
    """

    def __init__(self, source: Any, transform: Callable[[Any], Tensor], seed: int, count: int) -> None:
        self._source = source
        self._transform = transform
        self._seed = seed
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: _Key) -> tuple[Tensor, int]:
        epoch, number = key
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(_mixed(self._seed, epoch, number))
        try:
            image, label = self._source[number]
            return self._transform(image), int(label)
        finally:
            torch.default_generator.set_state(state)


class _Batches:
    """Lists of keys for a DataLoader; begins at a batch within the epoch if one is resumed."""

    def __init__(self, keys: list[_Key], batch_size: int, first: int) -> None:
        self._batches = [keys[i : i + batch_size] for i in range(first * batch_size, len(keys), batch_size)]

    def __iter__(self) -> Iterator[list[_Key]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


@dataclass(frozen=True, slots=True)
class Digits:
    """A training set and a test set, ready to be loaded."""

    facts: DataFacts
    train: Dataset[tuple[Tensor, int]]
    test: Dataset[tuple[Tensor, int]]

    def steps(self, batch_size: int) -> int:
        """Count the steps of an epoch; the last batch may be smaller."""
        return math.ceil(self.facts.train_examples / batch_size)

    def train_loader(self, plan: TrainingPlan, epoch: int, first_step: int = 0) -> DataLoader[Any]:
        """Load the training set in the order of this epoch, from a step on."""
        generator = torch.Generator().manual_seed(_mixed(plan.seed, epoch, -1))
        order = torch.randperm(self.facts.train_examples, generator=generator).tolist()
        return make_loader(self.train, [(epoch, number) for number in order], plan.batch_size, plan, first_step)

    def test_loader(self, plan: TrainingPlan) -> DataLoader[Any]:
        """Load the test set in order."""
        keys = [(0, number) for number in range(self.facts.test_examples)]
        return make_loader(self.test, keys, plan.test_batch_size, plan)


def make_loader(
    dataset: Dataset[Any], keys: list[_Key], batch_size: int, plan: TrainingPlan, first: int = 0
) -> DataLoader[Any]:
    """Make the DataLoader of a plan: its workers, prefetching and pinned memory.

    It has a generator of its own, because it draws a seed for its workers whenever it starts.
    """
    return DataLoader(
        dataset,
        batch_sampler=_Batches(keys, batch_size, first),
        num_workers=plan.workers,
        prefetch_factor=plan.prefetch if plan.workers else None,
        pin_memory=plan.pin_memory,
        multiprocessing_context="fork" if plan.workers else None,
        generator=torch.Generator().manual_seed(plan.seed),
    )


def open_digits(plan: TrainingPlan, input_shape: Sequence[int], *, download: bool = False) -> Digits:
    """Read a plan's data from its IDX files, and prepare its images for an input of this shape (of one example).

    Of the plan `data`, `seed` and `limit_examples` are read. With `download` torchvision may fetch MNIST.

    Raises:
        UsageError: The data are not there, damaged, cannot be fetched, or do not fit the input.
    """
    frame = Frame.of(input_shape, plan.model)
    kind, _, place = plan.data.partition(":")
    if kind not in ("synthetic", "mnist"):
        raise UsageError(f"no data named {plan.data!r}; use 'synthetic' or 'mnist:FOLDER'")
    root = Path(place) if place else synthetic_root() if kind == "synthetic" else Path("data")
    train, test = (_read(root, plan.data, is_train, download and kind == "mnist") for is_train in (True, False))
    limit = plan.limit_examples or max(len(train), len(test))
    counts = min(len(train), limit), min(len(test), limit)
    return Digits(
        DataFacts(
            name="MNIST" if kind == "mnist" else "synthetic digits",
            train_examples=counts[0],
            test_examples=counts[1],
            input_shape=tuple(input_shape),
            classes=CLASSES,
        ),
        Images(train, _pipeline(frame, is_augmented=True), plan.seed, counts[0]),
        Images(test, _pipeline(frame, is_augmented=False), plan.seed, counts[1]),
    )


def _read(root: Path, data: str, is_train: bool, download: bool) -> Any:
    """Open one set by torchvision, and check what it does not."""
    datasets = _import_torchvision()
    try:
        found = datasets.MNIST(str(root), train=is_train, download=download)
    except Exception as error:  # torchvision raises what it meets: assertion, index, view, type, network
        words = " ".join(str(error).split()) or type(error).__name__
        if "not found" in words and "download=True" in words:
            hint = " --download fetches them." if data.startswith("mnist") else ""
            raise UsageError(
                f"data {data!r}: no MNIST files in {root / 'MNIST' / 'raw'} (train-images-idx3-ubyte and three "
                f"more).{hint}"
            ) from error
        if "downloading" in words.lower() or isinstance(error, OSError):
            raise UsageError(
                f"data {data!r} could not be fetched ({words[:150]}); get MNIST's four files another way and put them "
                f"into {root / 'MNIST' / 'raw'}"
            ) from error
        raise _damaged(root, is_train, words) from error
    if len(found.data) != len(found.targets) or len(found.data) == 0:
        raise _damaged(root, is_train, f"{len(found.data):,} images and {len(found.targets):,} labels")
    if int(found.targets.max()) >= CLASSES:
        raise _damaged(root, is_train, f"a label is {int(found.targets.max())}, digits go to 9")
    return found


def _damaged(root: Path, is_train: bool, words: str) -> UsageError:
    files = f"{'train' if is_train else 't10k'}-images-idx3-ubyte or its labels"
    return UsageError(
        f"the data in {root / 'MNIST' / 'raw'} are damaged: {files}: {words[:150]}; delete that folder, and they are "
        "made or fetched again"
    )


def _pipeline(frame: Frame, *, is_augmented: bool) -> Callable[[Any], Tensor]:
    """Chain the seed page's transforms; augmentation is for training only."""
    from torchvision import transforms

    steps = [transforms.Resize((frame.size, frame.size)), transforms.Grayscale(frame.channels)]
    if is_augmented:
        steps += [transforms.RandomRotation(10), transforms.ColorJitter(brightness=0.2, contrast=0.2)]
    steps += [transforms.ToTensor(), transforms.Normalize([MEAN] * frame.channels, [DEVIATION] * frame.channels)]
    if frame.is_flat:
        steps.append(torch.flatten)
    chain: Callable[[Any], Tensor] = transforms.Compose(steps)
    return chain


def _import_torchvision() -> Any:
    from bench.registry.torchvision import import_models

    try:
        import_models()  # says what to do where it cannot be imported
    except BenchError as error:
        raise UsageError(f"the data are read by torchvision: {error}") from error
    from torchvision import datasets

    return datasets


def _mixed(seed: int, epoch: int, number: int) -> int:
    """Make one seed of three numbers."""
    return (seed * 1_000_003 + epoch) * 1_000_003 + number + 1 & (2**63 - 1)
