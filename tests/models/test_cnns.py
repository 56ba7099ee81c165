"""The seed page's networks against what it documents, and against a convolution written out."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from bench.models import my_net, walkthrough_cnn
from torch import Tensor, nn


def shapes(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda _m, _i, output, name=name: found.update({name: tuple(output.shape)}))
    model(images)
    return found


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_walkthrough_has_the_documented_shapes_and_the_true_counts() -> None:
    model = walkthrough_cnn.build_model(walkthrough_cnn.Config())
    found = shapes(model, torch.randn(2, 3, 48, 48))
    assert found["conv1"] == (2, 32, 48, 48)
    assert found["conv2"] == (2, 64, 48, 48)
    assert found["pool1"] == (2, 64, 24, 24)
    counts = {name: parameters(module) for name, module in model.named_children()}
    assert counts == {
        "conv1": 896,
        "conv2": 18_496,
        "pool1": 0,
        "dropout": 0,
        "fc1": 18_874_880,
        "fc2": 22_059,
    }
    assert model.get_parameter("conv1.weight")[0].numel() == 27


def test_my_net_has_the_documented_shapes_and_counts() -> None:
    model = my_net.build_model(my_net.Config())
    found = shapes(model, torch.randn(2, 3, 48, 48))
    assert found["pool1"] == (2, 64, 24, 24)
    assert found["pool2"] == (2, 128, 12, 12)
    assert found["fc2"] == (2, 32)
    assert parameters(model.get_submodule("conv3")) == 73_856
    assert parameters(model.get_submodule("fc1")) == 9_437_696


@pytest.mark.parametrize(("classes", "total"), [(10, 9_536_074), (32, 9_547_360), (43, 9_553_003)])
def test_my_net_grows_with_its_classes_as_documented(classes: int, total: int) -> None:
    with torch.device("meta"):
        assert parameters(my_net.build_model(my_net.Config(classes=classes))) == total


def test_the_first_convolution_and_pool_equal_sums_written_out() -> None:
    torch.manual_seed(0)
    model = walkthrough_cnn.build_model(walkthrough_cnn.Config(image_size=4)).double()
    images = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    padded = torch.zeros(1, 3, 6, 6, dtype=torch.float64)
    padded[:, :, 1:5, 1:5] = images
    weight, bias = model.get_parameter("conv1.weight"), model.get_parameter("conv1.bias")
    expected = torch.zeros(1, 32, 4, 4, dtype=torch.float64)
    for row in range(4):
        for column in range(4):
            patch = padded[0, :, row : row + 3, column : column + 3]
            expected[0, :, row, column] = (weight * patch).sum((1, 2, 3)) + bias
    conv1, pool1 = model.get_submodule("conv1"), model.get_submodule("pool1")
    torch.testing.assert_close(conv1(images), expected)
    corners = [expected[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    torch.testing.assert_close(pool1(expected), torch.stack(corners).amax(0))


def test_dropout_acts_in_train_mode_only_and_at_the_documented_probability() -> None:
    torch.manual_seed(0)
    model = my_net.build_model(my_net.Config())
    dropout = model.get_submodule("dropout")
    ones = torch.ones(100_000)
    dropped = dropout(ones)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert abs((dropped == 0).float().mean().item() - 0.5) < 0.01  # six sigma at n = 100,000
    model.eval()
    assert torch.equal(dropout(ones), ones)


def test_the_optimizer_is_the_documented_one() -> None:
    optimizer = my_net.make_optimizer(my_net.build_model(my_net.Config()).parameters())
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-3, 1e-4)


def test_a_dense_first_layer_has_the_output_of_the_convolution() -> None:
    """A convolution is a dense layer that shares its weights: with those written out, both give the same."""
    torch.manual_seed(0)
    shared = walkthrough_cnn.build_model(walkthrough_cnn.Config(image_size=4)).double().eval()
    dense = walkthrough_cnn.build_model(walkthrough_cnn.Config(image_size=4, dense=True)).double().eval()
    dense.load_state_dict(shared.state_dict(), strict=False)
    conv1, dense1 = shared.get_submodule("conv1"), dense.get_submodule("dense1")
    pixels = torch.eye(3 * 4 * 4, dtype=torch.float64).view(-1, 3, 4, 4)
    zero = conv1(torch.zeros(1, 3, 4, 4, dtype=torch.float64)).flatten()
    with torch.no_grad():
        dense1.get_parameter("weight").copy_((conv1(pixels).flatten(1) - zero).T)
        dense1.get_parameter("bias").copy_(zero)
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(dense(images), shared(images))
    assert parameters(conv1) == 896
    assert parameters(dense1) == (3 * 4 * 4 + 1) * 32 * 4 * 4


@pytest.mark.parametrize(("file", "area"), [(walkthrough_cnn, 4), (my_net, 16)])
def test_without_pools_the_maps_keep_their_area(file: ModuleType, area: int) -> None:
    with torch.device("meta"):
        pooled, whole = (file.build_model(file.Config(pool=pool)) for pool in (True, False))
    weights = [model.get_parameter("fc1.weight").shape[1] for model in (pooled, whole)]
    assert weights[1] == area * weights[0]
    assert pooled.get_submodule("pool1").kernel_size == 2
    assert not list(whole.get_submodule("pool1").parameters())
