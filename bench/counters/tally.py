"""Add up what is dispatched: FLOPs by phase, by layer and by operation, and the names of what nobody can count.

Every operation that is dispatched below autograd is looked up: a formula counts it, the audit lets it pass, or it is
named as uncounted and the count is a lower bound. Backward is measured, not assumed: what autograd does not dispatch,
because nobody asked for that gradient, is not counted. Each call of a shared module counts.

Two counts are kept. *Model* FLOPs are what the mathematics needs. *Executed* FLOPs add what is computed again: the
forward that activation checkpointing repeats inside backward, and the scores that fused attention did not keep.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import flop_registry

from bench.core.record import FlopCount
from bench.counters.audit import find_class
from bench.counters.cache import DEVICE, OutputCache, PlainMode
from bench.counters.formulas.cost import Cost
from bench.counters.formulas.table import OperationCounter, find_formula
from bench.counters.modes import has_wrapper
from bench.counters.modules import ModuleTracker


@dataclass(slots=True)
class PhaseFlops:
    """FLOPs of both phases of one layer or one operation: model, executed, and as if dense and real (`plain`)."""

    forward: int = 0
    backward: int = 0
    executed_forward: int = 0
    executed_backward: int = 0
    plain_forward: int = 0
    plain_backward: int = 0

    def add(self, cost: Cost, *, is_backward: bool) -> None:
        """Add one operation."""
        plain = cost.flops if cost.plain is None else cost.plain
        if is_backward:
            self.plain_backward += plain
            self.backward += cost.flops
            self.executed_backward += cost.executed
        else:
            self.plain_forward += plain
            self.forward += cost.flops
            self.executed_forward += cost.executed


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFlops:
    """What one step costs.

    Attributes:
        flops: Totals.
        layers: By dotted module name (`` is the model itself), operations dispatched inside it and in no child; the
            loss and what could not be attributed have rows of their own. Each column sums to the total.
        operations: Operations by operation name.
        saw_parts: The real and imaginary part of a complex tensor were read: its convolutions are to be looked for.
        gradients: The mode in which an inference ran, where it was not `inference_mode`.
        torchs: FLOPs by torch's own formulas, forward and backward, by operation; None where its counter must be asked
            itself, because it takes apart something else than we do.
    """

    flops: FlopCount
    torchs: tuple[Counter[str], Counter[str]] | None = None
    saw_parts: bool = False
    gradients: str | None = None
    layers: dict[str, PhaseFlops] = field(default_factory=dict)
    operations: dict[str, PhaseFlops] = field(default_factory=dict)


Observer = Callable[[str, Any, Any, Any], None]
"""`(layer, operation, (args, kwargs), output)`: called for each operation of the forward pass."""


class _Plan(NamedTuple):
    """What to do with an operation, decided when it is first seen."""

    formula: OperationCounter | None
    decompose: bool
    is_free: bool
    name: str
    torchs: Callable[..., int] | None
    is_torchs_affair: bool  # torch takes apart what we do not, or has ways of its own


class FlopTally(PlainMode):  # type: ignore[no-untyped-call]
    """Counts what is dispatched while it is entered; `start_backward` turns the page.

    Args:
        tracker: Knows which module an operation belongs to.
        by_engine: Let autograd tell what is backward, for steps that go forward and backward as they like.
        observe: Also told of each operation of the forward pass.
        cache: Knows what operations return on the tensors that are counted.
        asks_torch: Also note what torch's own formulas say.
    """

    supports_higher_order_operators = True

    def __init__(
        self,
        tracker: ModuleTracker,
        observe: Observer | None = None,
        convolutions: ComplexConvolutions | None = None,
        *,
        by_engine: bool = False,
        cache: OutputCache | None = None,
        asks_torch: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.saw_parts = False  # a complex tensor was read as real and imaginary part
        self._by_engine = by_engine
        self._convolutions = convolutions
        self._twofold: set[int] = set()  # numbers of the nodes whose backward counts twice
        self.layers: defaultdict[str, PhaseFlops] = defaultdict(PhaseFlops)
        self.operations: defaultdict[str, PhaseFlops] = defaultdict(PhaseFlops)
        self.uncounted: Counter[str] = Counter()
        self._tracker = tracker
        self._observe = observe
        self._is_backward = False
        self._plans: dict[Any, _Plan] = {}
        self._torchs: tuple[Counter[str], Counter[str]] | None = (Counter(), Counter()) if asks_torch else None
        self._cache = OutputCache() if cache is None else cache

    def start_backward(self) -> None:
        """Count what follows as backward."""
        self._is_backward = True

    def result(self) -> StepFlops:
        """Sum up."""
        rows = self.layers.values()
        forward, backward = sum(row.forward for row in rows), sum(row.backward for row in rows)
        flops = FlopCount(
            forward=forward,
            backward=backward if self._is_backward else None,
            executed_forward=sum(row.executed_forward for row in rows),
            executed_backward=sum(row.executed_backward for row in rows) if self._is_backward else None,
            uncounted=tuple(sorted(self.uncounted.items())),
            method="formulas of dispatched operations",
        )
        layers, operations = dict(self.layers), dict(self.operations)
        return StepFlops(flops=flops, layers=layers, operations=operations, torchs=self._torchs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count it."""
        if func is DEVICE:
            return args[0].device  # a question, asked more often than anything else
        kwargs = kwargs or {}
        if has_wrapper(tuple(types)):
            self._torchs = None
            return NotImplemented  # jagged tensors and their like take themselves apart, and the parts come back here
        plan = self._plans.get(func)
        if plan is None:
            self.saw_parts |= func is torch.ops.aten.view_as_real.default
            plan = self._plans[func] = _plan(func)
        if plan.decompose and not (plan.formula is not None and _is_opaque(args)):
            if plan.torchs is not None:
                self._torchs = None  # torch counts it whole
            with self:
                return func.decompose(*args, **kwargs)
        # Backward itself runs without gradients; what builds a graph in it, or runs a module, is recomputation.
        # (Autograd told apart by itself: a gradient penalty builds a graph in backward and repeats nothing.)
        is_backward = self._is_backward
        is_recomputed = is_backward and (torch.is_grad_enabled() or self._tracker.is_inside)
        if self._by_engine:
            is_backward = torch._C._current_graph_task_id() != -1
            is_recomputed = is_backward and self._tracker.is_inside
        subject, is_runnable = _unwrap_kernel(func, kwargs)
        output = self._cache.run(func, args, kwargs) if is_runnable else None
        if self._torchs is not None and (plan.torchs is not None or plan.is_torchs_affair):
            self._ask_torch(func, plan, args, kwargs, output)
        formula = plan.formula if subject is func else find_formula(subject)
        if formula is not None:
            cost = formula(args, kwargs, output)
            if self._convolutions is not None and self._counts_twice(func):
                cost = Cost(2 * cost.flops, cost.executed, cost.plain or cost.flops)
            cost = Cost(0, cost.executed) if is_recomputed else cost
            self.layers[self._tracker.current_layer()].add(cost, is_backward=is_backward)
            name = plan.name if subject is func else operation_name(subject)
            self.operations[name].add(cost, is_backward=is_backward)
        elif not plan.is_free:
            self.uncounted[operation_name(subject)] += 1
        if self._observe is not None and not is_backward and isinstance(func, torch._ops.OpOverload):
            self._observe(self._tracker.current_layer(), func, (args, kwargs), output)
        return output

    def _ask_torch(self, func: Any, plan: _Plan, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Count an operation as `FlopCounterMode` does; what it does with others is its own affair."""
        assert self._torchs is not None
        if plan.torchs is None:
            self._torchs = None
            return
        try:
            flops = plan.torchs(*args, **kwargs, out_val=output)
        except Exception:  # noqa: BLE001 - asked itself, its counter names the reason
            self._torchs = None
            return
        self._torchs[self._is_backward][str(func.overloadpacket)] += flops

    def _counts_twice(self, func: Any) -> bool:
        """Whether this is the first of the three real convolutions that torch makes of a complex one.

        The mathematics needs four: the first counts twice, forward and backward.
        """
        assert self._convolutions is not None
        if func is torch.ops.aten.convolution_backward.default:
            node: Any = torch._C._current_autograd_node()
            return node is not None and node._sequence_nr() in self._twofold
        if func is not torch.ops.aten.convolution.default or not self._convolutions.take_first():
            return False
        self._twofold.add(torch._C._autograd._get_sequence_nr() - 1)  # its node was made just before
        return True


class ComplexConvolutions(TorchFunctionMode):
    """Knows when a complex convolution is under way: below autograd only its real parts are seen.

    Every call of a torch function passes here, attributes of tensors too, so it is entered only where it is needed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_first = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function; note it if it is a convolution of complex tensors."""
        if func in _CONVOLUTIONS:
            tensors = [*args, *(kwargs or {}).values()][:2]
            self._is_first = any(isinstance(one, torch.Tensor) and one.is_complex() for one in tensors)
        return func(*args, **(kwargs or {}))

    def take_first(self) -> bool:
        """Whether the convolution being dispatched is the first of a complex one; True once for each."""
        is_first, self._is_first = self._is_first, False
        return is_first


_CONVOLUTIONS = frozenset(
    {
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
        torch.convolution,
    }
)


def operation_name(operation: Any) -> str:
    """Name an operation without its overload: `aten.mm`, `mylib.fancy_matmul`; a Triton kernel by its function."""
    if isinstance(operation, torch._ops.OpOverload):
        return f"{operation.namespace}.{operation.overloadpacket.__name__}"
    name = getattr(operation, "__name__", None)
    return str(name if name is not None else operation)


def _plan(operation: Any) -> _Plan:
    """Decide what to do with an operation: a formula first, then its parts, then the audit."""
    formula = find_formula(operation)
    is_overload = isinstance(operation, torch._ops.OpOverload) and operation.namespace != "prim"
    torchs = flop_registry.get(operation.overloadpacket) if is_overload else None
    # Composite operations arrive whole only in inference mode; elsewhere autograd has taken them apart.
    return _Plan(
        formula=formula,
        decompose=is_overload and (formula is None or operation is _LINEAR) and operation._can_decompose(),
        is_free=find_class(operation) is not None,
        name=operation_name(operation),
        torchs=torchs,
        is_torchs_affair=not is_overload or operation._can_decompose(),
    )


_LINEAR = torch.ops.aten.linear.default
"""Composite for dense tensors, and taken apart as everywhere else; one operation for others."""


def _is_opaque(args: tuple[Any, ...]) -> bool:
    return (
        bool(args) and isinstance(args[0], torch.Tensor) and (args[0].is_nested or args[0].layout is not torch.strided)
    )


def _unwrap_kernel(operation: Any, kwargs: dict[str, Any]) -> tuple[Any, bool]:
    """Return the Triton kernel that a wrapper launches, and whether it can run: not on tensors without numbers."""
    if isinstance(operation, torch._ops.OpOverload) or not operation.name().startswith("triton_kernel_wrapper"):
        return operation, True
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    kernel: Any = kernel_side_table.get_kernel(kwargs["kernel_idx"])
    while hasattr(kernel, "fn") and not hasattr(kernel, "arg_names"):  # autotuner and heuristics around the kernel
        kernel = kernel.fn
    tensors = [value for value in kwargs["kwargs"].values() if isinstance(value, torch.Tensor)]
    return kernel, not any(tensor.is_meta for tensor in tensors)
