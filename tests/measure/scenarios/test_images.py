from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

from bench.core.errors import UsageError
from bench.measure.scenarios.images import Frame, idx_paths, open_digits, write_digits
from tests.measure.scenarios.small import small_plan

FLAT = (784,)


def labels_and_images(loader):
    batches = list(loader)
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


@pytest.mark.parametrize(
    ("shape", "frame"),
    [
        ((3, 48, 48), Frame(48, 3, False)),
        ((1, 28, 28), Frame(28, 1, False)),
        ((784,), Frame(28, 1, True)),
        ((3 * 16 * 16,), Frame(16, 3, True)),
    ],
)
def test_the_image_follows_the_input(shape, frame) -> None:
    assert Frame.of(shape, "net") == frame


@pytest.mark.parametrize("shape", [(3, 48, 32), (2, 8, 8), (785,), (), (4, 3, 8, 8)])
def test_an_input_that_no_square_image_fills_is_refused(shape) -> None:
    with pytest.raises(UsageError, match="digits are square images"):
        Frame.of(shape, "net")


def test_test_images_are_resized_normalised_and_not_augmented(data) -> None:
    from torchvision.datasets import MNIST
    from torchvision.transforms.functional import resize, to_tensor

    plan = small_plan(data)
    images, labels = labels_and_images(open_digits(plan, (3, 48, 48)).test_loader(plan))
    source = MNIST(data.partition(":")[2], train=False)
    assert torch.equal(labels, source.targets)
    by_hand = (to_tensor(resize(source[7][0], [48, 48])) - 0.1307) / 0.3081
    assert images.shape == (30, 3, 48, 48)
    for channel in range(3):
        torch.testing.assert_close(images[7, channel], by_hand[0])


def test_an_epoch_has_every_example_once_in_an_order_of_its_own(data) -> None:
    plan = small_plan(data)
    digits = open_digits(plan, FLAT)
    first, labels = labels_and_images(digits.train_loader(plan, 1))
    again, _ = labels_and_images(digits.train_loader(plan, 1))
    _, others = labels_and_images(digits.train_loader(plan, 2))
    assert torch.equal(first, again)
    assert not torch.equal(labels, others)
    assert labels.bincount().tolist() == others.bincount().tolist() and len(labels) == 72


def test_training_images_are_augmented_anew_every_epoch(data) -> None:
    digits = open_digits(small_plan(data), FLAT)
    assert not torch.equal(digits.train[1, 5][0], digits.train[2, 5][0])
    assert torch.equal(digits.train[1, 5][0], digits.train[1, 5][0])
    assert torch.equal(digits.test[1, 5][0], digits.test[2, 5][0])


def test_workers_change_no_image_and_no_order(data) -> None:
    alone, helped = small_plan(data), small_plan(data, workers=2, prefetch=1)
    digits = open_digits(alone, FLAT)
    expected = labels_and_images(digits.train_loader(alone, 1))
    found = labels_and_images(digits.train_loader(helped, 1))
    assert torch.equal(expected[0], found[0]) and torch.equal(expected[1], found[1])


def test_preparing_an_image_leaves_the_random_state_as_it_was(data) -> None:
    digits = open_digits(small_plan(data), FLAT)
    before = torch.get_rng_state()
    _ = digits.train[1, 5]
    list(digits.train_loader(small_plan(data), 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_begins_where_it_was_left(data) -> None:
    plan = small_plan(data)
    digits = open_digits(plan, FLAT)
    whole = list(digits.train_loader(plan, 1))
    rest = list(digits.train_loader(plan, 1, first_step=3))
    assert digits.steps(plan.batch_size) == len(whole) == 5 and len(rest) == 2
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[3:], rest, strict=True))


def test_a_limit_takes_the_first_examples_of_each_set(data) -> None:
    facts = open_digits(small_plan(data, limit_examples=40), FLAT).facts
    assert (facts.train_examples, facts.test_examples) == (40, 30)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    header = 8 if "labels" in path.name else 16
    damaged = {
        "empty": b"",
        "truncated": content[:-10],
        "no-idx": b"<html>Not Found</html>",
        "half-a-header": content[:6],
        "wrong-label": content[:header] + bytes([200]) + content[header + 1 :],
        "one-fewer": struct.pack(">HBBI", 0, 8, 1, 71) + content[header:-1],
    }
    path.write_bytes(damaged[how])


@pytest.mark.parametrize(
    ("file", "how"),
    [
        *((file, how) for file in (0, 1) for how in ("empty", "truncated", "no-idx", "half-a-header")),
        (1, "wrong-label"),
        (1, "one-fewer"),
    ],
)
def test_damaged_files_are_one_line_that_names_the_folder(tmp_path, file, how) -> None:
    write_digits(tmp_path, train=72, test=30)
    damage(idx_paths(tmp_path)[file], how)
    with pytest.raises(UsageError, match="delete that folder") as raised:
        open_digits(small_plan(f"mnist:{tmp_path}"), FLAT)
    assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)


def test_data_that_are_not_there_are_not_fetched_unasked(tmp_path, monkeypatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "download", lambda _: pytest.fail("it was not asked to download"))
    with pytest.raises(UsageError, match=r"no MNIST files in .*--download fetches them"):
        open_digits(small_plan(f"mnist:{tmp_path}"), FLAT)


def test_data_that_cannot_be_fetched_are_one_line(tmp_path, monkeypatch) -> None:
    from torchvision.datasets import MNIST

    def unreachable(_) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried a, got:\n<urlopen error>\n")

    monkeypatch.setattr(MNIST, "download", unreachable)
    with pytest.raises(UsageError, match="could not be fetched") as raised:
        open_digits(small_plan(f"mnist:{tmp_path}"), FLAT, download=True)
    assert "\n" not in str(raised.value)


def test_an_unknown_name_of_data_says_which_there_are() -> None:
    with pytest.raises(UsageError, match="use 'synthetic' or 'mnist:FOLDER'"):
        open_digits(small_plan("cifar"), FLAT)
