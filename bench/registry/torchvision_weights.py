"""What torchvision documents of its classification models, as plain data; reads metadata only, downloads nothing."""

from __future__ import annotations

from typing import Any

from bench.registry.torchvision_models import import_models

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
