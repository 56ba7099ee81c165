from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from bench.runner.ci.annotations import MOST, Annotation, Level, annotation_lines


def test_an_annotation_is_one_workflow_command() -> None:
    annotation = Annotation(
        level=Level.ERROR, title="stepbench gate: more", message="net: +2.8 %", file="net.py", line=7
    )
    assert annotation_lines([annotation]) == ["::error file=net.py,line=7,title=stepbench gate%3A more::net: +2.8 %25"]


def test_without_a_file_there_is_no_line() -> None:
    annotation = Annotation(level=Level.WARNING, title="t", message="m", line=7)
    assert annotation_lines([annotation]) == ["::warning title=t::m"]


@given(st.text(), st.text(), st.text(min_size=1))
def test_no_text_can_end_a_property_or_start_another_command(title: str, message: str, file: str) -> None:
    annotation = Annotation(level=Level.NOTICE, title=title, message=message, file=file, line=1)
    (line,) = annotation_lines([annotation])
    assert len(line.splitlines()) <= 1
    properties, _, data = line.removeprefix("::notice ").partition("::")
    assert [part.partition("=")[0] for part in properties.split(",")] == ["file", "line", "title"]
    assert not re.search(r"%(?!25|3A|2C)", properties)
    assert not re.search(r"%(?!25)", data)


def test_more_than_github_shows_are_counted_in_the_last_one() -> None:
    many = [Annotation(level=Level.ERROR, title="t", message=str(number)) for number in range(25)]
    one = Annotation(level=Level.NOTICE, title="t", message="m")
    lines = annotation_lines([*many, one])
    assert len(lines) == MOST + 1
    assert lines[MOST - 1] == "::error title=stepbench::16 more stand in the summary of the job"
    assert len(annotation_lines(many[:MOST])) == MOST
