"""`torchvision:NAME`: classification models with random weights; nothing is ever downloaded.

What torchvision documents of its classification models, as plain data; reads metadata only, downloads nothing.
"""

from __future__ import annotations

import functools
from typing import Any

from bench.core.errors import ModelError
from bench.core.workload import Workload
from bench.registry.build import bare_workload, building, classifier_loss
from bench.registry.catalog import torchvision_sources, unknown_name
from bench.registry.spec import Spec, convert_literal

_WARNS_WITHOUT_INIT_WEIGHTS = ("googlenet", "inception_v3")


def torchvision_workload(spec: Spec, input_shape: tuple[int, ...] | None) -> Workload:
    """Make the Workload of a torchvision model.

    The input is 3 x size x size, with the smallest size that its documentation evaluates at (299 for inception_v3, 224
    for most), the option `image_size` if it is given (vision transformers), or `input_shape`. googlenet and
    inception_v3 are built with `init_weights=True`, as their builders do with a warning if it is left out; both answer
    with auxiliary logits in train mode, see `classifier_loss`.

    Raises:
        UnknownModelError: torchvision has no classification model of that name.
        ModelError: torchvision cannot be imported, or weights are asked for.
    """
    models = import_models()
    if spec.place not in torchvision_names():
        raise unknown_name(f"torchvision:{spec.place}")
    options: dict[str, Any] = {key: convert_literal(text) for key, text in spec.options}
    if "weights" in options:
        raise ModelError(f"model {spec.text!r}: weights are always random here; leave out the option 'weights'")
    if spec.place in _WARNS_WITHOUT_INIT_WEIGHTS:
        options.setdefault("init_weights", True)
    size = options.get("image_size") or _documented_size(models, spec.place)
    source = torchvision_sources().get(spec.place)
    return bare_workload(
        spec.text,
        building(functools.partial(models.get_model, spec.place, weights=None, **options), spec),
        (3, size, size) if input_shape is None else input_shape,
        str(source) if source else None,
        classifier_loss,
    )


def torchvision_names() -> tuple[str, ...]:
    """List torchvision's classification models, as it lists them itself; `torchvision_sources` needs no import.

    Raises:
        ModelError: torchvision cannot be imported.
    """
    models = import_models()
    return tuple(sorted(models.list_models(module=models)))


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


def _documented_size(models: Any, name: str) -> int:
    """Read the smallest size that its documented weights are evaluated at; the enum is read, no weights are."""
    sizes = [entry.transforms.keywords.get("crop_size") for entry in models.get_model_weights(name)]
    return min((size for size in sizes if size), default=224)


_VIT_DEFAULT_IMAGE_SIZE = 224

Document = tuple[str, str, dict[str, Any]]
"""`(builder, weights, meta)`, all plain values."""


def torchvision_documents() -> tuple[Document, ...]:
    """List the weights entries of all classification models, sorted by builder, in torchvision's order of weights.

    Returns:
        One `(builder, weights, meta)` per entry: `("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", {...})`, where meta holds
        `num_params` and `_ops` (GMACs of one example) as documented, `input_shape` that the weights' own transforms
        make, and `options`, the arguments of the builder that the network in the document was built with.

    Raises:
        ModelError: torchvision cannot be imported.
    """
    models = import_models()
    return tuple(
        (builder, weights.name, _meta(builder, weights))
        for builder in sorted(models.list_models(module=models))
        for weights in models.get_model_weights(builder)
    )


def _meta(builder: str, weights: Any) -> dict[str, Any]:
    size: int = weights.transforms.keywords["crop_size"]
    return {
        "num_params": weights.meta["num_params"],
        "_ops": weights.meta["_ops"],
        "input_shape": (3, size, size),
        "options": _options(builder, weights.meta),
    }


def _options(builder: str, meta: dict[str, Any]) -> dict[str, Any]:
    """Say how torchvision builds the network when these weights are asked for, where that is not the default."""
    if builder == "googlenet":  # its auxiliary heads are built to read the weights, then removed
        return {"aux_logits": False}
    if builder.startswith("vit_") and meta["min_size"][0] != _VIT_DEFAULT_IMAGE_SIZE:  # the position embedding's length
        return {"image_size": meta["min_size"][0]}
    return {}
