"""The base of our dispatch modes: sees the same operations in train and in infer mode."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils._python_dispatch import is_traceable_wrapper_subclass_type

from bench.counters.cache import DEVICE, OutputCache, PlainMode, active_outputs

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


@functools.cache
def has_wrapper(types: tuple[type, ...]) -> bool:
    """Whether a type is one of tensors that wrap others, as jagged ones do."""
    return any(is_traceable_wrapper_subclass_type(kind) for kind in types)


class OperationMode(PlainMode):  # type: ignore[no-untyped-call]
    """Hands every operation that a kernel runs to `operate`.

    Autograd takes composite operations apart (`linear` is `t` and `addmm`); inference mode bypasses autograd, so that
    they would arrive whole, with the tensors inside them unseen. They are taken apart here.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._outputs: OutputCache | None = None

    def __enter__(self) -> OperationMode:
        """Also learn what is remembered of fake tensors."""
        self._outputs = active_outputs()
        return super().__enter__()  # type: ignore[no-untyped-call, no-any-return]

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operation; what it returns on fake tensors is known here, without a way through further modes."""
        return func(*args, **kwargs) if self._outputs is None else self._outputs.run(func, args, kwargs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Take composite operations apart, let questions pass, and operate the rest."""
        if func is DEVICE:
            return args[0].device  # of a fake tensor, which is asked more often than anything else
        kwargs = kwargs or {}
        if has_wrapper(tuple(types)):
            return NotImplemented  # jagged tensors and their like take themselves apart, and the parts come back here
        if func.namespace == "prim":
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled() and func.has_kernel_for_dispatch_key(_COMPOSITE):
            with self:
                return func.decompose(*args, **kwargs)
        return self.operate(func, args, kwargs)

    def operate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operation and note it."""
        raise NotImplementedError
