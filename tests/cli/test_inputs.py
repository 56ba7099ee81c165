"""Several inputs with types, ranges and names for a bare module: on the command line, in suites, in Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench
from bench.cli import run_command

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(30522, 8)
        self.image = nn.Linear(12, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, image, ids, *, mask):
        text = (self.words(ids) * mask.unsqueeze(-1)).mean(1)
        return self.head(self.image(image.flatten(1)) + text)

def words():
    return nn.Sequential(nn.Embedding(100, 8), nn.Flatten(), nn.Linear(160, 4))
"""
INPUTS = ["3x2x2", "int64:5:0..30522", "mask:bool:5"]
FORWARD = 2 * 4 * (12 * 8 + 8 * 4)
SUITE = f'[[sweep]]\nmodel = "net.py:Net"\nbatch_size = 4\ninput = {json.dumps(INPUTS)}\n'


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run_command(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("typed", [[w for text in INPUTS for w in ("--input", text)], ["--input", ",".join(INPUTS)]])
def test_count_feeds_every_input(capsys, typed):
    code, out, err = said(capsys, "count", "net.py:Net", "-b", "4", *typed, "--format", "json")
    assert (code, err) == (0, "")
    (record,) = json.loads(out)["records"]
    assert record["counters"]["flops"]["forward"] == FORWARD
    assert record["cell"]["input_shape"] == INPUTS
    assert record["counters"]["dispatches"]
    assert record["advice"] == []


def test_a_suite_file_and_python_feed_them_too():
    Path("suite.toml").write_text(SUITE)
    code = run_command(["run", "suite.toml", "--budget", "0.02s", "-p", "bf16", "--threads", "1", "-q"])
    assert code == 0
    (record,) = bench.run("net.py:Net", batch_size=4, input=INPUTS, budget_seconds=0.02, threads=1)
    assert (record.outcome, record.reason) == (bench.Outcome.OK, None)
    assert record.cell.input_shape == tuple(INPUTS)
    assert record.counters.flops.forward == FORWARD


@pytest.mark.parametrize("command", ["count", "run"])
def test_floats_for_an_embedding_are_answered_with_what_to_type(capsys, command):
    quick = ["--budget", "0.02s"] if command == "run" else []
    _, out, _ = said(capsys, command, "net.py:words", "-b", "4", "--input", "20", "--format", "json", *quick)
    (record,) = json.loads(out)["records"]
    says = "this model expects token ids below 100, for example --input int64:128:0..100. RuntimeError: Expected"
    if command == "run":
        assert record["reason"].startswith(says)
    else:
        assert any(says in fact for advice in record["advice"] for _, fact in advice["facts"])


def test_ids_beyond_the_embedding_are_answered_with_its_size(capsys):
    command = ["run", "net.py:words", "-b", "4", "--input", "int64:20:0..9999", "--budget", "0.02s"]
    _, out, _ = said(capsys, *command, "--format", "json")
    (record,) = json.loads(out)["records"]
    assert record["reason"].startswith("this model expects token ids below 100, for example --input int64:128:0..100.")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["count", "net.py:Net", "--input", "ids:int46:5:0..9"], "Did you mean 'int64'?"),
        (["run", "net.py:Net", "--input", "3,2,2", "--dry-run"], "write 3x2x2 for one shape"),
        (["train", "net.py:Net", "--input-shape", "int64:5:0..9"], "one image of float32 is taken here"),
        (["run", "mlp", "--input", "3", "--dry-run"], "makes its own batches; --input is for a bare nn.Module"),
        (["run", "torchvision:resnet18", "--input", "int64:3:0..9", "--dry-run"], "one image of float32 is taken here"),
        (["count", "mlp", "--input", "3"], "makes its own batches; --input is for a bare nn.Module"),
    ],
)
def test_a_wrong_input_ends_in_one_line(capsys, command, says):
    code, _, err = said(capsys, *command)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
