"""A precision is one row and an axis is one field: each is added to a copy of the package and found everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NET = """
import torch


def make():
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""
LOOK = """
import json, sys
from bench.core.cell import Cell
from bench.suite.sweep import ab_commands
from bench.suite.file import read_suite
from bench.suite.sweep import expand, sweep_of
from bench.tables.catalog import describe_columns
from pathlib import Path
name, value = sys.argv[1:]
cells = sweep_of(models="net.py:make", **{name: value}).cells()
Path("suite.toml").write_text(f'[[sweep]]\\nmodel = "net.py:make"\\n{name} = ["{value}"]\\n')
assert expand(read_suite(Path("suite.toml")).sweeps) == cells
print(json.dumps({"ab": ab_commands(None, None, cells), "columns": describe_columns(), "id": cells[0].id}))
"""


class Copy:
    """The package with a change, run as a user runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "bench", folder / "bench", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "net.py").write_text(NET)

    def change(self, file: str, before: str, after: str) -> None:
        path = self.folder / "bench" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, (file, before)
        path.write_text(text.replace(before, after), encoding="utf-8")

    def python(self, *arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(self.folder), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def measure(self, *options: str) -> Path:
        command = ("run", "net.py:make", "--input", "8", "-b", "2", "--budget", "10ms", "-q", *options)
        self.python("-m", "bench", *command)
        (run,) = (path.parent for path in (self.folder / "results").glob("*/run.json"))
        return run


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.mark.slow
def test_a_precision_is_one_row(copy: Copy) -> None:
    last = '    FP64 = "fp64", PrecisionRow(arithmetic=Arithmetic.FP64, color=7, casts_to="float64")\n'
    row = 'PrecisionRow(arithmetic=Arithmetic.FP16, color=4, autocasts_to="float16")'
    copy.change("core/precision.py", last, f'{last}    BARE = "fp16-bare", {row}\n')
    assert "fp16-bare" in copy.python("-m", "bench", "run", "--help")
    found = json.loads(copy.python("-c", LOOK, "precision", "fp16-bare"))
    assert "-p fp16-bare" in found["ab"][0]
    assert "`fp16-bare`" in found["columns"]
    run = copy.measure("-p", "fp32,fp16-bare")
    records = {r["cell"]["precision"]: r for r in map(json.loads, map(Path.read_text, run.glob("records/*.json")))}
    assert {record["outcome"] for record in records.values()} == {"ok"}
    fp32, bare = (records[name]["counters"]["saved_bytes"] for name in ("fp32", "fp16-bare"))
    assert bare != fp32  # it computed in its own type, not in fp32 under another name
    assert "fp16-bare" in (run / "tables" / "cells.csv").read_text()
    assert "fp16-bare" in (run / "report.html").read_text()


@pytest.mark.slow
def test_an_axis_is_one_field_and_what_honours_it(copy: Copy) -> None:
    copy.change(
        "core/cell.py",
        "    @property\n    def examples_per_step",
        "    weight_scale: float = field(\n"
        '        default=1.0, metadata=_axis(meaning="factor of all weights", help="Scales all weights.")\n'
        "    )\n\n"
        "    @property\n    def examples_per_step",
    )
    copy.change(
        "device/prepare.py",
        "        model = _build(workload, target, cell)\n",
        "        model = _build(workload, target, cell)\n"
        "        for parameter in model.parameters():\n"
        "            parameter.data.mul_(cell.weight_scale)\n",
    )
    shown = " ".join(copy.python("-m", "bench", "run", "--help").split())
    assert "--weight-scale X,... Scales all weights. [default: 1.0]" in shown
    found = json.loads(copy.python("-c", LOOK, "weight_scale", "100"))
    assert "--weight-scale 100" in found["ab"][0]
    assert "| `weight_scale` | Float64 | - | factor of all weights |" in found["columns"]
    assert found["id"].endswith("/weight_scale100.0")
    run = copy.measure("--weight-scale", "1,100")
    records = [json.loads(path.read_text()) for path in run.glob("records/*.json")]
    losses = {record["cell"]["weight_scale"]: record["final_loss"] for record in records}
    assert set(losses) == {1.0, 100.0}
    assert losses[1.0] != losses[100.0]
    assert "weight_scale" in (run / "tables" / "cells.csv").read_text().splitlines()[0]
    assert "weight_scale" in (run / "report.html").read_text()
