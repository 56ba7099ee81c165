"""A command, a device kind and a model are one file each (and one line that names a kind or a model's entry point)."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli, registry
from bench.cli import run_command
from bench.core.errors import ExitCode

ROOT = Path(__file__).parents[2]

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
    finally:
        cli.entries.cache_clear()
        sys.modules.pop("bench.cli.zebra", None)


KIND = '''
from bench.device.cpu import CpuBackend


class ZebraBackend(CpuBackend):
    """A device that is a CPU under another name."""

    def __init__(self, index=None):
        super().__init__(None)

    @classmethod
    def count(cls):
        return 0
'''
LOOK = """
from bench.core.errors import UsageError
from bench.device import backend
from bench.suite.sweep import sweep_of

assert "zebra" in backend.DEVICE_HELP, backend.DEVICE_HELP
assert backend.parse_device("zebra:1") == ("zebra", 1)
assert type(backend.backend_of("zebra:1")).__name__ == "ZebraBackend"
assert sweep_of(models="mlp", device="zebra:1").cells()[0].id.endswith("/zebra:1/fp32")
try:
    backend.parse_device("zebru")
except UsageError as error:
    assert "Did you mean 'zebra'?" in str(error), error
"""


def test_a_device_kind_is_one_file_and_its_name(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "bench", tmp_path / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    names = tmp_path / "bench/device/backend.py"
    last = '    "mps": "bench.device.mps:MpsBackend",\n'
    text = names.read_text()
    assert text.count(last) == 1
    names.write_text(text.replace(last, f'{last}    "zebra": "bench.device.zebra:ZebraBackend",\n'))
    (tmp_path / "bench/device/zebra.py").write_text(KIND)
    done = subprocess.run([sys.executable, "-c", LOOK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


MODEL = '''"""Stripes, one linear layer.

Not a real animal.
"""

from torch import nn


def build(width: int = 3) -> nn.Module:
    """Make one layer."""
    return nn.Linear(width, width)
'''


def test_a_model_is_one_file_and_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "zebra.py").write_text(MODEL)
    folder = tmp_path / "zebra-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: zebra\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[bench.models]\nzebra = zebra:build\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert "zebra" in registry.names()
    assert run_command(["list", "models", "--options"]) == ExitCode.FINE
    assert "zebra\n  width=3" in capsys.readouterr().out
    assert run_command(["run", "zebra@width=4", "--dry-run"]) == ExitCode.FINE
    assert "zebra@width=4/train/" in capsys.readouterr().out
    assert run_command(["run", "zebbra", "--dry-run"]) == ExitCode.USAGE
    assert "Did you mean 'zebra'?" in capsys.readouterr().err
