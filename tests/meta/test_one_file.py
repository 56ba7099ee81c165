"""A command, a device kind and a model are one file each (and one line that names a kind or a model's entry point)."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from bench import cli, registry
from bench.cli import run_command
from bench.core.errors import ExitCode
from tests.meta.copies import ROOT, Copy

COMMAND = '''"""Count zebras.

Examples:
    bench zebra --stripes 3
"""

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer
from bench.core.errors import ExitCode

PANEL = "Results"


def command(
    stripes: Annotated[int, typer.Option(help="How many stripes.")] = 2,
    format: options.FormatOption = options.Format.TABLE,
) -> int:
    from bench.tables.document import Rows
    from bench.tables.table import Column

    answer("zebra", format, lambda: [Rows(columns=[Column(name="stripes", cells=(str(stripes),))])], stripes=stripes)
    return ExitCode.FINE
'''


def test_a_command_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (ROOT / "bench/cli").glob("*.py"):
        shutil.copy(path, tmp_path)
    (tmp_path / "zebra.py").write_text(COMMAND)
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(cli, "__path__", [str(tmp_path)])
    cli.entries.cache_clear()
    try:
        assert run_command(["--help"]) == ExitCode.FINE
        assert "zebra" in capsys.readouterr().out
        assert run_command(["zebra", "--help"]) == ExitCode.FINE
        shown = capsys.readouterr().out
        assert "--stripes N" in shown
        assert "bench zebra --stripes 3" in shown
        for form, text in {"table": "\n      3\n", "markdown": "| 3 |", "json": '"stripes": 3'}.items():
            assert run_command(["zebra", "--stripes", "3", "--format", form]) == ExitCode.FINE
            assert text in capsys.readouterr().out
        assert run_command(["zebbra"]) == ExitCode.USAGE
        assert "zebra" in capsys.readouterr().err
    finally:
        cli.entries.cache_clear()
        sys.modules.pop("bench.cli.zebra", None)


KIND = """
from bench.device.backend import Backend
from bench.device.cpu import CpuBackend


class ZebraBackend(CpuBackend):
    kind = "zebra"
    label = "zebra"
    is_asynchronous = True
    device = Backend.device

    @classmethod
    def count(cls):
        return 0
"""
LOOK = """
from dataclasses import replace
from bench.core.errors import UsageError
from bench.device import backend
from bench.suite.commands import ab_commands
from bench.suite.sweep import sweep_of
from tests.meta.copies import lacking
from tests.report.formats.runs import RUN

assert backend.parse_device("zebra:1") == ("zebra", 1)
assert type(backend.backend_of("zebra:1")).__name__ == "ZebraBackend"
cells = sweep_of(models="mlp", device="zebra:1").cells()
assert cells[0].id.endswith("/zebra:1/fp32")
assert "-d zebra:1" in ab_commands(None, None, cells)[0]
records = tuple(replace(record, cell=replace(record.cell, device="zebra:1")) for record in RUN.records)
assert not (found := lacking(replace(RUN, records=(*RUN.records, *records)), "zebra:1")), found
for asked, words in {"zebru": "Did you mean 'zebra'?", "zebra:1": "torch sees no zebra device here"}.items():
    try:
        backend.normalise_device(asked)
    except UsageError as error:
        assert words in str(error), error
    else:
        raise AssertionError(asked)
"""


def test_a_device_kind_is_one_file_and_its_name(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "tests")
    last = '    "mps": "bench.device.mps:MpsBackend",\n'
    copy.change("device/backend.py", last, f'{last}    "zebra": "bench.device.zebra:ZebraBackend",\n')
    copy.add("bench/device/zebra.py", KIND)
    copy.python("-c", LOOK)
    assert "zebra" in copy.bench("run", "--help")


MODEL = '''"""Stripes, one linear layer.

Not a real animal.
"""

from torch import nn


def build(width: int = 3) -> nn.Module:
    """Make one layer."""
    return nn.Linear(width, width)
'''


def add_model(folder: Path) -> None:
    """Add the file of a model and the entry point that names it."""
    (folder / "zebra.py").write_text(MODEL)
    about = folder / "zebra-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: zebra\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.models]\nzebra = zebra:build\n")


def test_a_model_is_one_file_and_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert "zebra" in registry.names()
    assert run_command(["list", "models", "--options"]) == ExitCode.FINE
    assert "zebra\n  width=3" in capsys.readouterr().out
    assert run_command(["run", "zebra@width=4", "--input", "4", "--dry-run"]) == ExitCode.FINE
    assert "zebra@width=4/train/" in capsys.readouterr().out
    assert run_command(["run", "zebbra", "--dry-run"]) == ExitCode.USAGE
    assert "Did you mean 'zebra'?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_of_an_entry_point_is_measured_and_shown(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    add_model(tmp_path)
    run = copy.measure("zebra@width=4", 4)
    assert [json.loads(path.read_text())["outcome"] for path in run.glob("records/*.json")] == ["ok"]
    copy.shows("zebra")
