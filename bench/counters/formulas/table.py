"""What each operation costs: the table of FLOP formulas, and how a user adds one.

Convention: one multiply-accumulate is 2 FLOPs. Counted are operations that are products of matrices or convolutions at
heart; pointwise operations, normalisations, softmax, reductions, pooling and lookups are not. Products are dense: a
causal or masked attention counts whole. A sparse matrix counts by its stored entries, and a complex
multiply-accumulate as 8 FLOPs (4 with a real factor).

A formula is called with the operation's own arguments and returns its FLOPs, or a `Cost` where the kernel executes
more than the mathematics needs. A user's own operation takes two lines:

    @register_formula(torch.ops.mylib.fancy_matmul)
    def fancy_matmul_flops(a, b): return 2 * a.numel() * b.shape[-1]

Own formulas stand in `formulas_*.py`, by family; if there is none, `torch.utils.flop_counter`'s registry is asked,
so a formula that was registered with torch works here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch._library.custom_ops import CustomOpDef
from torch.utils.flop_counter import flop_registry

from bench.counters.formulas import attention, convolution, products, recurrent
from bench.counters.formulas.cost import Cost

Formula = Callable[..., int | Cost]
OperationCounter = Callable[[tuple[Any, ...], dict[str, Any], Any], Cost]
"""`(args, kwargs, output) -> Cost`: a formula in the form that the tally calls."""

_own: dict[Any, OperationCounter] = {}


@dataclass(frozen=True, slots=True)
class _Plain:
    """Calls a formula with the operation's arguments; `with_output` adds what it returned as `output=`."""

    formula: Formula
    with_output: bool

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Cost:
        if self.with_output:
            kwargs = {**kwargs, "output": output}
        return _as_cost(self.formula(*args, **kwargs))


@dataclass(frozen=True, slots=True)
class _Torch:
    """Calls a formula of torch's registry, which takes the output as `out_val`."""

    formula: Callable[..., int]

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Cost:
        return _as_cost(self.formula(*args, **kwargs, out_val=output))


def register_formula(
    operation: Any, formula: Formula | None = None, *, with_output: bool = False
) -> Callable[[Formula], Formula]:
    """Register how many FLOPs an operation takes; also usable as a decorator. A later formula replaces an earlier.

    Args:
        operation: `torch.ops.namespace.name`, one of its overloads (all overloads are meant), what
            `torch.library.custom_op` or `triton_op` returned, a higher-order operator, or a Triton kernel.
        formula: Called with the operation's arguments (tensors, not shapes); returns FLOPs or a `Cost`.
        with_output: Also pass what the operation returned, as the keyword `output`.

    Returns:
        A decorator that registers a function and returns it unchanged.
    """

    def register(formula: Formula) -> Formula:
        _own[_key(operation)] = _Plain(formula, with_output)
        return formula

    if formula is not None:
        register(formula)
    return register


def find_formula(operation: Any) -> OperationCounter | None:
    """Look up the formula of an operation, an overload packet, a higher-order operator or a Triton kernel."""
    key = _key(operation)
    if key in _own:
        return _own[key]
    theirs = flop_registry.get(key)
    return None if theirs is None else _Torch(theirs)


def _key(operation: Any) -> Any:
    """Return what the table is keyed by: the packet of an overload, the overload packet of a custom operation."""
    if isinstance(operation, CustomOpDef):
        operation = operation._opoverload
    if isinstance(operation, torch._ops.OpOverload):
        return operation.overloadpacket
    return operation


def _as_cost(flops: int | Cost) -> Cost:
    return flops if isinstance(flops, Cost) else Cost(int(flops), int(flops))


def _load(family: dict[str, tuple[Formula, bool]]) -> None:
    """Enter one family's formulas; an operation that this torch does not have is left out."""
    for name, (formula, with_output) in family.items():
        namespace, _, operation = name.rpartition("::")
        packet = getattr(getattr(torch.ops, namespace or "aten"), operation, None)
        if packet is not None:
            _own[packet] = _Plain(formula, with_output)


for _module in (products, convolution, attention, recurrent):
    _load(_module.FORMULAS)
for _name, _formula in attention.HIGHER_ORDER.items():
    _own[getattr(torch.ops.higher_order, _name)] = _Plain(_formula, False)
