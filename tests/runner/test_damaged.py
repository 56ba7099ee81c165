"""Files of the commands that judge, probe, bisect and submit, changed at random: a value or one line, as in `store`."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.cell import Cell
from bench.core.comparison import CellNoise, ComparisonVerdict, Ends, Shot, Shots
from bench.core.errors import BenchError
from bench.core.gate import CounterChange, GateVerdict
from bench.core.jsonio import to_json
from bench.core.peaks import Slowdowns
from bench.core.precision import Precision
from bench.core.record import Counters, Sampling
from bench.report.html.sections.history import trend_page
from bench.report.verdict import ci_comment, joint_exit_code
from bench.runner import peaks as peaks_module
from bench.runner.ab import bisect_run
from bench.runner.ab.calibration import Calibration, calibration_path, spreads_of_cells, write_calibration
from bench.runner.ab.stages import Settings
from bench.runner.ci.annotations import annotation_lines, find_annotations
from bench.runner.ci.steps import read_results
from bench.runner.peaks import known_peaks, peaks_path
from bench.runner.slurm.collect import collect, read_status
from bench.runner.slurm.commands import Slurm
from bench.runner.slurm.files import SlurmFiles, Submission, TaskNote
from bench.runner.slurm.script import JobOptions
from bench.store.codec import write_json
from bench.store.expected import read_expected
from bench.store.history.database import open_history
from bench.store.history.ingest import ingest
from bench.store.history.nominate import COLUMNS, nominate
from bench.store.history.queries import STEP, find_series, read_rows, read_trend
from bench.store.kept import Imported, KeptCounts
from bench.store.runs import RunFolder, RunInfo
from bench.store.stored import read_stored_run
from bench.tables.document import page_text
from bench.tables.history import nominations_document, trend_document, trends_document
from bench.tables.table import Page
from tests.core.test_peaks import PEAKS
from tests.damaged import change_database, changed, many
from tests.records import ENVIRONMENT, STARTED_AT, make_claims
from tests.report.ci_results import comparison
from tests.report.formats.runs import gate_row
from tests.runner.slurm.test_commands import FakeSlurm
from tests.runner.test_reporting import compared_folder
from tests.store.history.entries import record_of, store_run
from tests.store.test_damaged import show

ROOT = Path(__file__).parents[2]
CELL = Cell(model="mlp", batch_size=8)
ENDS = Ends(comparisons=(comparison(ComparisonVerdict.SLOWER),), cells=(CELL,), environments=(("cpu", ENVIRONMENT),))
SHOTS = Shots(shots=(Shot(cell_key=CELL.key, shift=0.1, mean_shift=0.1),))
NOISE = CellNoise(
    cell_id=CELL.id, cell_key=CELL.key, sessions=14, quads=12, within=0.01, between=0.02, best_quads=8,
    detectable=((6, 0.1),), slot_shift=0.0, slot_p=0.5,
)  # fmt: skip


def step(name: str, **answer: Any) -> Any:
    """Write what a step of CI leaves."""
    answer = {"schema": 2, "command": name, **to_json(answer)}
    return {"schema": 1, "step": name, "arguments": ["a.toml"], "exit_code": 1, "problem": "", "answer": answer}


def gate_answer() -> Any:
    change = CounterChange(name="parameters", expected=1, found=2)
    rows = [
        {"cell_id": CELL.id, "cell": CELL, "verdict": verdict, "counters": row.counters or (change,)}
        | {"operations": (change,), "reason": row.reason, "row": "gate,2.15,mlp,145"}
        for verdict in GateVerdict
        for row in [gate_row(verdict)]
    ]
    return step("gate", suite="gate", torch="2.15", is_open=False, is_updated=False, rows=rows)


def ab_answer() -> Any:
    heading = {"base": "HEAD^1", "head": "HEAD", "method": "6 sessions", "notes": [], "unfit": None}
    return step("ab", comparisons=[comparison(verdict) for verdict in ComparisonVerdict], heading=heading)


def judge(path: Path) -> None:
    """Do what `bench ci comment` and `bench report --claims` do."""
    results = read_results(path.parent)
    joint_exit_code(results)
    ci_comment(results)
    annotation_lines(find_annotations(results, ROOT))


def bisect(path: Path) -> None:
    """Ask what a resumed bisection asks."""
    measurer = SimpleNamespace(compare=lambda *_: ENDS, session=lambda *_: SHOTS, is_over=lambda: True)
    journal = bisect_run.Journal(measurer, path)
    journal.compare("a", "b", (CELL,))
    journal.session("a", "b", ENDS, (CELL,))
    journal.is_over()


def resume_bisection(path: Path) -> None:
    bisect_run.read_question(RunFolder.open(path.parent))


def history(path: Path) -> None:
    """Do what `bench history show` and `nominate` do."""
    with open_history(str(path)) as opened, opened.reading() as connection:
        for series in find_series(connection):
            trend = read_trend(connection, series, STEP, 60, accepted=(), descendants=None)
            found = nominate(series, read_rows(connection, series, COLUMNS, 60))
            json.dumps(to_json([trend, found]), allow_nan=False)
            for document in (trend_document(trend), trends_document([trend]), nominations_document(found, 1)):
                page_text(document, Page(width=100))
            trend_page([trend], found)


def slurm(path: Path) -> None:
    folder = RunFolder.open(next(above for above in path.parents if (above / "run.json").is_file()))
    for look in (read_status, collect):
        look(folder, slurm=Slurm(FakeSlurm()))


def comparing(path: Path) -> None:
    show(read_stored_run(RunFolder.open(path.parent)))


def answer_of(document: Any, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps(document))


def submitted(root: Path) -> RunFolder:
    """Store a run of Slurm, with a task that died."""
    folder = RunFolder.create(root, RunInfo(started_at=STARTED_AT, cells=(CELL,)))
    files = SlurmFiles.of(folder)
    job = JobOptions(time_seconds=600)
    files.write_submission(
        Submission(number=0, chunks=((CELL.key,),), job=job, sampling=Sampling(), submitted_at=STARTED_AT, job_id=7)
    )
    files.write_note(
        "0.0", TaskNote(host="n1", job_id=7, started_at=STARTED_AT, running=CELL.key, running_since=STARTED_AT)
    )
    (files.path / "0.0.exit").write_text("137\n")
    (files.path / "0.0.out").write_text("slurmstepd-n2: error: Exceeded job memory limit\n")
    return folder


def store(root: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """Store one of everything; return path and reader of each."""
    (root / "ci").mkdir()
    answers = {"gate": gate_answer(), "check": step("check", claims=make_claims()), "ab": ab_answer()}
    for name, document in answers.items():
        answer_of(document, root / "ci" / name / f"{name}.json")
    compared, _ = compared_folder(root / "ab")
    asked = bisect_run.Question(good="a", bad="b", settings=Settings())
    settings = {"kind": "bisect", **to_json(asked)}
    bisected = RunFolder.create(root, RunInfo(started_at=STARTED_AT, cells=(CELL,), settings=settings))
    lines = [
        {"asked": ["compare", "a", "b", CELL.key], "answer": to_json(ENDS)},
        {"asked": ["session", "a", "b", CELL.key], "answer": to_json(SHOTS)},
    ]
    (bisected.path / bisect_run.ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    peaks = peaks_path(root, ENVIRONMENT, "cpu")
    answer_of(to_json(PEAKS), peaks)
    write_calibration(root, Calibration(fingerprint=ENVIRONMENT.fingerprint, measured_at=STARTED_AT, cells=(NOISE,)))
    slow = peaks.with_name(f"{ENVIRONMENT.fingerprint}-cpu-slowdowns.json")
    write_json(slow, Slowdowns(device="cpu", fingerprint="f", ratios=((Precision.BF16, 3.0),)))
    (root / "results").mkdir()
    for day in range(8):
        store_run(root / "results", record_of(day, step=0.01 if day < 5 else 0.02))
    database = root / "results" / "history.sqlite"
    with open_history(str(database), makes=True) as opened:
        ingest(opened, results=root / "results")
    (root / "expected").mkdir()
    for name in ("counters.csv", "dispatches.csv"):
        shutil.copy(ROOT / "results" / "expected" / name, root / "expected")
    source = root / "source.py"
    source.write_text("")
    KeptCounts(root / "kept").keep(
        CELL, Counters(parameters=7), (), Imported(sources=((str(source), "0"),), packages=("pytest",))
    )
    (kept,) = (root / "kept").glob("*/*.json")
    task = submitted(root).path / "slurm"
    return {
        "gate's answer": (root / "ci" / "gate" / "gate.json", judge),
        "check's answer": (root / "ci" / "check" / "check.json", judge),
        "ab's answer": (root / "ci" / "ab" / "ab.json", judge),
        "comparison": (compared.path / "comparison.json", comparing),
        "answers of a bisection": (bisected.path / bisect_run.ANSWERS, bisect),
        "question of a bisection": (bisected.path / "run.json", resume_bisection),
        "peaks": (peaks, lambda _: known_peaks(root, {"cpu": ENVIRONMENT})),
        "noise": (
            calibration_path(root, ENVIRONMENT.fingerprint),
            lambda _: spreads_of_cells(root, Settings())(ENVIRONMENT, [CELL]),
        ),
        "slowdowns": (slow, peaks_module._read_slowdowns),
        "history": (database, history),
        "dispatches.csv": (root / "expected" / "dispatches.csv", lambda path: read_expected(path.parent)),
        "kept count": (kept, lambda _: KeptCounts(root / "kept").find(CELL)),
        "submission": (task / "0.json", slurm),
        "note of a task": (task / "0.0.json", slurm),
        "exit code of a task": (task / "0.0.exit", slurm),
    }


KINDS = (
    "gate's answer", "check's answer", "ab's answer", "comparison", "answers of a bisection", "question of a bisection",
    "peaks", "noise", "slowdowns", "history", "dispatches.csv", "kept count", "submission", "note of a task",
    "exit code of a task",
)  # fmt: skip


class Stored:
    """What `store` made; hypothesis would print all of it."""

    def __init__(self, root: Path) -> None:
        self.made = store(root)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    stored = Stored(tmp_path_factory.mktemp("damaged"))
    assert set(stored.made) == set(KINDS)
    return stored


def read_damaged(path: Path, read: Callable[[Path], object], seed: int) -> None:
    whole, draw = path.read_bytes(), random.Random(seed)
    if path.suffix == ".sqlite" and draw.random() < 0.7:
        change_database(path, draw)
    else:
        path.write_bytes(changed(whole, draw, is_json=path.suffix == ".json"))
    try:
        read(path)
    except BenchError as error:
        assert "\n" not in str(error), str(error)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("kind", KINDS)
@many(100)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_ends_in_a_value_or_in_one_line(kind: str, there: Stored, seed: int) -> None:
    read_damaged(*there.made[kind], seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
@many(2000)
@given(seed=st.integers(0, 2**32))
def test_thousands_of_damaged_files_end_in_a_value_or_in_one_line(kind: str, there: Stored, seed: int) -> None:
    read_damaged(*there.made[kind], seed)
