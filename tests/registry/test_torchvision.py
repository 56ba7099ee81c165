from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from bench.core.errors import ModelError
from bench.registry import resolve, torchvision_sources
from tests.lists import parts

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
        ("fcn_resnet50", 520),
        ("quantized_resnet18", 224),
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


FAMILIES = {
    path: name
    for name, path in sorted(torchvision_sources().items(), reverse=True)
    if path.parent.name not in ("detection", "quantization")  # their forward pass reads values
}
DETECTORS = ("fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn")
ONE_STAGE = ("retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssdlite320_mobilenet_v3_large")
TEN_SECONDS = [pytest.param(name, marks=pytest.mark.slow) for name in DETECTORS]


@pytest.mark.parametrize("name", [*TEN_SECONDS, *ONE_STAGE])
def test_a_detector_trains_on_its_targets_and_infers_from_images_alone(name: str) -> None:
    sizes = "" if name.startswith("ssd") else ",min_size=64,max_size=64"
    workload = resolve(f"torchvision:{name}@num_classes=3{sizes}", input_shape=(3, 64, 64))
    torch.manual_seed(0)
    model = workload.build_model()
    inputs, targets = workload.make_batch(2, "cpu")
    loss = workload.loss(model(*inputs), targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert any(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    with torch.inference_mode():
        found = model(*inputs)
    assert [sorted(one)[0] for one in found] == ["boxes", "boxes"]


@pytest.mark.filterwarnings("ignore:torch.quantize_per", "ignore:torch.ao.quantization")  # torchvision still uses them
@pytest.mark.parametrize("name", ["quantized_resnet18", "quantized_mobilenet_v3_large", "quantized_googlenet"])
def test_a_quantised_model_infers_in_int8(name: str) -> None:
    workload = resolve(f"torchvision:{name}", input_shape=(3, 64, 64))
    model = workload.build_model().eval()
    inputs, _ = workload.make_batch(1, "cpu")
    with torch.inference_mode():
        assert model(*inputs).shape == (1, 1000)
    assert list(model.parameters()) == []


def test_like_builds_the_network_of_a_weights_entry_with_random_weights() -> None:
    plain = resolve("torchvision:fcn_resnet50").build_model()
    like = resolve("torchvision:fcn_resnet50@like=COCO_WITH_VOC_LABELS_V1")
    torch.manual_seed(0)
    first = like.build_model()
    torch.manual_seed(1)
    second = like.build_model()
    assert plain.aux_classifier is None
    assert first.aux_classifier is not None
    assert not torch.equal(first.backbone.conv1.weight, second.backbone.conv1.weight)
    with pytest.raises(ModelError, match=r"like=V9 is no weights entry of it; it has COCO_WITH_VOC_LABELS_V1"):
        resolve("torchvision:fcn_resnet50@like=V9")


@pytest.mark.parametrize("name", parts(FAMILIES.values(), quick=6))
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
    with pytest.raises(ModelError, match=r"Did you mean 'torchvision:resnet50'"):
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
