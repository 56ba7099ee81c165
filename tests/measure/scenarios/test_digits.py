from __future__ import annotations

import pytest
import torch

from bench.measure.scenarios.images import draw_digits, idx_paths, synthetic_root, to_idx, write_digits


def test_the_same_seed_draws_the_same_digits_and_another_one_others() -> None:
    images, labels = draw_digits(30, seed=5)
    again, same = draw_digits(30, seed=5)
    assert torch.equal(images, again) and torch.equal(labels, same)
    assert not torch.equal(images, draw_digits(30, seed=6)[0])
    assert images.shape == (30, 28, 28) and images.dtype is labels.dtype is torch.uint8
    assert torch.bincount(labels.long()).tolist() == [3] * 10


def test_a_digit_has_ink_in_the_middle_and_none_at_the_border() -> None:
    images, _ = draw_digits(100, seed=1)
    middle = images[:, 6:22, 6:22].float().mean()
    border = torch.cat([images[:, :1].flatten(), images[:, -1:].flatten()]).float().mean()
    assert middle > 8 * border


def test_digits_of_a_class_are_nearer_to_their_own_mean_than_to_others() -> None:
    images, labels = draw_digits(600, seed=2)
    flat = images.flatten(1).float()
    means = torch.stack([flat[:400][labels[:400] == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(flat[400:], means).argmin(1)
    share = (nearest == labels[400:]).float().mean()
    assert 0.5 < share < 0.99  # they can be learnt, and comparing with a mean is not enough


def test_an_idx_header_is_type_dimensions_and_sizes_big_endian() -> None:
    assert to_idx(torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8)) == bytes(
        [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]
    )


def test_torchvision_reads_the_files_back_equal(tmp_path) -> None:
    from torchvision.datasets import MNIST

    write_digits(tmp_path, train=40, test=20, seed=3)
    images, labels = draw_digits(40, seed=3)
    found = MNIST(str(tmp_path), train=True, download=False)
    assert torch.equal(found.data, images)
    assert torch.equal(found.targets, labels.long())
    assert len(MNIST(str(tmp_path), train=False, download=False)) == 20


def test_the_drawn_set_is_made_once_and_again_where_a_file_is_missing(tmp_path, monkeypatch) -> None:
    from bench.measure.scenarios import images as idx

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    drawn = []
    monkeypatch.setattr(idx, "write_digits", lambda root: (drawn.append(root), write_digits(root, 20, 10)))
    root = synthetic_root()
    assert synthetic_root() == root and len(drawn) == 1
    idx_paths(root)[3].unlink()
    synthetic_root()
    assert len(drawn) == 2


@pytest.mark.parametrize("count", [1, 255, 257])
def test_any_number_can_be_drawn(count: int) -> None:
    assert len(draw_digits(count, seed=0)[0]) == count
