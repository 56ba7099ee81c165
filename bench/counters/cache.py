"""Remember what operations return on tensors without values, because finding it out again is most of a count's time.

Of such a tensor, on meta or fake, there is only shape, strides and type, and an operation's outputs follow from those
of its inputs and its other arguments. Networks repeat themselves: the 80 blocks of a large language model need one
block's work. Remembered are operations that return new tensors or views of their only tensor, and those that change
their first argument, or lists of tensors, in place; whatever else there is runs as it would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from torch.utils._python_dispatch import TorchDispatchMode

from bench.counters.shortcuts import (
    ADD,
    CPU_DEVICE,
    EMPTY_STRIDED,
    IN_PLACE,
    KEEPS_TYPE,
    NEW,
    ON_CONSTANTS,
    SHORTCUTS,
    are_alike,
    are_on_cpu,
    is_constant,
    is_direct,
    new_type,
)
from bench.counters.tensors import layout_of, tensors_in

DEVICE = torch.ops.prim.device.default

_NOT_REMEMBERED = frozenset(
    {
        torch.Tag.inplace_view,
        torch.Tag.data_dependent_output,
        torch.Tag.dynamic_output_shape,
        torch.Tag.maybe_aliasing_or_mutating,
    }
)
_VIEWS = frozenset({"_unsafe_view", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk"})
"""Share their input's storage, although torch does not call them views."""
_NEVER = frozenset({"as_strided", "resize_", "resize_as_", "set_", "lift", "lift_fresh", "lift_fresh_copy"})
_RETURNED = frozenset({"Tensor", "Optional[Tensor]", "List[Tensor]"})
_PLAIN = frozenset({bool, int, float, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format})


class _Kind(Enum):
    """What an operation does: returns new tensors or views, or changes its first argument, or lists of tensors."""

    NEW = auto()
    VIEW = auto()
    IN_PLACE = auto()
    SILENT = auto()


class _Output(NamedTuple):
    """All there is to know of an output.

    Attributes:
        offset: Offset of a view from the beginning of its input; None for a tensor with storage of its own.
        source: Position of the argument whose storage a view shares.
        attributes: Attributes of a fake tensor.
    """

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    offset: int | None
    source: int
    attributes: dict[str, Any]


_SAME = "the first argument"
_NOTHING = "nothing"


class OutputCache:
    """Runs operations; those on plain tensors without values once per kind of arguments.

    Args:
        mode: Remember for the fake tensors of this mode. Without one for plain meta tensors, views excepted: torch
            makes those as fast.
    """

    def __init__(self, mode: FakeTensorMode | None = None) -> None:
        self._mode = mode
        self._known = _found_in_common(type(mode))
        self._direct = _found_in_common(FakeTensorMode)  # what the meta kernel alone decides is the same in every mode

    def run(self, operation: Any, args: Any, kwargs: Any, otherwise: Callable[..., Any] | None = None) -> Any:
        """Return what the operation returns; what is no overload simply runs.

        `otherwise` runs it where it must run, told whether its tensors are plain; by default it is called.
        """
        kind, direct = _facts(operation)
        key: Any = None
        if kind is not None and not (kind is _Kind.VIEW and self._mode is None):
            key = self._key(args)
            if key is not None and kwargs:
                more = self._key(tuple(kwargs.items()))
                key = None if more is None else (key, more)
        if key is None:
            return operation(*args, **kwargs) if otherwise is None else otherwise(False)
        assert kind is not None
        key = (id(operation), torch.get_default_dtype(), torch.is_inference_mode_enabled(), key)
        found = self._direct if direct and self._mode is not None else self._known
        known = found.get(key)
        if known is not None:
            if known is _SAME:
                return args[0]
            if known is _NOTHING:
                return None
            if type(known) is _Output:
                return self._make(known, args)
            sequence, parts = known
            return sequence([None if part is None else self._make(part, args) for part in parts])
        shortcut = SHORTCUTS.get(operation) if self._mode is None else None
        outputs = shortcut(args) if shortcut is not None else None
        if outputs is None:
            outputs = operation(*args, **kwargs) if otherwise is None else otherwise(True)
        if otherwise is None and self._mode is not None:
            return outputs  # it went through the mode, which has remembered it
        described = self._describe(kind, args, outputs)
        if described is not None:
            found[key] = described
        return outputs

    def _key(self, values: Any) -> tuple[Any, ...] | None:
        """Describe arguments so that equal descriptions give equal outputs; None if there is something else."""
        parts: list[Any] = []
        for value in values:
            kind_of_value = type(value)
            if kind_of_value in _PLAIN:
                parts.append(kind_of_value)  # 1, 1.0 and True are equal, and their results are not
                parts.append(value)
            elif kind_of_value is list or kind_of_value is tuple:
                inner = self._key(value)
                if inner is None:
                    return None
                parts.append(inner)
            elif self._is_plain(value):
                device = value.device if self._mode is None else value._fake_device
                parts.append((value.shape, value.stride(), value.dtype, device, value.is_inference()))
            else:
                return None
        return tuple(parts)

    def _is_plain(self, value: Any) -> bool:
        """Whether a value is a dense tensor without values, of the kind that is remembered."""
        kind = type(value)
        if self._mode is None:
            if not (kind is torch.Tensor or kind is torch.nn.Parameter) or not value.is_meta:
                return False
        elif (
            kind is not FakeTensor
            or value.fake_mode is not self._mode
            or value.constant is not None
            or value.dispatch_keys is not None
        ):
            return False
        return layout_of(value) is torch.strided and not (value.is_conj() or value.is_neg())

    def _describe(self, kind: _Kind, args: Any, outputs: Any) -> Any:
        """Describe what was returned; None if it is not to be remembered."""
        if args and outputs is args[0] and outputs is not None:  # in place, or `to` of what has that type already
            return _SAME
        if kind is _Kind.SILENT:
            return _NOTHING if outputs is None else None
        if kind is _Kind.IN_PLACE:
            return None
        if isinstance(outputs, torch.Tensor):
            return self._describe_one(kind, args, outputs)
        if not isinstance(outputs, tuple | list):
            return None
        parts = [None if one is None else self._describe_one(kind, args, one) for one in outputs]
        if any(part is None and one is not None for part, one in zip(parts, outputs, strict=True)):
            return None
        return (list if isinstance(outputs, list) else tuple), parts

    def _describe_one(self, kind: _Kind, args: Any, output: Any) -> _Output | None:
        if type(output) is torch.nn.Parameter or not self._is_plain(output):
            return None
        storage = output.untyped_storage()
        tensors = tensors_in(args)
        shared = [tensor for tensor in tensors if tensor.untyped_storage()._cdata == storage._cdata]
        offset, source = None, -1
        if shared:
            sources = [index for index, value in enumerate(args) if isinstance(value, torch.Tensor)]
            if kind is not _Kind.VIEW or len(tensors) != 1 or len(sources) != 1 or output is tensors[0]:
                return None
            offset, source = output.storage_offset() - tensors[0].storage_offset(), sources[0]
        elif output.storage_offset():
            return None
        attributes = {**vars(output), "fake_mode": None} if self._mode is not None else {}
        described = _Output(output.shape, output.stride(), output.dtype, offset, source, attributes)
        made = self._make(described, args)
        # A kernel may keep more memory than its output needs, which memory counts are about; and what inference mode
        # returns of a tensor from outside is no inference tensor.
        if made.untyped_storage().nbytes() != storage.nbytes():
            return None
        if torch._C._dispatch_keys(made) != torch._C._dispatch_keys(output):
            return None
        return described

    def _make(self, output: _Output, args: Any) -> torch.Tensor:
        with torch._C._DisableTorchDispatch():
            if output.offset is None:
                plain = torch.empty_strided(output.shape, output.stride, dtype=output.dtype, device="meta")
            else:
                plain = torch.empty((), dtype=output.dtype, device="meta")
                viewed = args[output.source]
                offset = viewed.storage_offset() + output.offset
                plain.set_(viewed.untyped_storage(), offset, output.shape, output.stride)
            if self._mode is None:
                return plain
            fake = as_fake(plain, output.attributes["_fake_device"], output.attributes)
        vars(fake)["fake_mode"] = self._mode
        return fake


def as_fake(plain: torch.Tensor, device: torch.device, attributes: dict[str, Any]) -> FakeTensor:
    """Make a fake tensor as `FakeTensor.__new__` does, whose checks of its arguments take most of its time."""
    fake: Any = torch.Tensor._make_subclass(
        FakeTensor, plain, False, dispatch_device=True, device_for_backend_keys=device
    )
    torch._C._set_throw_on_mutable_data_ptr(fake)
    vars(fake).update(attributes)
    return fake  # type: ignore[no-any-return]


_common: dict[type, dict[Any, Any]] | None = None


def _found_in_common(kind: type) -> dict[Any, Any]:
    return {} if _common is None else _common.setdefault(kind, {})


@contextlib.contextmanager
def remembered_in_common() -> Iterator[None]:
    """Let all modes of one kind that begin in this block know what the others found; nothing is kept after it."""
    global _common
    before, _common = _common, {} if _common is None else _common
    try:
        yield
    finally:
        _common = before


class PlainMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that is not wrapped for torch.compile, under which ours never run: that costs time in every operation."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class FakeMode(PlainMode, FakeTensorMode):  # type: ignore[no-untyped-call]
    """Makes fake tensors as torch's own mode does, and remembers what operations return on them.

    Attributes:
        outputs: What is remembered.
    """

    _avoids: bool | None = None

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.cache_enabled = False  # torch's own cache would only see what ours does not know, and takes longer
        self.outputs = OutputCache(self)
        self._attributes: dict[str, Any] | None = None

    @property
    def avoid_device_init(self) -> bool:
        """Whether there is no accelerator that fake tensors could wake; torch asks the driver for every operation."""
        if self._avoids is None:
            self._avoids = super().avoid_device_init
        return self._avoids

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        """Return what the operation returns."""
        if func is DEVICE and type(args[0]) is FakeTensor:
            return args[0].device  # asked more often than anything else, and a long way round
        if func in ON_CONSTANTS and is_constant(args):
            with torch._C._DisableTorchDispatch():
                value = func(args[0].constant, *args[1:])
            return args[0] if func is ADD else value
        if func in _MARKS:  # for the profiler: nothing to be faked
            with torch._C._DisableTorchDispatch():
                return func(*args, **kwargs)
        if func is NEW and type(args[0]) is torch.Tensor and args[0].dim() == 0 and args[0].device == CPU_DEVICE:
            return self._constant(args[0])
        return self.outputs.run(func, args, kwargs, lambda is_plain: self.run(func, types, args, kwargs, is_plain))

    def run(self, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any], is_plain: bool) -> Any:
        """Run the fake kernel."""
        shortcut = SHORTCUTS.get(func)
        if shortcut is not None:
            with self:
                outputs = shortcut(args)
            if outputs is not None:
                return outputs
        if is_plain and is_direct(func) and kwargs.get("device", CPU_DEVICE) in (None, CPU_DEVICE) and are_on_cpu(args):
            dtype = new_type(func, args, kwargs)
            if dtype is not None:
                return self._new(torch.empty(args[0].shape, dtype=dtype, device="meta"))
            if kwargs.get("device") is None:
                return self._run_on_meta(func, args, kwargs)
        if func is EMPTY_STRIDED and kwargs.get("device") == CPU_DEVICE:
            return self._new(torch.empty_strided(*args, **{**kwargs, "device": "meta"}))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _constant(self, value: torch.Tensor) -> Any:
        """Make a fake tensor of a number that keeps its value, as torch's mode does of `torch.tensor(0.0)`."""
        with torch._C._DisableTorchDispatch():
            plain = torch.empty((), dtype=value.dtype, device="meta")
            fake = FakeTensor(self, plain, device=CPU_DEVICE, constant=value.clone())
        self.fake_tensor_converter.add_constant_storage_mapping(fake)
        return fake

    def _run_on_meta(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Ask the meta kernel, as torch's fake mode does in the end, after half a millisecond of other questions."""
        if func in KEEPS_TYPE and are_alike((*args, *kwargs.values())):
            if func in IN_PLACE:
                return args[0]
            return self._new(torch.empty(args[0].shape, dtype=args[0].dtype, device="meta"))
        with in_kernel_invocation_manager(self):
            outputs = func(*args, **kwargs)
        if type(outputs) is torch.Tensor:
            return self._new(outputs)
        if isinstance(outputs, tuple | list):
            return type(outputs)(self._new(one) for one in outputs)
        return outputs

    def _new(self, meta: torch.Tensor) -> FakeTensor:
        """Make a fake CPU tensor; all have the attributes of the first, which torch makes with many checks."""
        if self._attributes is None:
            first = FakeTensor(self, meta, device=CPU_DEVICE)
            self._attributes = {**vars(first)}
            return first
        with torch._C._DisableTorchDispatch():
            return as_fake(meta, CPU_DEVICE, self._attributes)


def active_outputs() -> OutputCache | None:
    """Return what the fake mode that is entered remembers; None if none of ours is."""
    mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    return mode.outputs if isinstance(mode, FakeMode) else None


class Remembering(PlainMode):  # type: ignore[no-untyped-call]
    """Lets whoever dispatches on tensors without values profit from a cache, but for what passes to the modes below."""

    def __init__(self, cache: OutputCache, passes: Callable[[Any], bool] = lambda _: False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache
        self._passes = passes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return what the operation returns."""
        if func is DEVICE:
            return args[0].device
        if self._passes(func):
            return func(*args, **(kwargs or {}))
        return self._cache.run(func, args, kwargs or {})


_MARKS = frozenset(
    {
        torch.ops.profiler._record_function_enter_new.default,
        torch.ops.profiler._record_function_exit._RecordFunction,
    }
)
_known_facts: dict[int, tuple[_Kind | None, bool, Any]] = {}


def _facts(operation: Any) -> tuple[_Kind | None, bool]:
    """Return what an operation does, and whether only its meta kernel decides what it returns.

    By identity, because torch hashes operations in Python; kept alive here, so that no other gets theirs.
    """
    found = _known_facts.get(id(operation))
    if found is None:
        found = _known_facts[id(operation)] = (_kind(operation), is_direct(operation), operation)
    return found[:2]


def _kind(operation: Any) -> _Kind | None:
    """Return what an operation does; None if its outputs do not follow from its arguments' shapes, or nobody knows."""
    if not isinstance(operation, torch._ops.OpOverload) or any(tag in _NOT_REMEMBERED for tag in operation.tags):
        return None
    name = operation.overloadpacket.__name__
    arguments, returns = operation._schema.arguments, operation._schema.returns
    written = [argument for argument in arguments if argument.alias_info is not None and argument.alias_info.is_write]
    if name in _NEVER or any(str(returned.type) not in _RETURNED for returned in returns):
        return None
    if not returns:
        return _Kind.SILENT if written and name.endswith("_") else None
    if operation.is_view or name in _VIEWS:
        return _Kind.VIEW
    if all(returned.alias_info is None for returned in returns):
        return _Kind.NEW
    is_first = [argument.name for argument in written] == [arguments[0].name]
    return _Kind.IN_PLACE if is_first and len(returns) == 1 and returns[0].alias_info is not None else None
