"""Build a model without its numbers: on the meta device, right for every architecture.

Three naive ways are wrong, and each was measured to be:

- `with torch.device("meta")` sends *every* constructor there, also `torch.tensor` and `torch.linspace`, whose values
  constructors read with `.item()`: wrong on 47 of torchvision's 166 weights entries;
- `model.to("meta")` replaces tensor by tensor and so unties shared weights without a word;
- building for real costs memory and time that counting does not need.

So only the functions that make tensors of placeholder or random values are sent to meta, `torch.nn.init` is skipped
there (it has nothing to fill), and whatever constants remain on the CPU are moved afterwards, each tensor once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode

from bench.core.cell import Cell, Mode, Precision
from bench.core.workload import Batch, Workload
from bench.counters.cache import FakeMode, OutputCache
from bench.device.batch import cast, make_batch
from bench.device.prepare import autocast_dtype, cast_dtype, make_state
from bench.device.settings import generator_states, seeded
from bench.device.step import OwnStep, networks_of

_FACTORIES = frozenset(
    {
        torch.empty,
        torch.empty_strided,
        torch.zeros,
        torch.ones,
        torch.full,
        torch.rand,
        torch.randn,
        torch.randint,
        torch.randperm,
        torch.normal,
    }
)
_INITIALISERS = frozenset(getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and name[0] != "_") | {
    # What the initialisers without a hook of torch's call, 2 ms each on meta tensors.
    torch.Tensor.erfinv_,
    torch.Tensor.fill_,
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    torch.Tensor.zero_,
}

ZEROS = "zeros"
"""The kind of real CPU tensors that hold zeros: for what follows from shapes, but cannot be had without values."""

REAL_TENSORS = "cpu"
"""The kind of tensors that hold values: those of the host, whatever device the cell is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A workload, built to be counted.

    Attributes:
        device_type: What autocast is to be asked for: fake tensors say `cpu`, and meta tensors have none.
        precision: What it is built in; fp32 on real CPU tensors.
        states: States of the generators when it was built (`generator_states`).
        kind: Kind of its tensors: `meta`, `fake`, or a device.
        cache: Cache of what operations return on its tensors.
    """

    model: nn.Module
    inputs: Any
    targets: Any
    is_training: bool
    batch_size: int
    device_type: str
    precision: Precision
    states: tuple[object, ...]
    kind: str
    cache: OutputCache
    step: OwnStep | None = None

    @property
    def counted(self) -> nn.Module:
        """The model; with the other networks of a step of one's own, where it has some."""
        return self.model if self.step is None else whole(self.step.networks)


class _FactoriesOnMeta(TorchFunctionMode):
    """Sends placeholder and random tensors to meta, and skips initialising what has no numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
            kwargs.pop("generator", None)
        elif func in _INITIALISERS:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


class CopiesFakes(TorchFunctionMode):
    """Lets `copy.deepcopy` copy fake tensors, which torch refuses: networks of a step of one's own are often copies."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Copy a fake tensor once, as its kind of tensor."""
        if func is not torch.Tensor.__deepcopy__ or not isinstance(args[0], FakeTensor):
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            new = tensor.detach().clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
        return memo[id(tensor)]


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a model whose parameters and buffers all lie on the meta device: shapes and types, no numbers, no memory.

    Tied weights stay tied. The random state is left as it was.

    Args:
        build: Builds the model on the default device: a class, a torchvision builder, `Workload.build_model`.

    Raises:
        Exception: Whatever `build` raises; a constructor that reads random numbers cannot be built here.
    """
    with torch.random.fork_rng(devices=[]), _uncompiled(), _FactoriesOnMeta():
        model = build()
    return replace_tensors(eager(model), "meta")


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """Let `torch.compile` return what it is given: counting sees eager operations, and importing dynamo takes long."""

    def compile_nothing(model: Any = None, **_: Any) -> Any:
        return (lambda function: function) if model is None else model

    original = torch.compile
    torch.compile = compile_nothing
    try:
        yield
    finally:
        torch.compile = original


def build_eagerly(workload: Workload) -> nn.Module:
    """Build a workload's model on the current device, without what compiles it or spreads it over devices."""
    with _uncompiled():
        return eager(workload.build_model())


def eager(model: nn.Module) -> nn.Module:
    """Return the model as its modules would run eagerly on one device, in place: compiled wrappers are taken off.

    `nn.DataParallel` is left without devices, so that it only calls its module.
    """
    model = _unwrapped(model)
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if child is not None and _unwrapped(child) is not child:
                setattr(module, name, _unwrapped(child))
        if isinstance(module, nn.DataParallel):
            module.device_ids = []
        if getattr(module, "_compiled_call_impl", None) is not None:
            module._compiled_call_impl = None
    return model


def _unwrapped(module: nn.Module) -> nn.Module:
    return module._orig_mod if type(module).__name__ == "OptimizedModule" else module  # type: ignore[return-value]


def _of_zeros(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a model of real CPU tensors that hold zeros, which takes neither draws nor, until used, memory."""
    with torch.random.fork_rng(devices=[]), _uncompiled(), _FactoriesOnMeta():
        model = build()
    return replace_tensors(eager(model), "cpu", _unused_zeros)


def _unused_zeros(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Return zeros like a tensor; large ones in pages that take no memory until written, which torch's own do."""
    size = tensor.numel() * tensor.element_size()
    if size < 1 << 17 or tensor.layout is not torch.strided:
        return torch.zeros_like(tensor, device=device)
    import numpy

    return torch.from_numpy(numpy.zeros(size, numpy.uint8)).view(tensor.dtype).view(tensor.shape)


def replace_tensors(model: nn.Module, device: str, make: Callable[..., torch.Tensor] = torch.empty_like) -> nn.Module:
    """Replace each parameter and buffer that lies elsewhere by an empty one on a device, a shared one by one.

    Works in place, and under a fake tensor mode makes fake ones. Lazy parameters, without a shape yet, stay lazy.
    """
    replaced: dict[int, torch.Tensor] = {}
    # A list first: it keeps the originals, so that no new tensor gets the id of one.
    slots: list[tuple[dict[str, Any], str, torch.Tensor]] = [
        (tensors, name, tensor)
        for module in model.modules()
        for tensors in (module._parameters, module._buffers)
        for name, tensor in tensors.items()
        if tensor is not None
    ]
    for tensors, name, tensor in slots:
        if id(tensor) not in replaced:
            replaced[id(tensor)] = tensor if tensor.device.type == device else _like(tensor, device, make)
        tensors[name] = replaced[id(tensor)]
    return model


def _empty(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Return an empty tensor like another; under a fake mode faster than torch's own."""
    if tensor.layout is not torch.strided or not tensor.is_contiguous():
        return torch.empty_like(tensor, device=device)
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=device)


def _like(tensor: torch.Tensor, device: str, make: Callable[..., torch.Tensor]) -> torch.Tensor:
    if nn.parameter.is_lazy(tensor):
        kind: Any = type(tensor)
        return kind(requires_grad=tensor.requires_grad, device=device, dtype=tensor.dtype)  # type: ignore[no-any-return]
    new = make(tensor, device=device)
    return nn.Parameter(new, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else new


@contextlib.contextmanager
def build_on(
    kind: str, workload: Workload, *, mode: Mode, batch_size: int, precision: Precision, seed: int = 0
) -> Iterator[Subject]:
    """Build a workload's model and one batch on `meta`, on `fake` CPU tensors, or for real on a device.

    All generators are seeded, and restored on leaving; count while the context is entered, because fake tensors need
    its mode. On real CPU tensors the precision is always fp32: which others there are is the processor's choice.

    Raises:
        MemoryError: Real tensors of this size do not belong into a count: see `_REAL_LIMIT_BYTES`.
    """
    is_training = mode is Mode.TRAIN
    precision = Precision.FP32 if kind in (REAL_TENSORS, ZEROS) else precision
    with contextlib.ExitStack() as stack:
        stack.enter_context(seeded(seed, "cpu" if kind in ("meta", "fake", ZEROS) else kind))
        if kind in ("meta", "fake"):
            model = on_meta(workload.build_model)
        elif kind == ZEROS:
            model = _of_zeros(workload.build_model)
        else:
            refuse_large_workload(workload)
            with torch.device(kind):
                model = build_eagerly(workload)
        dtype = cast_dtype(precision)
        if dtype is not None:
            model = model.to(dtype)
        cache = OutputCache()
        if kind == "fake":  # not before, because torch cannot cast a fake model
            cache = stack.enter_context(FakeMode()).outputs
            model = replace_tensors(model, "cpu", _empty)
        device = "cpu" if kind in ("fake", ZEROS) else kind
        inputs, targets = make_batch(workload, batch_size, device)
        if dtype is not None:
            inputs, targets = cast((inputs, targets), dtype)
        model = model.train(is_training)
        step = None
        if workload.train_step is not None and is_training:
            cell = Cell(model=workload.name, batch_size=batch_size, precision=precision)
            step = _own_step(kind, workload, cell, model, (inputs, targets), device)
        yield Subject(
            model=model,
            step=step,
            inputs=inputs,
            targets=targets,
            is_training=is_training,
            batch_size=batch_size,
            device_type=torch.device(device).type,
            precision=precision,
            states=generator_states(),
            kind=kind,
            cache=cache,
        )


def _own_step(kind: str, workload: Workload, cell: Cell, model: nn.Module, batch: Batch, device: str) -> OwnStep:
    assert workload.train_step is not None
    with contextlib.ExitStack() as stack:
        if kind == "meta":
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(_FactoriesOnMeta())
        elif kind == "fake":
            stack.enter_context(CopiesFakes())
        state = make_state(workload, cell, model, torch.device(device))
    for network in networks_of(model, state).values():
        if kind == "meta":
            replace_tensors(network, "meta")
    dtype = autocast_dtype(cell.precision)
    return OwnStep(
        train_step=workload.train_step,
        state=state,
        model=model,
        batch=batch,
        loss=workload.loss,
        autocast=None if dtype is None else (torch.device(device).type, dtype),
    )


def whole(networks: Mapping[str, nn.Module]) -> nn.Module:
    """Return the model, or a module that holds the model and every further network under its name."""
    return networks["model"] if len(networks) == 1 else nn.ModuleDict(dict(networks))


_REAL_LIMIT_BYTES = 2 << 30
"""Weights above this are not built for real only to be counted."""


def refuse_large_workload(workload: Workload) -> None:
    """Look at the size on meta before building for real; a model that cannot be built there is given a try."""
    try:
        model = on_meta(workload.build_model)
    except Exception:  # noqa: BLE001 - such a model needs real tensors
        return
    refuse_large(model)


def refuse_large(model: nn.Module) -> None:
    """Refuse a model, wherever it lies, that is too large to be built for real only to be counted."""
    tensors = {id(tensor): tensor for tensor in model.parameters() if not nn.parameter.is_lazy(tensor)}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > _REAL_LIMIT_BYTES:
        raise MemoryError(f"weights of {size / 2**30:.1f} GiB are not built for real only to be counted")
