"""Kept counts: found while the code is what it was, by commands that give no verdict."""

import json
import os
import sys
import threading
import time

import pytest

from bench.core.cell import Cell
from bench.core.record import Counters
from bench.store.kept import Imported, KeptCounts, imported_code

CELL = Cell(model="net.py:make", batch_size=2)
ASKED = {"opinions": True, "steps": True}


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "helper.py"
    file.write_text("WIDTH = 4\n")
    os.utime(file, (1, 1))
    return file


def imported(source):
    import hashlib

    return Imported(sources=((str(source), hashlib.sha256(source.read_bytes()).hexdigest()),), packages=("pytest",))


def keep(folder, source, parameters=7):
    KeptCounts(folder).keep(CELL, Counters(parameters=parameters), (), imported(source), **ASKED)


def test_an_answer_is_found_while_its_sources_are_unchanged(tmp_path, source):
    keep(tmp_path / "kept", source)
    kept = KeptCounts(tmp_path / "kept")
    assert kept.find(CELL, **ASKED) == (Counters(parameters=7), ())
    assert kept.found == 1
    assert kept.find(CELL, opinions=False, steps=True) is None
    source.write_text("WIDTH = 8\n")
    assert KeptCounts(tmp_path / "kept").find(CELL, **ASKED) is None


def test_the_answer_of_an_earlier_version_is_found_again(tmp_path, source):
    keep(tmp_path / "kept", source)
    before = source.read_bytes()
    source.write_text("WIDTH = 8\n")
    keep(tmp_path / "kept", source, parameters=9)
    source.write_bytes(before)
    assert KeptCounts(tmp_path / "kept").find(CELL, **ASKED) == (Counters(parameters=7), ())


def test_another_version_of_a_distribution_is_other_code(tmp_path, source, monkeypatch):
    keep(tmp_path / "kept", source)
    monkeypatch.setattr("bench.store.kept._version", lambda _: "0")
    assert KeptCounts(tmp_path / "kept").find(CELL, **ASKED) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_no_answer_and_is_written_anew(tmp_path, source, damage):
    keep(tmp_path / "kept", source)
    (file,) = (tmp_path / "kept").rglob("*.json")
    assert json.loads(file.read_bytes())["counters"]
    file.write_bytes(damage)
    assert KeptCounts(tmp_path / "kept").find(CELL, **ASKED) is None
    keep(tmp_path / "kept", source)
    assert KeptCounts(tmp_path / "kept").find(CELL, **ASKED) is not None


def test_many_may_write_the_same_answer_at_once(tmp_path, source):
    threads = [threading.Thread(target=keep, args=(tmp_path / "kept", source)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "kept").rglob("*"))) == 2  # a folder and a file, no temporary
    assert KeptCounts(tmp_path / "kept").find(CELL, **ASKED) is not None


def test_what_cannot_be_written_is_not_kept(tmp_path, source):
    (tmp_path / "kept").write_text("a file is in the way")
    keep(tmp_path / "kept", source)
    assert KeptCounts(tmp_path / "kept").find(CELL, **ASKED) is None


def test_a_file_that_changed_while_it_was_counted_makes_the_code_unknown(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kept_helper.py").write_text("WIDTH = 4\n")
    import kept_helper

    assert kept_helper.WIDTH == 4
    assert imported_code(since=time.time() - 60) is None
    os.utime(tmp_path / "kept_helper.py", (1, 1))
    found = imported_code(since=time.time() + 60)
    del sys.modules["kept_helper"]
    assert str(tmp_path / "kept_helper.py") in dict(found.sources)
    assert "pytest" in found.packages
