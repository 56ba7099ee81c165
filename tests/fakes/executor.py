"""An executor that measures nothing: the cell's model says what happens."""

from __future__ import annotations

from collections.abc import Callable

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.record import Outcome, Phase, Record, Sample
from bench.core.units import parse_seconds
from bench.runner.records import Stamp

_ENDINGS = {
    "skipped": Outcome.SKIPPED,
    "failed": Outcome.FAILED,
    "oom": Outcome.OUT_OF_MEMORY,
    "timeout": Outcome.TIMED_OUT,
    "killed": Outcome.KILLED,
}


class MockExecutor:
    """Stands for the runner's `LocalExecutor`: `mock:12ms` "takes" 12 ms per step, `mock:oom` runs out of memory.

    The endings are `skipped`, `failed`, `oom`, `timeout`, `killed`; `mock:interrupt` raises KeyboardInterrupt, as does
    Ctrl-C while a cell runs.

    Attributes:
        ran: The cells, in the order they were asked for.
    """

    def __init__(
        self, *, steps: int = 5, environment: Environment | None = None, advance: Callable[[float], None] | None = None
    ) -> None:
        """Set what every cell shares.

        Args:
            steps: Values in the sample of each cell that ends OK.
            environment: Written into the records.
            advance: Told the seconds that a cell "took": a fake clock's.
        """
        self._steps = steps
        self._environment = environment
        self._advance = advance
        self.ran: list[Cell] = []

    def run(self, cell: Cell) -> Record:
        """Answer with the record that the cell's model asks for.

        Raises:
            KeyboardInterrupt: The model is `mock:interrupt`.
            ValueError: The model is not `mock:` and a duration or an ending.
        """
        self.ran.append(cell)
        stamp = Stamp(cell)
        kind, _, text = cell.model.partition(":")
        if kind != "mock":
            raise ValueError(f"a mock executor runs models like 'mock:12ms' or 'mock:oom', found {cell.model!r}")
        if text == "interrupt":
            raise KeyboardInterrupt
        if text in _ENDINGS:
            return stamp.record(_ENDINGS[text], reason=f"{cell.model} was asked for", environment=self._environment)
        seconds = (parse_seconds(text),) * self._steps
        if self._advance is not None:
            self._advance(sum(seconds))
        sample = Sample(phase=Phase.STEP, seconds=seconds, converged=True)
        return stamp.record(Outcome.OK, samples=(sample,), environment=self._environment)
