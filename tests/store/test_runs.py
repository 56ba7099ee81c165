from __future__ import annotations

import errno
import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell
from bench.core.errors import StoreError
from bench.core.record import SCHEMA, Outcome, Phase, Sample
from bench.store import runs as records_module
from bench.store.codec import from_file, to_bytes
from bench.store.runs import RunFolder, RunInfo, latest, run_paths
from bench.store.stored import read_stored_run
from tests.records import ENVIRONMENT, NOISY, STARTED_AT, make_counters, make_record, make_sweep


def make_run(**more: object) -> RunInfo:
    return RunInfo(**{"started_at": STARTED_AT, "command": ("bench", "run"), "environment": ENVIRONMENT, **more})  # type: ignore[arg-type]


def test_a_run_comes_back_as_it_went(tmp_path: Path) -> None:
    sweep = make_sweep()
    run = make_run(cells=tuple(r.cell for r in sweep), sweep={"model": ["mlp"]}, settings={"budget_seconds": 1.0})
    folder = RunFolder.create(tmp_path, run)
    for record in reversed(sweep):
        folder.append(record)
    again = RunFolder.open(folder.path)
    assert again.records() == sweep  # in the planned order, not in that of writing
    assert again.run == replace(run, id=folder.path.name)


def test_records_outside_the_plan_stand_last_by_name(tmp_path: Path) -> None:
    planned = make_record("z")
    folder = RunFolder.create(tmp_path, make_run(cells=(planned.cell,)))
    for record in (make_record("c"), make_record("b"), planned):
        folder.append(record)
    assert [record.cell.model for record in folder.records()] == ["z", "b", "c"]


def test_cells_without_a_record_are_named(tmp_path: Path) -> None:
    cells = (Cell(model="a", batch_size=1), Cell(model="b", batch_size=1))
    folder = RunFolder.create(tmp_path, make_run(cells=cells))
    folder.append(make_record("a", 1))
    assert read_stored_run(folder).missing == cells[1:]


def test_the_newer_record_of_a_cell_replaces_the_older(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    folder.append(make_record(outcome=Outcome.FAILED, step=None, reason="first try"))
    folder.append(make_record())
    assert folder.records() == (make_record(),)


def test_a_copied_record_file_does_not_count_twice(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    newer = make_record(started_at="2026-11-23T19:00:00+01:00")  # later than 17:53 UTC
    path = folder.append(newer)
    (folder.records_path / "zz-copy.json").write_bytes(to_bytes(make_record(), "copy"))
    assert path.exists()
    assert folder.records() == (newer,)


def test_run_ids_sort_by_time_in_utc_and_are_unique_within_a_second(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(tmp_path, make_run()), range(32)))
    assert len({folder.path for folder in folders}) == 32
    assert all(folder.path.name.startswith("20261123-175309-") for folder in folders)
    local = RunFolder.create(tmp_path, make_run(started_at="2026-11-23T19:53:10+02:00"))
    assert local.path.name.startswith("20261123-175310-")
    assert latest(tmp_path) == local.path


def test_two_runs_that_draw_the_same_id_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(records_module.secrets, "token_hex", lambda n: next(draws) if n == 3 else "0" * 2 * n)
    names = [RunFolder.create(tmp_path, make_run()).path.name for _ in range(2)]
    assert [name[-6:] for name in names] == ["aaaaaa", "bbbbbb"]


def test_of_two_runs_in_one_second_the_one_written_last_is_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = iter(["ffffff", "000000"])
    monkeypatch.setattr(records_module.secrets, "token_hex", lambda n: next(draws) if n == 3 else "0" * 2 * n)
    first, second = (RunFolder.create(tmp_path, make_run()) for _ in range(2))
    for folder, nanoseconds in ((first, 10**18), (second, 10**18 + 1)):
        os.utime(folder.path / "run.json", ns=(nanoseconds, nanoseconds))
    assert latest(tmp_path) == second.path


def test_a_run_opens_by_path_id_beginning_and_latest(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    for name in (folder.path, str(folder.path), folder.path.name, folder.path.name[:12], "latest"):
        assert RunFolder.open(name, tmp_path) == folder


def test_an_unknown_or_ambiguous_run_is_an_error_that_names_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found: none"):
        RunFolder.open("20990101", tmp_path)
    folders = [RunFolder.create(tmp_path, make_run()) for _ in range(2)]
    with pytest.raises(StoreError, match=r"no run '20990101' .* found: .*" + folders[0].path.name):
        RunFolder.open("20990101", tmp_path)
    with pytest.raises(StoreError, match="2 runs begin with '2026'"):
        RunFolder.open("2026", tmp_path)


def test_no_runs_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "expected").mkdir()
    (tmp_path / "20261123-175309-abcdef").mkdir()  # being made: no run.json yet
    assert run_paths(tmp_path) == ()
    assert run_paths(tmp_path / "absent") == ()
    with pytest.raises(StoreError, match="bench run"):
        latest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2", '{"schema": 1, "cell": {"model": "my'])
def test_a_truncated_record_is_named_and_the_others_are_read(tmp_path: Path, text: str) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    folder.append(make_record("good"))
    bad = folder.append(make_record("bad"))
    bad.write_text(text)
    with pytest.raises(StoreError, match=bad.name):
        folder.records()
    records, problems = folder.read_records()
    assert records == (make_record("good"),)
    assert [bad.name in str(problem) for problem in problems] == [True]


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"3",
        b"null",
        b'"text"',
        b"{}",
        b'{"schema": true}',
        b'{"schema": "1"}',
        b'{"schema": 1}',
        b'{"schema": 1, "unknown": 2}',
        b'{"schema": 0}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_a_foreign_file_is_a_store_error_with_its_name(tmp_path: Path, data: bytes) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    (folder.records_path / "foreign.json").write_bytes(data)
    records, problems = folder.read_records()
    assert records == ()
    assert len(problems) == 1 and "foreign.json" in str(problems[0]) and "\n" not in str(problems[0])


def test_a_truncated_record_is_a_problem_never_a_wrong_record(tmp_path: Path) -> None:
    whole = to_bytes(make_record(n=6), "x")
    path = tmp_path / "record.json"
    for length in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreError):
            from_file(type(make_record()), path)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_store_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(data)
    with pytest.raises(StoreError):
        from_file(type(make_record()), path)


def test_a_newer_schema_is_refused_in_words(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    path = folder.append(make_record())
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "schema": SCHEMA + 1, "stepbench": "9.0", "new_field": 1}))
    with pytest.raises(StoreError, match=r"newer stepbench \(9.0\); update"):
        folder.records()


def test_temporaries_of_a_killed_writer_are_not_read(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    (folder.records_path / ".abc.json.1-00.tmp").write_text("half a rec")
    assert folder.read_records() == ((), ())


def test_a_failed_write_leaves_the_old_record_and_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    path = folder.append(make_record())

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=f"{path.name}: the disk is full"):
        folder.append(make_record(step=0.5))
    assert folder.records() == (make_record(),)
    assert list(folder.records_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path, make_run())

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        folder.append(make_record())
    assert list(folder.records_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EROFS, "read-only"), (errno.EACCES, "permission denied"), (errno.EDQUOT, "quota")]
)
def test_a_folder_that_cannot_be_written_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    real_open = os.open

    def refuse(path: str | Path, flags: int, *args: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real_open(path, flags, *args)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=words):
        RunFolder.create(tmp_path / "results", make_run())
    monkeypatch.undo()
    assert list((tmp_path / "results").iterdir()) == []  # the half-made run is taken back


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_said_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="permission denied"):
        RunFolder.create(tmp_path / "results", make_run())


def test_a_root_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    root = tmp_path / "results"
    root.write_text("not a folder")
    with pytest.raises(StoreError, match="in the way"):
        RunFolder.create(root, make_run())
    with pytest.raises(StoreError, match="not a folder"):
        RunFolder.create(root / "below", make_run())
    with pytest.raises(StoreError, match="not a folder"):
        latest(root)


def test_what_is_not_finite_is_written_as_json_allows(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    advice = Advice(kind=AdviceKind.NONFINITE_LOSS, facts=(("loss", float("nan")), ("previous", float("-inf"))))
    path = folder.append(replace(make_record(), final_loss=float("nan"), advice=(NOISY, advice)))
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    (record,) = folder.records()
    assert record.final_loss is None
    assert record.advice[1].facts == (("loss", "nan"), ("previous", "-inf"))


def test_a_sample_that_is_not_finite_is_refused_rather_than_stored(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    record = replace(make_record(), samples=(Sample(phase=Phase.STEP, seconds=(0.1, float("nan"))),))
    with pytest.raises(StoreError, match=r"my_net/train/b8/cpu/fp32"):
        folder.append(record)
    assert list(folder.records_path.iterdir()) == []


def test_a_record_with_a_value_of_a_wrong_type_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    record = replace(make_record(), counters=replace(make_counters(), saved_bytes=make_record().sampling))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"Counters\.saved_bytes needs int"):
        folder.append(record)
    assert list(folder.records_path.iterdir()) == []


def test_a_reason_with_broken_characters_is_stored(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    record = make_record(step=None, outcome=Outcome.FAILED, reason="file \udcff\x00\x1b[31m 模型\nline")
    folder.append(record)
    assert folder.records() == (record,)


def test_broken_characters_of_a_summary_are_spelled_out(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    folder.tables_path.mkdir()
    folder.write_summary("± \udcff")
    assert (folder.tables_path / "summary.md").read_text(encoding="utf-8") == "± \\udcff\n"


def test_record_files_can_be_read_by_the_team(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = RunFolder.create(tmp_path, make_run()).append(make_record())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def _append_forever(path: str) -> None:
    folder = RunFolder.open(path)
    while True:
        folder.append(make_record(n=500))


def test_a_reader_never_sees_half_a_record_even_after_a_kill(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_run())
    folder.append(make_record(n=500))
    writer = multiprocessing.get_context("spawn").Process(target=_append_forever, args=(str(folder.path),), daemon=True)
    writer.start()
    try:
        for _ in range(100):
            assert folder.records() == (make_record(n=500),)
    finally:
        writer.kill()
        writer.join()
    assert folder.records() == (make_record(n=500),)


def test_the_latest_run_for_cells_passes_over_runs_without_records(tmp_path: Path) -> None:
    runs = [RunFolder.create(tmp_path, make_run(started_at=f"2026-11-23T17:53:0{s}+00:00")) for s in range(3)]
    assert latest(tmp_path, prefers_records=True) == runs[2].path  # none has records
    runs[1].append(make_record())
    assert latest(tmp_path) == runs[2].path
    assert RunFolder.open("latest", tmp_path, prefers_records=True).path == runs[1].path
