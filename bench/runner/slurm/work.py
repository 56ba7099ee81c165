"""What a run on Slurm measures: the cells of `bench run`, or the cases of `bench generate` and `bench images`.

Both are items with an id and a key, and end in one file each: a record, or the result of a case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core import __version__
from bench.core.cell import Cell
from bench.core.errors import StoreError
from bench.core.generation import Generation, GenerationCase, Sampled, SamplingCase
from bench.core.jsonio import from_json, to_json
from bench.core.record import Outcome, Record
from bench.runner.scenarios import Kind, kind_of, write_tables_of_cases
from bench.runner.session import write_derived
from bench.store.cases import write_case
from bench.store.codec import digest
from bench.store.runs import RunFolder
from bench.store.stored import read_stored_run

Item = Cell | GenerationCase | SamplingCase
Result = Record | Generation | Sampled


def cell_of(item: Item) -> Cell:
    """Return the cell of an item, which a cell is itself."""
    return item if isinstance(item, Cell) else item.cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The items of one run, and their results.

    Attributes:
        folder: Folder of the run.
        kind: Kind of its cases; None where its items are cells.
        items: All that was planned, in the order of the tables.
    """

    folder: RunFolder
    kind: Kind | None
    items: tuple[Item, ...]

    @classmethod
    def of(cls, folder: RunFolder) -> Work:
        """Read what a run measures."""
        kind = kind_of(folder)
        if kind is None:
            return cls(folder=folder, kind=None, items=folder.run.cells)
        items: tuple[Item, ...] = tuple(from_json(kind.case, case) for case in folder.run.settings[kind.name])
        return cls(folder=folder, kind=kind, items=items)

    @property
    def field(self) -> str:
        """Name of the results in a stored run and in JSON."""
        return "records" if self.kind is None else self.kind.field

    @property
    def command(self) -> str:
        """Name of the command that submitted the run, and can resume it."""
        return "run" if self.kind is None else self.kind.command

    def names(self) -> dict[str, str]:
        """Return the ids of all items by their keys."""
        return {item.key: item.id for item in self.items}

    def read(self) -> tuple[tuple[Result, ...], tuple[StoreError, ...]]:
        """Read the results that are there, and what is wrong with files that cannot be read."""
        return self.folder.read_records() if self.kind is None else self.kind.read(self.folder)

    def item_of(self, result: Result) -> Item:
        """Return what a result is of."""
        return result.cell if isinstance(result, Record) else result.case

    def superseded_by(self, retried: Collection[Outcome]) -> dict[str, str]:
        """Return the results that ended like `retried`, as digests by the keys of their items."""
        results = self.read()[0] if retried else ()
        return {self.item_of(one).key: digest(to_json(one)) for one in results if one.outcome in retried}

    def is_superseded(self, result: Result, superseded: Mapping[str, str]) -> bool:
        """Whether a result is one of those that are to be replaced, and not yet what replaced it.

        By its content and not by its time, which is of whole seconds and of another machine's clock.
        """
        known = superseded.get(self.item_of(result).key)
        return known is not None and known == digest(to_json(result))

    def missing(self) -> tuple[Item, ...]:
        """Return the items without a file: those that no task has finished."""
        path = self.folder.records_path if self.kind is None else self.folder.path / self.kind.name
        return tuple(item for item in self.items if not (path / f"{item.key}.json").is_file())

    def append(self, result: Result) -> Path:
        """Write one result to disk, whole and durable.

        Raises:
            StoreError: It cannot be written.
        """
        return self.folder.append(result) if isinstance(result, Record) else write_case(self.folder, result)

    def row(self, item: Item, outcome: Outcome, reason: str, started_at: str, **about: Any) -> Result:
        """Make the result of an item that has none, because its task died."""
        fields: dict[str, Any] = {"duration_seconds": 0.0, **about}
        fields |= {"outcome": outcome, "reason": reason, "started_at": started_at, "stepbench": __version__}
        if isinstance(item, Cell):
            return Record(cell=item, **fields)
        fields.pop("output_tail", None)
        found: Result = self.kind.result(case=item, **fields)  # type: ignore[union-attr]
        return found

    def write_tables(self, results: tuple[Result, ...], claims: tuple[Any, ...]) -> None:
        """Write the tables of these results; of cells, the report too.

        Raises:
            StoreError: A file cannot be written.
        """
        changes: dict[str, Any] = {self.field: results, "claims": claims}
        run = replace(read_stored_run(self.folder), **changes)
        if self.kind is None:
            write_derived(self.folder, run)
        else:
            write_tables_of_cases(self.folder, run)
