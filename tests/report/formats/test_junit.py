from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import junitparser
import pytest

from bench.core.gate import GateVerdict
from bench.report.formats.junit import to_junit
from bench.store.stored import StoredRun
from tests.records import STARTED_AT, make_claims
from tests.report.formats.runs import RUN, gate_row, hostile_run
from tests.stored_runs import make_run

FULL = replace(
    RUN, claims=make_claims(), gate=tuple(gate_row(v) for v in (GateVerdict.SAME, GateVerdict.MORE, GateVerdict.LESS))
)

# Both published schemas at once, Ant's JUnit.xsd and Surefire's junit-10.xsd, where they differ the narrower:
# element -> attributes that must stand, attributes that may, children in their order.
SCHEMA: dict[str, tuple[set[str], set[str], tuple[str, ...]]] = {
    "testsuites": (set(), set(), ("testsuite",)),
    "testsuite": (
        {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "time"},
        {"skipped"},
        ("properties", "testcase", "system-out", "system-err"),
    ),
    "properties": (set(), set(), ("property",)),
    "property": ({"name", "value"}, set(), ()),
    "testcase": ({"name", "classname", "time"}, set(), ("skipped", "failure")),
    "failure": ({"type", "message"}, set(), ()),
    "skipped": (set(), {"type", "message"}, ()),
    "system-out": (set(), set(), ()),
    "system-err": (set(), set(), ()),
}


def check_schema(element: ElementTree.Element) -> None:
    must, may, children = SCHEMA[element.tag]
    assert must <= set(element.attrib) <= must | may, element.tag
    order = [children.index(child.tag) for child in element]
    assert order == sorted(order), element.tag
    if element.tag == "testcase":
        assert len(element) <= 1
    if element.tag in ("testsuite", "testcase", "property"):
        names = [element.attrib[name] for name in ("name", "classname", "hostname") if name in element.attrib]
        assert all(name and name == " ".join(name.split()) for name in names)  # xs:token of at least one character
    if element.tag == "testsuite":
        assert [child.tag for child in element].count("system-out") == 1
        assert len(element.attrib["timestamp"]) == len("2026-11-23T17:53:09")
        cases = element.findall("testcase")
        assert int(element.attrib["tests"]) == len(cases)
        assert int(element.attrib["failures"]) == len(element.findall("testcase/failure"))
        assert int(element.attrib["skipped"]) == len(element.findall("testcase/skipped"))
        assert float(element.attrib["time"]) == pytest.approx(sum(float(c.attrib["time"]) for c in cases), abs=0.01)
    for child in element:
        check_schema(child)


@pytest.mark.parametrize("run", [RUN, FULL, hostile_run(), make_run(id="r", started_at=STARTED_AT)])
def test_it_follows_the_published_schemas(run: StoredRun) -> None:
    check_schema(ElementTree.fromstring(to_junit(run)))


def test_outcomes_claims_and_gate_rows_pass_fail_or_are_skipped() -> None:
    root = ElementTree.fromstring(to_junit(FULL))
    cells, claims, gate = root.findall("testsuite")
    assert endings(cells) == {
        "walkthrough_cnn/train/b32/cpu/bf16-amp": "failure out_of_memory",
        "mlp/train/b32/cpu/bf16-amp": "skipped",
    }
    assert endings(claims) == {"conv2.parameters": "failure mismatch", "ratio": "skipped"}
    assert endings(gate) == {"net.py:net/train/b8/cpu/fp32": "failure more"}
    assert "dispatch_count: 141 on record, 145 found" in gate.find("testcase/failure").text
    assert "tried to allocate 12.0 GiB" in cells.find("testcase/failure").get("message")


def endings(suite: ElementTree.Element) -> dict[str, str]:
    return {
        case.attrib["name"]: f"{ending.tag} {ending.get('type', '')}".strip()
        for case in suite.findall("testcase")
        for ending in case
    }


def test_figures_doubts_and_errata_are_said() -> None:
    cells, claims, _ = ElementTree.fromstring(to_junit(FULL)).findall("testsuite")
    said = cells.find("system-out").text
    assert "mlp/train/b8/cpu/fp32: step_median_seconds" in said
    assert "doubt: noisy-samples" in said
    assert "fc1.parameters: erratum: documented 3221504, measured 18874880" in claims.find("system-out").text


def test_a_library_that_reads_junit_reads_ours() -> None:
    for run in (FULL, hostile_run()):
        read = junitparser.JUnitXml.fromstring(to_junit(run).encode())
        cases = [case for suite in read for case in suite]
        failed = [case for case in cases if any(isinstance(r, junitparser.Failure) for r in case.result)]
        assert len(cases) == len(run.records) + len(run.claims) + len(run.gate)
        assert len(failed) == (3 if run is FULL else 5)
