"""The other door: the same engine inside pytest, with pytest-benchmark's own table, JSON and comparison.

    @pytest.mark.bench_sweep(models=["my_net"], batch_size=[8, 32], precision=["fp32", "bf16-amp"])
    def test_my_net(bench_cell):
        record = bench_cell()                 # one cell per test; measured in a fresh process

    def test_one(bench_cell):
        record = bench_cell("my_net", batch_size=8)

One round of pytest-benchmark is one step: it is handed the very seconds of the Record, which lies in `results/`.
Phases, FLOPs, parameters and memory are in `extra_info`, the fingerprint in `machine_info`, the axes in `params`.

Where pytest-benchmark is disabled (`--benchmark-disable`, pytest-xdist), a cell runs one step and nothing is measured.

This file is loaded in every pytest run of the user's environment, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from bench.core.cell import Cell
from bench.core.errors import BenchError

if TYPE_CHECKING:
    from bench.core.record import Record
    from bench.runner.recorder import Recorder
    from bench.runner.session import Session

_recorder_key: pytest.StashKey[Recorder] = pytest.StashKey()
T = TypeVar("T")
_SAMPLING_OPTIONS = ("target", "budget_seconds", "floor_seconds", "processes")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where the records go and how processes are started."""
    group = parser.getgroup("stepbench")
    group.addoption("--bench-results", type=Path, default=Path("results"), help="Folder for the records of bench_cell.")
    group.addoption(
        "--bench-executor",
        choices=("forkserver", "spawn", "inline"),
        default="forkserver",
        help="How bench_cell starts the process of a cell.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers",
        "bench_sweep(models, suite, mode, batch_size, device, precision, optimizer, ..., target, budget_seconds, "
        "floor_seconds, processes): run the test once per cell of the sweep, which the fixture bench_cell measures.",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per cell of the sweep."""
    mark = metafunc.definition.get_closest_marker("bench_sweep")
    if mark is None or "bench_cell" not in metafunc.fixturenames:
        return
    cells: tuple[Cell, ...] = ()
    problem = None
    try:
        cells = _cells(mark)
    except BenchError as error:
        problem = f"{metafunc.definition.nodeid}: {error}"
    if problem is not None:  # outside of the handler, or pytest would show both
        pytest.fail(problem, pytrace=False)
    metafunc.parametrize("bench_cell", cells, ids=[cell.id for cell in cells], indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give tests with `bench_cell` the timer that replays the engine's seconds."""
    if "bench_cell" in getattr(item, "fixturenames", ()):
        mark = item.get_closest_marker("benchmark")
        options = dict(mark.kwargs) if mark else {}
        item.add_marker(pytest.mark.benchmark(**{**options, "timer": ReplayTimer()}), append=False)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Record what was measured on, so that other machines' results are not compared."""
    recorder = config.stash.get(_recorder_key, None)
    if recorder is not None and recorder.environment is not None:
        from bench.core.jsonio import to_json

        machine_info["stepbench"] = {
            "fingerprint": recorder.environment.fingerprint,
            "environment": to_json(recorder.environment),
        }


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Derive the tables once all cells are measured."""
    recorder = session.config.stash.get(_recorder_key, None)
    if recorder is not None:
        recorder.close()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Return where the results are, or that there are none."""
    recorder = config.stash.get(_recorder_key, None)
    if recorder is not None and recorder.folder is not None:
        terminalreporter.write_line(f"stepbench results: {recorder.folder.path}")
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    if tried := sum((_TRIED, True) in getattr(report, "user_properties", ()) for report in reports):
        why = "pytest-xdist" if config.getoption("dist", "no") != "no" else "--benchmark-disable"
        terminalreporter.write_line(
            f"stepbench: {tried} test{'s' if tried > 1 else ''} ran one step each, nothing was measured ({why})"
        )


_TRIED = "stepbench ran one step"  # a user property, because those of xdist's workers reach the terminal


def _plain_axes(cell: Cell) -> dict[str, Any]:
    from bench.core.inputs import inputs_text
    from bench.core.jsonio import to_json

    axes: dict[str, Any] = to_json(cell)
    return axes | {"input_shape": inputs_text(cell.input_shape)}


class ReplayTimer:
    """A timer for pytest-benchmark that reads 0 at the start of a round and the step's recorded seconds at its end."""

    def __init__(self) -> None:
        self._pending: Iterator[float] = iter(())
        self._now = 0.0

    def load(self, seconds: tuple[float, ...]) -> None:
        """Set what the next rounds will have taken."""
        self._pending = iter(seconds)

    def advance(self) -> None:
        """Be the benchmarked function: let one recorded step pass."""
        self._now = next(self._pending, 0.0)

    def __call__(self) -> float:
        """Return the time and start again from 0, so that each difference is exactly the recorded value."""
        now, self._now = self._now, 0.0
        return now


class BenchCell:
    """What the fixture `bench_cell` gives: call it once to measure a cell."""

    def __init__(self, request: pytest.FixtureRequest, benchmark: Any, recorder: Recorder) -> None:
        self.cell: Cell | None = getattr(request, "param", None)
        self._properties: list[tuple[str, object]] = request.node.user_properties
        self._benchmark = benchmark
        self._recorder = recorder
        self._mark = request.node.get_closest_marker("bench_sweep")
        self._timer: ReplayTimer = request.node.get_closest_marker("benchmark").kwargs["timer"]

    def __call__(self, model: str | None = None, **axes: Any) -> Record:
        """Measure the cell of the sweep, or of the arguments; report it through pytest-benchmark; return its Record.

        Where pytest-benchmark is disabled, one step runs and the Record has no samples and is stored nowhere.

        Args:
            model: A model spec, in a test without the mark `bench_sweep`.
            axes: `batch_size=8, precision="bf16-amp"`, one value each, and `target`, `budget_seconds`, `floor_seconds`,
                `processes`.

        Raises:
            pytest.skip.Exception: The cell was SKIPPED, with its reason.
            pytest.fail.Exception: It ended in any other way than OK, or cannot be planned.
        """
        __tracebackhide__ = True
        options = dict(self._mark.kwargs) if self._mark else {}
        if model is not None:
            from bench.suite.sweep import sweep_of

            options |= axes
            cells = self._or_fail(lambda: sweep_of(models=[model], **_without_sampling(axes)).cells())
            if len(cells) > 1:
                pytest.fail(
                    f"bench_cell takes one value per axis, and these are {len(cells)} cells; use the mark", False
                )
            (self.cell,) = cells
        if self.cell is None:
            pytest.fail("bench_cell() needs a model, or the mark @pytest.mark.bench_sweep(models=[...])", pytrace=False)
        cell, sampling = self.cell, {name: options[name] for name in _SAMPLING_OPTIONS if name in options}
        if self._benchmark.enabled:
            suite = None if model is not None or self._mark is None else _session(self._mark)
            base = None if suite is None else suite.sampling
            record = self._or_fail(lambda: self._recorder.measure(cell, sampling, base))
        else:
            record = self._or_fail(lambda: self._recorder.try_once(cell))
        self._report(record)
        return record

    def _or_fail(self, call: Callable[[], T]) -> T:
        """Call a function; an error that the user can fix fails the test in one line."""
        __tracebackhide__ = True
        try:
            return call()
        except BenchError as error:
            problem = str(error)
        self._has_no_rounds()
        pytest.fail(problem, pytrace=False)

    def _has_no_rounds(self) -> None:
        """Keep pytest-benchmark from warning that its fixture was not used."""
        self._benchmark._mode = "bench_cell(...)"

    def _report(self, record: Record) -> None:
        """Pass the steps to pytest-benchmark, one round each; skip or fail the test if there are none."""
        __tracebackhide__ = True
        from bench.core.record import Outcome, Phase
        from bench.runner.recorder import extra_info

        if record.outcome is Outcome.SKIPPED:
            self._has_no_rounds()
            pytest.skip(f"{record.cell.id}: {record.reason}")
        if record.outcome is not Outcome.OK:
            self._has_no_rounds()
            tail = f"\n{record.output_tail}" if record.output_tail else ""
            pytest.fail(f"{record.cell.id}: {record.outcome.value}: {record.reason}{tail}", pytrace=False)
        if not self._benchmark.enabled:
            self._has_no_rounds()
            self._properties.append((_TRIED, True))
            return
        given = {name: value for name, value in (self._benchmark.params or {}).items() if name != "bench_cell"}
        self._benchmark.params = _plain_axes(record.cell) | given  # values to group by, one axis each, not a Cell
        self._benchmark.group = self._benchmark.group or record.cell.model
        seconds = record.sample_seconds(Phase.STEP)
        self._timer.load(seconds)
        self._benchmark.extra_info.update(extra_info(record))
        self._benchmark.pedantic(self._timer.advance, rounds=len(seconds), iterations=1)


@pytest.fixture
def bench_cell(request: pytest.FixtureRequest, benchmark: Any) -> BenchCell:
    """Measure one cell in a fresh process; see `BenchCell`."""
    config = request.config
    if _recorder_key not in config.stash:
        from bench.runner.recorder import Recorder

        config.stash[_recorder_key] = Recorder(
            config.getoption("--bench-results"), method=config.getoption("--bench-executor")
        )
    return BenchCell(request, benchmark, config.stash[_recorder_key])


def _cells(mark: pytest.Mark) -> tuple[Cell, ...]:
    """Expand the mark's sweep.

    Raises:
        BenchError: An axis or a value is unknown.
    """
    from bench.suite.sweep import sweep_of

    session = _session(mark)
    return sweep_of(**_without_sampling(mark.kwargs)).cells() if session is None else session.cells


def _session(mark: pytest.Mark) -> Session | None:
    """Read the suite that a mark names; None where it names none.

    Raises:
        BenchError: The suite, an axis or a value is unknown.
    """
    axes = _without_sampling(mark.kwargs)
    suite = axes.pop("suite", None)
    if suite is None:
        return None
    from bench.runner.session import plan_targets
    from bench.suite.axes import axes_of

    return plan_targets([suite], axes_of(**axes))


def _without_sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _SAMPLING_OPTIONS}
