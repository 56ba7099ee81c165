"""A precision is one row and an axis is one field: each is added to a copy of the package and found everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.meta.copies import Copy

NET = """
import torch


def make():
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""
LOOK = """
import json, sys
from bench.core.cell import Cell
from bench.suite.commands import ab_commands
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


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    made = Copy(tmp_path)
    made.add("net.py", NET)
    return made


@pytest.mark.slow
def test_a_precision_is_one_row(copy: Copy) -> None:
    last = '    FP64 = "fp64", PrecisionRow(arithmetic=Arithmetic.FP64, color=7, casts_to="float64")\n'
    row = 'PrecisionRow(arithmetic=Arithmetic.FP16, color=4, autocasts_to="float16")'
    copy.change("core/precision.py", last, f'{last}    BARE = "fp16-bare", {row}\n')
    assert "fp16-bare" in copy.bench("run", "--help")
    found = json.loads(copy.python("-c", LOOK, "precision", "fp16-bare"))
    assert "-p fp16-bare" in found["ab"][0]
    assert "`fp16-bare`" in found["columns"]
    run = copy.measure("net.py:make", 8, "-p", "fp32,fp16-bare")
    records = {r["cell"]["precision"]: r for r in map(json.loads, map(Path.read_text, run.glob("records/*.json")))}
    assert {record["outcome"] for record in records.values()} == {"ok"}
    fp32, bare = (records[name]["counters"]["saved_bytes"] for name in ("fp32", "fp16-bare"))
    assert bare != fp32  # it computed in its own type, not in fp32 under another name
    copy.shows("fp16-bare")
    refused = copy.bench("run", "net.py:make", "--input", "8", "-p", "fp16-bear", "--dry-run", exit_code=2)
    assert "Did you mean 'fp16-bare'?" in refused


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
    shown = " ".join(copy.bench("run", "--help").split())
    assert "--weight-scale X,... Scales all weights. [default: 1.0]" in shown
    found = json.loads(copy.python("-c", LOOK, "weight_scale", "100"))
    assert "--weight-scale 100" in found["ab"][0]
    assert "| `weight_scale` | Float64 | - | factor of all weights |" in found["columns"]
    assert found["id"].endswith("/weight_scale100.0")
    run = copy.measure("net.py:make", 8, "--weight-scale", "1,100")
    records = [json.loads(path.read_text()) for path in run.glob("records/*.json")]
    losses = {record["cell"]["weight_scale"]: record["final_loss"] for record in records}
    assert set(losses) == {1.0, 100.0}
    assert losses[1.0] != losses[100.0]
    copy.shows("weight_scale")
    assert "weight_scale" in (run / "tables" / "cells.csv").read_text().splitlines()[0]
    refused = copy.bench("run", "net.py:make", "--input", "8", "--weight-scale", "much", "--dry-run", exit_code=2)
    assert "weight scale must be a number above 0, found 'much'" in refused
