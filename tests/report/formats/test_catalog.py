"""What holds of every format: it can be asked for, nothing from outside breaks it, and no failure becomes a number."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from bench.report import formats
from bench.runner.recorder import extra_info
from bench.store.stored import StoredRun
from bench.tables.table import Page
from tests.report.formats.runs import HOSTILE, RUN, UNMEASURED, hostile_run

FORMATS = {name: formats.load(name) for name in formats.names()}
JSON_FORMATS = [name for name, one in FORMATS.items() if not one.holds_failures]


def write(name: str, run: StoredRun) -> str:
    return FORMATS[name].write(run, formats.Asked(page=Page(), extra_info=extra_info))


def test_every_file_of_the_folder_is_a_format_that_writes_a_run() -> None:
    for name in FORMATS:
        assert write(name, RUN).endswith("\n"), name


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_hostile_text_leaves_json_whole_and_without_control_characters(name: str) -> None:
    text = write(name, hostile_run())
    assert text.isascii()  # so that no reader is asked for an encoding
    assert json.loads(text)


def test_hostile_text_leaves_xml_whole() -> None:
    root = ElementTree.fromstring(write("junit", hostile_run()))
    names = [case.attrib["name"] for case in root.iter("testcase")]
    assert any("<script>" in name for name in names)
    assert all(name.isprintable() for name in names)


def test_hostile_text_makes_no_line_of_openmetrics() -> None:
    lines = write("openmetrics", hostile_run()).splitlines()
    assert lines[-1] == "# EOF" and lines.count("# EOF") == 1
    sample = re.compile(r'stepbench_\w+\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\} [0-9.e+-]+')
    assert all(
        re.fullmatch(r"# (TYPE|UNIT|HELP) stepbench_\w+ .+", line) or sample.fullmatch(line) for line in lines[:-1]
    )
    assert not any(line.startswith("::") for line in lines)


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not one.holds_failures])
def test_a_cell_that_failed_is_in_no_format_that_has_no_word_for_it(name: str) -> None:
    document = json.loads(write(name, RUN))
    entries = document["benchmarks"] if name == "pytest-benchmark" else document
    assert not any(cell_id in json.dumps(entries) for cell_id in UNMEASURED)
    assert len(RUN.measured) + len(RUN.unmeasured) == len(RUN.records)


def test_hostile_is_what_it_says() -> None:
    assert HOSTILE.startswith("=") and "\x00" in HOSTILE and "\n::" in HOSTILE
