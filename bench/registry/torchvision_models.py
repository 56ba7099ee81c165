"""`torchvision:NAME`: classification models with random weights; nothing is ever downloaded."""

from __future__ import annotations

import functools
from typing import Any

from bench.core.errors import ModelError
from bench.core.workload import Workload
from bench.registry.bare import bare_workload, classifier_loss
from bench.registry.catalog import torchvision_sources, unknown_name
from bench.registry.options import convert_literal
from bench.registry.spec import Spec
from bench.registry.targets import building

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
