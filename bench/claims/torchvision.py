"""Turn what torchvision documents of its weights into claims: parameters and GMACs of every entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.core.claim import Claim

_GMACS_STEP = 0.001  # `_ops` is printed to three decimals of a GMAC
_MACS_PER_GMAC = 1_000_000_000
_OPTION_SPELLING = {True: "true", False: "false"}


def torchvision_claims(documents: Iterable[tuple[str, str, Mapping[str, Any]]]) -> tuple[Claim, ...]:
    """Make two claims of each weights entry: `num_params` exactly, `_ops` to the half of its last printed digit.

    torchvision counts one multiply-accumulate as one operation, of convolutions and matrix products (those of
    attention included), for one image of the size that the weights' own transforms make, in eval mode: the auxiliary
    heads of `inception_v3` count as parameters and not as operations. With that rule all entries agree; whoever counts
    in train mode finds 0.1 % more for `inception_v3`.

    Args:
        documents: `(builder, weights, meta)`; meta holds `num_params`, `_ops`, `input_shape` and `options`, as
            `bench.registry.torchvision.torchvision_documents` reads them.
    """
    return tuple(claim for document in documents for claim in _claims(*document))


def _claims(builder: str, weights: str, meta: Mapping[str, Any]) -> tuple[Claim, Claim]:
    model = _spec(builder, meta["options"])
    source = f"torchvision, {builder} weights {weights}"
    macs = round(meta["_ops"] * _MACS_PER_GMAC)
    height, width = meta["input_shape"][-2:]
    return (
        Claim(
            id=f"{builder}.{weights}.parameters",
            model=model,
            quantity="parameters",
            value=meta["num_params"],
            input_shape=meta["input_shape"],
            scope="all parameters of the network as these weights build it",
            source=f"{source}, meta num_params",
        ),
        Claim(
            id=f"{builder}.{weights}.macs",
            model=model,
            quantity="macs_forward",
            value=macs,
            input_shape=meta["input_shape"],
            scope=f"1 MAC = 2 FLOPs; convolutions and matrix products of one {height} x {width} image in eval mode",
            tolerance=_GMACS_STEP * _MACS_PER_GMAC / 2 / macs,
            source=f"{source}, meta _ops",
        ),
    )


def _spec(builder: str, options: Mapping[str, Any]) -> str:
    """Write the model spec: `torchvision:vit_b_16@image_size=384`."""
    if not options:
        return f"torchvision:{builder}"
    written = ",".join(
        f"{key}={_OPTION_SPELLING[value] if isinstance(value, bool) else value}" for key, value in options.items()
    )
    return f"torchvision:{builder}@{written}"
