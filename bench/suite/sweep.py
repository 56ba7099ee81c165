"""A sweep: the product of its axes, less what `exclude` matches, plus what `include` adds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from bench.core.cell import Cell, CompileMode, MemoryFormat, Mode, Parallel, Precision
from bench.core.errors import UsageError
from bench.core.inputs import InputShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Matches the cells that have one of the given values on every axis it names: `precision is one of ...`."""

    axis: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The axes of a sweep, each with the values it takes; fields stand in the order of the loops, outermost first.

    Attributes:
        exclude: Each entry is a group of rules; a cell that matches all rules of one group is left out.
        include: Cells to add that the product does not hold.
    """

    models: tuple[str, ...]
    modes: tuple[Mode, ...] = (Mode.TRAIN,)
    batch_sizes: tuple[int, ...] = (8,)
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    optimizers: tuple[str | None, ...] = (None,)
    compile: tuple[CompileMode, ...] = (CompileMode.NONE,)
    memory_formats: tuple[MemoryFormat, ...] = (MemoryFormat.CONTIGUOUS,)
    input_shape: InputShape | None = None
    threads: tuple[int | None, ...] = (None,)
    world_sizes: tuple[int, ...] = (1,)
    parallel: tuple[Parallel, ...] = (Parallel.DDP,)
    seeds: tuple[int, ...] = (0,)
    accumulate: tuple[int, ...] = (1,)
    clip_norms: tuple[float | None, ...] = (None,)
    exclude: tuple[tuple[Rule, ...], ...] = ()
    include: tuple[Cell, ...] = ()

    def cells(self) -> tuple[Cell, ...]:
        """Expand to cells, each once, in the order of the axes.

        Raises:
            UsageError: Nothing is left to measure.
        """
        product = itertools.product(
            self.models,
            self.modes,
            self.batch_sizes,
            self.devices,
            self.precisions,
            self.optimizers,
            self.compile,
            self.memory_formats,
            self.threads,
        )
        inner = tuple(itertools.product(self.world_sizes, self.parallel, self.seeds, self.accumulate, self.clip_norms))
        cells = (
            Cell(
                model=model,
                mode=mode,
                batch_size=batch_size,
                device=device,
                precision=precision,
                optimizer=optimizer if mode is Mode.TRAIN else None,
                compile=compile_mode,
                memory_format=memory_format,
                input_shape=self.input_shape,
                threads=threads,
                world_size=world_size,
                parallel=parallel if world_size > 1 else Parallel.DDP,
                seed=seed,
                accumulate=accumulate if mode is Mode.TRAIN else 1,
                clip_norm=clip_norm if mode is Mode.TRAIN else None,
            )
            for (
                model,
                mode,
                batch_size,
                device,
                precision,
                optimizer,
                compile_mode,
                memory_format,
                threads,
            ) in product
            for world_size, parallel, seed, accumulate, clip_norm in inner
        )
        kept = [cell for cell in cells if not any(_matches(cell, group) for group in self.exclude)]
        unique = tuple(dict.fromkeys([*kept, *self.include]))
        if not unique:
            raise UsageError("the sweep holds no cell: name at least one model, and exclude less")
        return unique


def expand(sweeps: Iterable[Sweep]) -> tuple[Cell, ...]:
    """Expand several sweeps into one list of cells, each once."""
    return tuple(dict.fromkeys(cell for sweep in sweeps for cell in sweep.cells()))


def _matches(cell: Cell, group: tuple[Rule, ...]) -> bool:
    return all(str(getattr(cell, rule.axis)) in rule.values for rule in group)
