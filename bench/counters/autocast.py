"""Which operations an accelerator's autocast computes in fp32, called on CPU tensors whose own autocast does not.

The lists are those of torch's `autocast_mode.h` for CUDA. What they change is what a softmax or a norm of half
precision keeps for backward: a result of four bytes per value, and beside it the copy that the next product takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

_KEY = "AutocastCPU"

_IN_FP32 = (
    *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt", "sinh"),
    *("tan", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "softplus", "layer_norm", "native_layer_norm"),
    *("rms_norm", "group_norm", "frobenius_norm.dim", "nuclear_norm", "nuclear_norm.dim", "cosine_similarity"),
    *("poisson_nll_loss", "cosine_embedding_loss", "nll_loss", "nll_loss2d", "hinge_embedding_loss", "kl_div"),
    *("l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss", "margin_ranking_loss", "multilabel_margin_loss"),
    *("soft_margin_loss", "triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits", "dist"),
    *("pdist", "cdist", "renorm", "logsumexp", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d"),
    *("upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_trilinear3d", "upsample_bicubic2d"),
    "_upsample_bicubic2d_aa",
)
"""Their inputs are cast."""

_TO_FP32 = ("prod", "prod.dim_int", "softmax.int", "log_softmax.int", "cumprod", "cumsum", "sum", "sum.dim_IntList")
"""Their results are asked for in fp32, unless the caller asks for a type."""

_HALVES = (torch.float16, torch.bfloat16)


@contextlib.contextmanager
def autocast_as_on_accelerators() -> Iterator[None]:
    """Let autocast of the CPU compute in fp32 inside what that of CUDA does; what it does anyway is left alone."""
    library = torch.library.Library("aten", "IMPL", _KEY)  # type: ignore[no-untyped-call]
    try:
        for names, run in ((_IN_FP32, _run_in_fp32), (_TO_FP32, _run_to_fp32)):
            for name in names:
                operation = _operation(name)
                if operation is not None:
                    library.impl(name, _kernel(operation, run))  # type: ignore[no-untyped-call]
        yield
    finally:
        library._destroy()  # type: ignore[no-untyped-call]


def _operation(name: str) -> Any | None:
    """Return an operation for which this autocast has nothing of its own; None if it has, or torch lacks it."""
    packet, _, overload = name.partition(".")
    found = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
    return None if found is None or torch._C._dispatch_has_kernel_for_dispatch_key(found.name(), _KEY) else found


def _kernel(operation: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return run(operation, *args, **kwargs)

    return kernel


def _run_in_fp32(operation: Any, *args: Any, **kwargs: Any) -> Any:
    return operation(*map(_cast, args), **{name: _cast(value) for name, value in kwargs.items()})


def _run_to_fp32(operation: Any, *args: Any, **kwargs: Any) -> Any:
    is_half = isinstance(args[0], torch.Tensor) and args[0].dtype in _HALVES
    names = [argument.name for argument in operation._schema.arguments]
    if is_half and kwargs.get("dtype") is None and len(args) <= names.index("dtype"):
        kwargs["dtype"] = torch.float32
    return operation(*args, **kwargs)


def _cast(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype in _HALVES else value
