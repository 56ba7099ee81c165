"""Turn what torchvision documents of its weights into claims: parameters and GMACs of every entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.core.claim import Claim, Erratum

_GMACS_STEP = 0.001  # `_ops` is printed to three decimals of a GMAC
_MACS_PER_GMAC = 1_000_000_000

_OPTION_SPELLING = {True: "true", False: "false"}

_ERRATA = {
    "quantized_inception_v3.IMAGENET1K_FBGEMM_V1.parameters": Erratum(
        measured=23_834_568,
        reason="the number is of the float network with its auxiliary head; the builder of the quantised one removes "
        "that head (3,326,696 parameters) when weights are asked for",
    )
}


def torchvision_claims(documents: Iterable[tuple[str, str, Mapping[str, Any]]]) -> tuple[Claim, ...]:
    """Make two claims of each weights entry: `num_params` exactly, `_ops` to the half of its last printed digit.

    torchvision counts one multiply-accumulate as one operation, of convolutions and matrix products (those of
    attention included), for one example in eval mode: the auxiliary heads of `inception_v3` count as parameters and not
    as operations. With that rule all entries agree; whoever counts in train mode finds 0.1 % more for `inception_v3`.
    Where `_ops` is None (detectors whose work depends on what they find) there is no second claim.

    Args:
        documents: `(builder, weights, meta)`; meta holds `num_params`, `_ops`, `input_shape` and `options`, as
            `bench.registry.torchvision.torchvision_documents` reads them.
    """
    return tuple(claim for document in documents for claim in _claims(*document))


def _claims(builder: str, weights: str, meta: Mapping[str, Any]) -> Iterator[Claim]:
    model = _spec(builder, meta["options"])
    source = f"torchvision, {builder} weights {weights}"
    yield Claim(
        id=f"{builder}.{weights}.parameters",
        model=model,
        quantity="parameters",
        value=meta["num_params"],
        input_shape=meta["input_shape"],
        scope="all parameters of the network as these weights build it",
        source=f"{source}, meta num_params",
        erratum=_ERRATA.get(f"{builder}.{weights}.parameters"),
    )
    if meta["_ops"] is None:
        return
    macs = round(meta["_ops"] * _MACS_PER_GMAC)
    yield Claim(
        id=f"{builder}.{weights}.macs",
        model=model,
        quantity="macs_forward",
        value=macs,
        input_shape=meta["input_shape"],
        scope="1 MAC = 2 FLOPs; convolutions and matrix products of one "
        f"{' x '.join(map(str, meta['input_shape'][1:]))} example in eval mode",
        tolerance=_GMACS_STEP * _MACS_PER_GMAC / 2 / macs,
        source=f"{source}, meta _ops",
    )


def _spec(builder: str, options: Mapping[str, Any]) -> str:
    """Write the model spec: `torchvision:vit_b_16@image_size=384`."""
    if not options:
        return f"torchvision:{builder}"
    written = ",".join(
        f"{key}={_OPTION_SPELLING[value] if isinstance(value, bool) else value}" for key, value in options.items()
    )
    return f"torchvision:{builder}@{written}"
