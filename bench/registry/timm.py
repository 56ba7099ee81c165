"""`timm:NAME`: every model that timm builds, with random weights; nothing is ever downloaded.

A name may carry the tag of a weights entry (`timm:vit_base_patch16_224.augreg_in21k`): it is for the configuration that
belongs to the tag (image size, number of classes); its weights are not read. Options go to timm's builder
(`timm:vit_base_patch16_224@img_size=384,num_classes=10`).
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from bench.core.errors import ModelError
from bench.core.inputs import InputShape
from bench.core.text import did_you_mean, one_line
from bench.core.workload import Workload
from bench.registry.build import bare_workload, building, classifier_loss
from bench.registry.catalog import registered_in
from bench.registry.spec import Spec, convert_literal

_OF_WEIGHTS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
_CHANNELS = 3
_IMAGE_SIZE = 224  # of the few models without a configuration


@functools.cache
def timm_sources() -> dict[str, Path]:
    """Find the source file of each of timm's models; empty where timm is not installed."""
    return dict(sorted(registered_in("timm").items()))


def check_timm(spec: Spec) -> None:
    """Refuse a name that is not there and options that ask for weights, without importing timm.

    Raises:
        ModelError: timm is not installed; it has no such model, or its weights are asked for.
    """
    known = timm_sources()
    if not known:
        raise ModelError(
            f"model {spec.text!r} needs the package timm, which is not installed; "
            "install it, or stepbench with its extra 'timm'"
        )
    name = _architecture(spec)
    if name not in known:
        raise ModelError(f"timm has no model named {name!r}.{did_you_mean(name, known)} See 'bench list timm'.")
    asked = next((key for key, _ in spec.options if key in _OF_WEIGHTS), None)
    if asked is not None:
        raise ModelError(f"model {spec.text!r}: weights are always random here; leave out the option {asked!r}")


def timm_workload(spec: Spec, input_shape: InputShape | None) -> Workload:
    """Make the Workload of a timm model: one float image, cross entropy of the logits, SGD.

    One example is `input_shape`, or the size in timm's configuration of the model, which is read offline; the options
    `img_size` and `in_chans` count too.

    Raises:
        ModelError: See `check_timm`; timm cannot be imported.
    """
    check_timm(spec)
    timm = _import_timm()
    options: dict[str, Any] = {key: convert_literal(text) for key, text in spec.options}
    build = functools.partial(timm.create_model, spec.place, pretrained=False, **options)
    shape = _configured_shape(timm, spec.place, options) if input_shape is None else input_shape
    source = str(timm_sources()[_architecture(spec)])
    return bare_workload(spec.text, building(build, spec), shape, source, classifier_loss)


def _architecture(spec: Spec) -> str:
    """Return the name without the tag of a weights entry."""
    return spec.place.partition(".")[0]


def _import_timm() -> Any:
    """Import timm with the hub switched off: a configuration and random weights need none.

    Raises:
        ModelError: It cannot be imported.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import timm
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise ModelError(f"timm cannot be imported ({one_line(error)})") from error
    return timm


def _configured_shape(timm: Any, name: str, options: dict[str, Any]) -> tuple[int, ...]:
    configured = timm.models.get_pretrained_cfg(name)
    channels, *sizes = configured.input_size if configured else (_CHANNELS, _IMAGE_SIZE, _IMAGE_SIZE)
    asked = options.get("img_size")
    if isinstance(asked, int):
        sizes = [asked, asked]
    return (options.get("in_chans", channels), *sizes)
