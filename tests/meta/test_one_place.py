"""What is added in one place is found everywhere: a column in every format, a format in both commands."""

from __future__ import annotations

from pathlib import Path

from tests.meta.copies import Copy

COLUMN = """CELLS = (
    real(
        "zebra_seconds", "s", "stripes of a step", "summary.step.point", Shown(name="zebra", scale="s"),
        openmetrics="zebra_seconds", bencher="zebra",
    ),
"""
FORMAT = '''"""Counts cells."""

from bench.report.formats import Format

FORMAT = Format(write=lambda run, _: f"{len(run.records)} zebras\\n")
'''
LOOK = """
from pathlib import Path
from bench.report.files import to_frame
from bench.report.formats import Asked, load
from bench.store.runs import RunFolder
from bench.tables.catalog import describe_columns
from bench.tables.table import Page
from tests.meta.copies import lacking
from tests.report.formats.runs import RUN

assert not (found := lacking(RUN, "zebra")), found
exported = {name: load(name).write(RUN, Asked(page=Page())) for name in ("bencher", "openmetrics")}
assert all("zebra" in text for text in exported.values()), exported
assert "zebra_seconds" in to_frame(RUN.records) and "zebra_seconds" in describe_columns()
folder = RunFolder.create(Path("results"), RUN.info)
for record in RUN.records:
    folder.append(record)
print(len(RUN.records))
"""


def test_a_column_and_a_format_added_in_one_place_are_found_in_all(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "models", "tests")
    copy.change("tables/cells.py", "CELLS = (\n", COLUMN)
    copy.add("bench/report/formats/zebra.py", FORMAT)
    zebras = f"{copy.python('-c', LOOK).strip()} zebras\n"
    for command, option in (("show", "--format"), ("export", "--to")):
        assert "zebra" in copy.bench(command, "--help")
        assert zebras in copy.bench(command, "latest", option, "zebra")
        assert "'zebra'" in copy.bench(command, "latest", option, "zebru", exit_code=2)  # what there is, in words
