"""What is measured: a `Cell` is one point of a sweep, and names itself for people (`id`) and for joins (`key`)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

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


class MemoryFormat(StrEnum):
    """The layout of 4-d activations and weights."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of a sweep; holds the request only, nothing that was measured.

    Attributes:
        model: A model spec as typed: `my_net`, `mlp@activation=tanh,width=512`, `torchvision:resnet18`,
            `package.module:callable`, `path/file.py:callable`.
        batch_size: Examples per step; of each process where there are several (weak scaling).
        device: `cpu` or `cuda:N`; of several processes the first one's, the others take those that follow.
        optimizer: `sgd`, `adam`, `adamw`, `rmsprop`, each also `-fused` or `-foreach`; None is the workload's own.
        input_shape: Shape of one example, without the batch, or each of several inputs as `bench.core.inputs` writes
            it; only for a bare `nn.Module`.
        threads: Intra-operation threads of a process; None is torch's default, shared out among processes.
        world_size: Processes that train together.
        parallel: How they do; DDP where there is one.
        seed: Seeds weights and data.
        accumulate: Batches whose gradients are added up before an update; a step has so many times the examples.
        clip_norm: The largest norm of all gradients together; larger ones are scaled down. None clips nothing.
    """

    model: str
    mode: Mode = Mode.TRAIN
    batch_size: int
    device: str = "cpu"
    precision: Precision = Precision.FP32
    optimizer: str | None = None
    compile: CompileMode = CompileMode.NONE
    memory_format: MemoryFormat = MemoryFormat.CONTIGUOUS
    input_shape: InputShape | None = None
    threads: int | None = None
    world_size: int = 1
    parallel: Parallel = Parallel.DDP
    seed: int = 0
    accumulate: int = 1
    clip_norm: float | None = None

    @property
    def examples_per_step(self) -> int:
        """Number of examples that one step of all processes sees."""
        return self.batch_size * self.accumulate * self.world_size

    @property
    def id(self) -> str:
        """Name the cell for people: `my_net/train/b32/cuda:0/bf16-amp`; further axes where they are not default."""
        parts = [self.model, self.mode.value, f"b{self.batch_size}", self.device, self.precision.value]
        if self.optimizer is not None:
            parts.append(self.optimizer)
        if self.compile is not CompileMode.NONE:
            parts.append(f"compile-{self.compile.value}")
        if self.memory_format is not MemoryFormat.CONTIGUOUS:
            parts.append(self.memory_format.value)
        if (inputs := inputs_text(self.input_shape)) is not None:
            parts.append(inputs)
        if self.threads is not None:
            parts.append(f"t{self.threads}")
        if self.world_size != 1:
            parts.append(f"w{self.world_size}")
        if self.parallel is not Parallel.DDP:
            parts.append(self.parallel.value)
        if self.seed != 0:
            parts.append(f"seed{self.seed}")
        if self.accumulate != 1:
            parts.append(f"accumulate{self.accumulate}")
        if self.clip_norm is not None:
            parts.append(f"clip{self.clip_norm:g}")
        return "/".join(parts)

    @property
    def key(self) -> str:
        """Name the cell for machines: 16 hex digits of the SHA-256 of its canonical JSON; joins history across runs.

        Fields at their default are left out, so a new axis does not rename the cells of old runs.
        """
        return short_hash({f.name: to_json(getattr(self, f.name)) for f in fields(self) if not self._is_default(f)})

    def _is_default(self, field: Any) -> bool:
        return bool(getattr(self, field.name) == field.default)


def short_hash(value: Any) -> str:
    """Hash a JSON value canonically (sorted keys, no spaces): 16 hex digits of SHA-256."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
