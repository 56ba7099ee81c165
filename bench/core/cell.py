"""What is measured: a `Cell` is one point of a sweep, and names itself for people (`id`) and for joins (`key`)."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, cast

from bench.core.inputs import InputShape, inputs_text
from bench.core.jsonio import to_json
from bench.core.precision import Precision as Precision


class Mode(StrEnum):
    """What one step does: a whole training step, or a forward pass without gradients in eval mode."""

    TRAIN = "train"
    INFER = "infer"


class CompileMode(StrEnum):
    """`torch.compile` modes; NONE runs eagerly."""

    NONE = "none"
    DEFAULT = "default"
    REDUCE_OVERHEAD = "reduce-overhead"
    MAX_AUTOTUNE = "max-autotune"


class Parallel(StrEnum):
    """How several processes train one model, each on a batch of its own; without meaning where there is one process.

    DDP keeps a whole model per process and averages the gradients; FSDP2 (`fully_shard`) keeps a part of every weight.
    """

    DDP = "ddp"
    FSDP2 = "fsdp2"


class ScalingMode(StrEnum):
    """What several processes share: nothing, each has the whole batch (weak), or the batch (strong)."""

    WEAK = "weak"
    STRONG = "strong"


class MemoryFormat(StrEnum):
    """The layout of 4-d activations and weights."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"


class GradMode(StrEnum):
    """How an inference keeps no gradients: `torch.inference_mode`, `no_grad`, or not at all (`enable_grad`)."""

    INFERENCE = "inference"
    NO_GRAD = "no_grad"
    ENABLED = "enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What everybody needs to know of an axis: `bench.suite.axes` reads it, options, tables and names derive from it.

    Attributes:
        meaning: Meaning of its column in the tables; `{choices}` stands for its values.
        help: Help text of its option, with the same `{choices}`.
        flags: Short names of its option, before `--name`.
        metavar: Word for a value of its option; by default the kind of its values.
        usual: Value of a sweep that says nothing, for an axis without a default.
        usual_words: Default in the help where it is no value: `the model's`.
        unset: What None is called, in tables and by those who type it.
        unit: Unit of its values.
        header: Header of its column in a table for people; by default its name.
        part: Part of a cell's name, where `{}` stands for the value; by default a number has its axis's name before it.
        is_always_named: Whether a cell's name has it at its default, too.
        least: Smallest value of a whole number; None takes any.
        text: Writes a value as it is typed.
        applies: Whether it means anything beside the other values of a cell; if not, the cell has the default.
        needs: What it means something with, as typed, where that is not any cell.
    """

    meaning: str
    help: str = "{choices}."
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    usual: Any = None
    usual_words: str | None = None
    unset: str = "own"
    unit: str = ""
    header: str | None = None
    part: str | None = None
    is_always_named: bool = False
    least: int | None = 1
    text: Callable[[Any], str | None] = str
    applies: Callable[[Mapping[str, Any]], bool] = bool
    needs: str = ""


def _axis(**about: Any) -> dict[str, About]:
    return {"about": About(**about)}


def _trains(values: Mapping[str, Any]) -> bool:
    return bool(values["mode"] is Mode.TRAIN)


def is_parallel(values: Mapping[str, Any]) -> bool:
    """Whether values by axis are those of several processes."""
    return bool(values["world_size"] > 1)


SEVERAL_PROCESSES = "--world-size 2 or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of a sweep; holds the request only, nothing that was measured. Every field is an axis.

    A new field has a default, so that old records are read, and old cells keep their key.
    """

    model: str = field(
        # `my_net`, `mlp@activation=tanh,width=512`, `torchvision:resnet18`, `package.module:callable`, `file.py:name`
        metadata=_axis(meaning="model spec as typed", is_always_named=True)
    )
    mode: Mode = field(
        default=Mode.TRAIN,
        metadata=_axis(
            meaning="`train` (a whole training step) or `infer` (forward only, eval mode, no gradients)",
            metavar="MODE",
            is_always_named=True,
        ),
    )
    batch_size: int = field(
        metadata=_axis(
            meaning="examples per step, of each process",
            help="Examples per batch; repeat or write 8,32.",
            flags=("-b",),
            usual=8,
            unit="examples",
            header="batch",
            part="b{}",
            is_always_named=True,
        )
    )
    device: str = field(
        default="cpu",
        metadata=_axis(
            meaning="`cpu`, `cuda:N` or `mps:N`; of several processes the first one's",
            flags=("-d",),
            metavar="DEVICE",
            is_always_named=True,
        ),
    )
    precision: Precision = field(
        default=Precision.FP32, metadata=_axis(meaning="{choices}", flags=("-p",), is_always_named=True)
    )
    optimizer: str | None = field(
        default=None,
        metadata=_axis(
            meaning="optimizer that was asked for; empty is the workload's own",
            help="sgd, adam, adamw, rmsprop, also with -fused or -foreach.",
            usual_words="the model's",
            applies=_trains,
            needs="--mode train",
        ),
    )
    compile: CompileMode = field(
        default=CompileMode.NONE,
        metadata=_axis(meaning="`torch.compile` mode; `none` is eager", metavar="MODE", part="compile-{}"),
    )
    memory_format: MemoryFormat = field(
        default=MemoryFormat.CONTIGUOUS, metadata=_axis(meaning="{choices}", header="layout")
    )
    input_shape: InputShape | None = field(
        default=None,
        metadata=_axis(
            meaning="shape of one example or all inputs, for a bare module; else empty",
            help="Inputs of a bare nn.Module: 3x224x224, int64:128:0..30522, mask:bool:128.",
            flags=("--input",),
            metavar="INPUT",
            usual_words="the model's own",
            header="shape",
            text=inputs_text,
        ),
    )
    threads: int | None = field(
        default=None,
        metadata=_axis(
            meaning="threads per process that were asked for; empty is torch's default, divided among the processes",
            help="Threads inside an operation.",
            usual_words="torch's choice",
            unit="threads",
            part="t{}",
        ),
    )
    world_size: int = field(
        default=1,
        metadata=_axis(
            meaning="processes that train together",
            help="Processes that train together; 1,2 compares.",
            unit="processes",
            header="world",
            part="w{}",
        ),
    )
    nodes: int = field(
        default=1,
        metadata=_axis(
            meaning="nodes of a cluster over which the processes are spread evenly",
            help="Nodes for these processes; needs --executor slurm.",
            unit="nodes",
            part="n{}",
            applies=is_parallel,
            needs=SEVERAL_PROCESSES,
        ),
    )
    parallel: Parallel = field(
        default=Parallel.DDP,
        metadata=_axis(
            meaning="how several processes train: `ddp` or `fsdp2`; without meaning for one process",
            help="How several processes train: {choices}.",
            applies=is_parallel,
            needs=SEVERAL_PROCESSES,
        ),
    )
    seed: int = field(
        default=0,
        metadata=_axis(
            meaning="seed of weights and data; the data of rank R are seeded by seed + R",
            help="Seed of weights and data.",
            least=None,
        ),
    )
    accumulate: int = field(
        default=1,
        metadata=_axis(
            meaning="batches whose gradients are added up before an update",
            help="Batches whose gradients add up before an update.",
            unit="batches",
            applies=_trains,
            needs="--mode train",
        ),
    )
    clip_norm: float | None = field(
        default=None,
        metadata=_axis(
            meaning="largest norm of the gradients; empty clips nothing",
            help="Largest norm of all gradients together, or none.",
            unset="none",
            unit="norm",
            header="clip",
            part="clip{}",
            text=lambda value: f"{value:.12g}",
            applies=_trains,
            needs="--mode train",
        ),
    )

    grad_mode: GradMode | None = field(
        default=None,
        metadata=_axis(
            meaning="gradient mode of an inference; empty is inference, or the next mode that the model allows",
            help="Gradient mode of inferences: {choices}.",
            usual_words="inference, or what the model can bear",
            unset="auto",
            part="grad-{}",
            applies=lambda values: values["mode"] is Mode.INFER,
            needs="--mode infer",
        ),
    )

    @property
    def examples_per_step(self) -> int:
        """Number of examples that one step of all processes sees."""
        return self.batch_size * self.accumulate * self.world_size

    @property
    def ranks_per_node(self) -> int:
        """Number of its processes on each node."""
        return self.world_size // self.nodes

    @property
    def id(self) -> str:
        """Name the cell for people: `my_net/train/b32/cuda:0/bf16-amp`; further axes where they are not default."""
        parts = []
        for name, default, about in _axes(cast(Hashable, type(self))):
            value = getattr(self, name)
            if about and (about.is_always_named or value != default):
                part = about.part or (f"{name}{{}}" if isinstance(value, int | float) else "{}")
                parts.append(part.format(about.text(value)))
        return "/".join(parts)

    @property
    def key(self) -> str:
        """Name the cell for machines: 16 hex digits of the SHA-256 of its canonical JSON; joins history across runs.

        Fields at their default are left out, so a new axis does not rename the cells of old runs.
        """
        return _key(self)


@functools.cache
def _axes(kind: Any) -> tuple[tuple[str, Any, About | None], ...]:
    """List the axes of cells once: name, default, and what is said of it."""
    return tuple((axis.name, axis.default, axis.metadata.get("about")) for axis in fields(kind))


@functools.lru_cache(maxsize=2**15)  # a report asks ten times per cell
def _key(cell: Cell) -> str:
    values = {
        name: value
        for name, default, _ in _axes(cast(Hashable, type(cell)))
        if (value := getattr(cell, name)) != default
    }
    if cell.clip_norm is not None:
        values["clip_norm"] = float(cell.clip_norm)  # equal cells have one key, also if somebody gave an int
    return short_hash({name: to_json(value) for name, value in values.items()})


def short_hash(value: Any) -> str:
    """Hash a JSON value canonically (sorted keys, no spaces): 16 hex digits of SHA-256."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
