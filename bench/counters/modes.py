"""The base of our dispatch modes: sees the same operations in train and in infer mode."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass_type

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
DEVICE = torch.ops.prim.device.default


class OperationMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every operation that a kernel runs to `operate`.

    Autograd takes composite operations apart (`linear` is `t` and `addmm`); inference mode bypasses autograd, so that
    they would arrive whole, with the tensors inside them unseen. They are taken apart here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Not to be wrapped for torch.compile, under which we never run: the wrapper costs time in every operation."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Take composite operations apart, let questions pass, and operate the rest."""
        kwargs = kwargs or {}
        if any(is_traceable_wrapper_subclass_type(kind) for kind in types):
            return NotImplemented  # jagged tensors and their like take themselves apart, and the parts come back here
        if func is DEVICE:
            return args[0].device  # of a fake tensor, which is asked more often than anything else
        if func.namespace == "prim":
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled() and func.has_kernel_for_dispatch_key(_COMPOSITE):
            with self:
                return func.decompose(*args, **kwargs)
        return self.operate(func, args, kwargs)

    def operate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operation and note it."""
        raise NotImplementedError
