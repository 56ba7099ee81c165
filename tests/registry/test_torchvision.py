from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from bench.core.errors import ModelError, UnknownModelError
from bench.registry import resolve, torchvision_sources

models = pytest.importorskip("torchvision.models")


def test_a_model_is_built_with_random_weights_and_takes_a_step() -> None:
    workload = resolve("torchvision:mobilenet_v3_small@num_classes=10", input_shape=(3, 32, 32))
    torch.manual_seed(0)
    model = workload.build_model()
    inputs, targets = workload.make_batch(2, "cpu")
    outputs = model(*inputs)
    loss = workload.loss(outputs, targets)
    loss.backward()
    workload.make_optimizer(model.parameters()).step()
    assert outputs.shape == (2, 10)
    assert torch.isfinite(loss)
    assert str(workload.source_file).endswith("mobilenetv3.py")


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ("resnet50", 224),
        ("inception_v3", 299),
        ("efficientnet_b7", 600),
        ("vit_b_16", 224),
        ("vit_h_14", 224),
        ("vit_b_16@image_size=64", 64),
        ("regnet_y_128gf", 224),
    ],
)
def test_the_input_has_the_documented_size(spec: str, size: int) -> None:
    (inputs,), _ = resolve(f"torchvision:{spec}").make_batch(1, "meta")
    assert inputs.shape == (1, 3, size, size)


class OnMeta(TorchFunctionMode):
    """Make weights on meta and small tables for real: a RegNet reads such a table while it is built."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        on_meta = {"device": "meta"} if func in (torch.empty, torch.zeros, torch.ones, torch.full) else {}
        return func(*args, **{**(kwargs or {}), **on_meta})


FAMILIES = {path: name for name, path in sorted(torchvision_sources().items(), reverse=True)}


@pytest.mark.parametrize("name", FAMILIES.values())
def test_one_model_of_each_family_runs_forward_loss_and_backward_on_meta(name: str) -> None:
    workload = resolve(f"torchvision:{name}")
    with OnMeta():
        model = workload.build_model()
    inputs, targets = workload.make_batch(2, "meta")
    loss = workload.loss(model(*inputs), targets)
    loss.backward()
    assert loss.shape == ()
    without = [parameter for parameter in model.parameters() if parameter.grad is None]
    assert without == []


def test_weights_are_refused_so_that_nothing_is_downloaded() -> None:
    with pytest.raises(ModelError, match=r"weights are always random here"):
        resolve("torchvision:resnet18@weights=DEFAULT")


def test_an_unknown_model_and_an_unknown_argument_are_one_line_each() -> None:
    with pytest.raises(UnknownModelError, match=r"Did you mean 'torchvision:resnet50'"):
        resolve("torchvision:resnet5")
    workload = resolve("torchvision:resnet18@colour=red")
    with pytest.raises(ModelError, match=r"building 'torchvision:resnet18@colour=red' raised TypeError: .*colour"):
        workload.build_model()


def failing_import(error: Exception) -> Callable[..., Any]:
    real = builtins.__import__

    def fail(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "torchvision":
            raise error
        return real(name, *args, **kwargs)

    return fail


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), "nms does not exist.*install builds that match"),
        (OSError("undefined symbol: _ZN3c10"), "undefined symbol.*install builds that match"),
        (ModuleNotFoundError("No module named 'torchvision'"), "torchvision is not installed"),
    ],
)
def test_a_torchvision_that_cannot_be_imported_names_the_fix(
    monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    monkeypatch.delitem(sys.modules, "torchvision.models")
    monkeypatch.setattr(builtins, "__import__", failing_import(error))
    with pytest.raises(ModelError, match=says) as caught:
        resolve("torchvision:resnet18")
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert resolve("mlp").name == "mlp"
