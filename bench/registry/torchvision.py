"""`torchvision:NAME`: every model that torchvision builds, with random weights; nothing is ever downloaded.

Classification, segmentation, detection, video, optical flow and quantised models, each with the batch and the loss of
its family, and what torchvision documents of them as plain data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bench.core.errors import ModelError
from bench.core.inputs import InputShape, only_shape
from bench.core.workload import Batch, Workload
from bench.registry.build import bare_workload, building, classifier_loss, default_loss
from bench.registry.catalog import torchvision_sources, unknown_name
from bench.registry.spec import Spec, convert_literal

if TYPE_CHECKING:
    import torch

LIKE = "like"
"""The option that builds the network of a weights entry (`like=COCO_V1`), still with random weights."""

_FAMILIES = ("segmentation", "detection", "video", "optical_flow", "quantization")
"""torchvision's sub-packages with models; the names of `torchvision.models` itself are classification models."""

_DETECTION_SIZES = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}
_DETECTION_SIZE = 800
_SEGMENTATION_SIZE = 520
_FLOW_SIZE = 512
_FRAMES = 16
_VIT_DEFAULT_IMAGE_SIZE = 224
_BOXES = 4  # objects in each drawn image
_AUXILIARY_WEIGHT = 0.5  # of the auxiliary head's loss, as in torchvision's reference training of segmentation


def torchvision_workload(spec: Spec, input_shape: InputShape | None) -> Workload:
    """Make the Workload of a torchvision model.

    One example is what torchvision documents the model at: an image of the smallest size that its weights are evaluated
    at (224 for most classification models), 520 for segmentation, 800 for detection (300 and 320 for the two SSD), 16
    frames of 112 or 224 for video, two images of 512 for optical flow; or `input_shape`. The option `image_size` of the
    vision transformers counts too. `like=WEIGHTS` builds the network as these weights need it (frozen normalisation, no
    auxiliary heads, another position embedding). A quantised model is built in int8; it can infer only.

    Raises:
        ModelError: torchvision has no model of that name; it cannot be imported, or weights are asked for.
    """
    models = import_models()
    if spec.place not in torchvision_names():
        raise unknown_name(f"torchvision:{spec.place}")
    options: dict[str, Any] = {key: convert_literal(text) for key, text in spec.options}
    for name in ("weights", "weights_backbone"):
        if name in options:
            raise ModelError(
                f"model {spec.text!r}: weights are always random here; leave out the option {name!r}"
                f" ('{LIKE}=NAME' builds the network of a weights entry)"
            )
    family = _family(models, spec.place)
    like = _weights_entry(models, spec, options.pop(LIKE, None))
    shape = _documented_shape(models, family, spec.place, options) if input_shape is None else only_shape(input_shape)
    build = functools.partial(_build, models, family, spec.place, like, options)
    source = torchvision_sources().get(spec.place)
    loss = {"segmentation": segmentation_loss, "detection": detection_loss}.get(family, classifier_loss)
    workload = bare_workload(spec.text, building(build, spec), shape, str(source) if source else None, loss)
    make_batch = _BATCHES.get(family)
    if make_batch is None:
        return workload
    return dataclasses.replace(workload, make_batch=functools.partial(make_batch, spec.place, shape))


def torchvision_names() -> tuple[str, ...]:
    """List torchvision's models, as it lists them itself; `torchvision_sources` needs no import.

    Raises:
        ModelError: torchvision cannot be imported.
    """
    return tuple(sorted(import_models().list_models()))


def import_models() -> Any:
    """Import `torchvision.models`.

    Raises:
        ModelError: It cannot be imported: not installed, or built for another torch.
    """
    try:
        import torchvision.models
    except ModuleNotFoundError as error:
        raise ModelError(f"torchvision is not installed ({error}); pip install torchvision") from error
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        # A CPU build of torch beside a CUDA build of torchvision: "operator torchvision::nms does not exist".
        raise ModelError(
            f"torchvision cannot be imported beside this torch ({' '.join(str(error).split())}); "
            "install builds that match: both from the same package index, at versions released together"
        ) from error
    return torchvision.models


def segmentation_loss(outputs: Any, targets: Any) -> torch.Tensor:
    """Compute cross entropy per pixel of `out`, plus half of that of `aux` where the model has that head."""
    import torch

    def entropy(logits: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, targets % logits.shape[1])

    main = entropy(outputs["out"])
    return main + _AUXILIARY_WEIGHT * entropy(outputs["aux"]) if "aux" in outputs else main


def detection_loss(outputs: Any, targets: Any) -> torch.Tensor:
    """Add up the losses that a detector returns in train mode; it computes them from the targets in its inputs."""
    if isinstance(outputs, dict):
        import torch

        return torch.stack(list(outputs.values())).sum()
    return default_loss(outputs, targets)


def _family(models: Any, name: str) -> str:
    """Return the sub-package of a model, or `classification`."""
    for family in _FAMILIES:
        if name in models.list_models(module=getattr(models, family)):
            return family
    return "classification"


def _weights_entry(models: Any, spec: Spec, name: Any) -> Any:
    if name is None:
        return None
    entries = {entry.name: entry for entry in models.get_model_weights(spec.place)}
    if name not in entries:
        raise ModelError(f"model {spec.text!r}: {LIKE}={name} is no weights entry of it; it has {', '.join(entries)}")
    return entries[name]


def _build(models: Any, family: str, name: str, like: Any, options: dict[str, Any]) -> torch.nn.Module:
    builder = models.get_model_builder(name)
    takes = inspect.signature(builder).parameters
    arguments = dict(options)
    if "weights_backbone" in takes and like is None:
        arguments["weights_backbone"] = None  # its default would be downloaded
    if "quantize" in takes:
        arguments.setdefault("quantize", like is None)
        like = None if like is None else like.meta["unquantized"]
    with _without_values(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of initialisation and of torch's own quantised tensors: nobody here can act
        model: torch.nn.Module = builder(weights=like, progress=False, **arguments)
    if family == "detection":
        model.register_forward_pre_hook(_drop_targets)
    return model


def _drop_targets(model: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Call a detector with its images alone in eval mode, as its users do."""
    return None if model.training else inputs[:1]


class _NoValues(dict[str, Any]):
    """Stands for the values of weights that are not wanted."""


@contextlib.contextmanager
def _without_values() -> Iterator[None]:
    """Let builders take a weights entry for the network's shape alone: nothing is fetched, nothing is loaded."""
    import torch
    from torchvision.models._api import WeightsEnum

    fetch, load = WeightsEnum.get_state_dict, torch.nn.Module.load_state_dict

    def load_state_dict(self: torch.nn.Module, values: Any, *rest: Any, **options: Any) -> Any:
        return None if isinstance(values, _NoValues) else load(self, values, *rest, **options)

    WeightsEnum.get_state_dict = lambda *_, **__: _NoValues()
    torch.nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        WeightsEnum.get_state_dict = fetch
        torch.nn.Module.load_state_dict = load  # type: ignore[method-assign]


def _segmentation_batch(_: str, shape: tuple[int, ...], batch_size: int, device: str | torch.device) -> Batch:
    import torch

    images = torch.randn(batch_size, *shape, device=device)
    return (images,), torch.randint(2**31, (batch_size, *shape[-2:]), device=device)


def _flow_batch(_: str, shape: tuple[int, ...], batch_size: int, device: str | torch.device) -> Batch:
    import torch

    first, second = (torch.rand(batch_size, *shape, device=device) * 2 - 1 for _ in range(2))
    return (first, second), torch.zeros(batch_size, device=device)


def _detection_batch(name: str, shape: tuple[int, ...], batch_size: int, device: str | torch.device) -> Batch:
    """Draw images and objects; the targets are inputs too, because a detector computes its own losses."""
    import torch

    height, width = shape[-2:]
    images = [torch.rand(shape, device=device) for _ in range(batch_size)]
    # Boxes that lie side by side, a tenth of the image each: their sizes must not depend on drawn values.
    left = torch.arange(_BOXES, device=device) * (width / (2 * _BOXES))
    boxes = torch.stack(
        [left, torch.full_like(left, height / 10), left + width / 10, torch.full_like(left, height / 2)], dim=1
    )
    target: dict[str, Any] = {"boxes": boxes, "labels": torch.ones(_BOXES, dtype=torch.int64, device=device)}
    if name.startswith("maskrcnn"):
        target["masks"] = torch.ones(_BOXES, height, width, dtype=torch.uint8, device=device)
    if name.startswith("keypointrcnn"):
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        points = torch.cat([middle, torch.ones_like(left)[:, None]], dim=1)
        target["keypoints"] = points[:, None].repeat(1, 17, 1)
    return (images, [dict(target) for _ in images]), torch.zeros(batch_size, device=device)


_BATCHES: dict[str, Callable[..., Batch]] = {
    "segmentation": _segmentation_batch,
    "optical_flow": _flow_batch,
    "detection": _detection_batch,
}


def _documented_shape(models: Any, family: str, name: str, options: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of one example at which torchvision documents a model."""
    if family == "segmentation":
        return (3, _SEGMENTATION_SIZE, _SEGMENTATION_SIZE)
    if family == "optical_flow":
        return (3, _FLOW_SIZE, _FLOW_SIZE)
    if family == "detection":
        size = _DETECTION_SIZES.get(name, _DETECTION_SIZE)
        return (3, size, size)
    # The enum is read, no weights are; the crop is one number, or two for video.
    crops = [entry.transforms.keywords.get("crop_size") for entry in models.get_model_weights(name)]
    sizes = [crop[0] if isinstance(crop, tuple | list) else crop for crop in crops if crop]
    size = options.get("image_size") or min(sizes, default=224)
    return (3, _FRAMES, size, size) if family == "video" else (3, size, size)


_DATA_DEPENDENT = ("fasterrcnn", "maskrcnn", "keypointrcnn")
"""Two-stage detectors: their work depends on how many objects the first stage proposes, on image and weights."""

Document = tuple[str, str, dict[str, Any]]
"""`(builder, weights, meta)`, all plain values."""


def torchvision_documents() -> tuple[Document, ...]:
    """List the weights entries of all models, sorted by builder, in torchvision's order of weights.

    Returns:
        One `(builder, weights, meta)` per entry: `("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", {...})`, where meta holds
        `num_params` and `_ops` (GMACs of one example; None where they depend on the image) as documented,
        `input_shape` of the example that they are documented for, and `options`, the arguments that build the network
        that they are documented of.

    Raises:
        ModelError: torchvision cannot be imported.
    """
    models = import_models()
    return tuple(
        (builder, weights.name, _meta(models, builder, weights))
        for builder in torchvision_names()
        for weights in models.get_model_weights(builder)
    )


def _meta(models: Any, builder: str, weights: Any) -> dict[str, Any]:
    family = _family(models, builder)
    shape = _documented_shape(models, family, builder, {})
    if family == "classification":
        size = weights.transforms.keywords["crop_size"]
        shape = (3, size, size)
    return {
        "num_params": weights.meta["num_params"],
        "_ops": None if builder.startswith(_DATA_DEPENDENT) else weights.meta["_ops"],
        "input_shape": shape,
        "options": _options(models, family, builder, weights),
    }


def _options(models: Any, family: str, builder: str, weights: Any) -> dict[str, Any]:
    """Return how to build the network that a weights entry documents, where that is not the default."""
    if family != "classification":  # one network for all entries, so that it is counted once
        return {LIKE: next(iter(models.get_model_weights(builder))).name}
    if builder == "googlenet":  # its auxiliary heads are built to read the weights, then removed
        return {"aux_logits": False}
    size = weights.meta["min_size"][0]
    if builder.startswith("vit_") and size != _VIT_DEFAULT_IMAGE_SIZE:  # the position embedding's length
        return {"image_size": size}
    return {}
