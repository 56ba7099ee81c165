"""`bench count` where counters disagree or cannot count, and the examples of docs/counting.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode

DOCS = Path(__file__).parents[2] / "docs" / "counting.md"
MODEL, FORMULA = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
COUNT = ("count", "net.py:Net", "--input-shape", "16", "-b", "8", "--mode", "infer")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bench(capsys, *arguments: str) -> str:
    code = run_command(list(arguments))
    captured = capsys.readouterr()
    assert code == ExitCode.FINE, captured.err
    return captured.out


def test_a_custom_operation_makes_a_lower_bound_everywhere(capsys):
    Path("net.py").write_text(MODEL)
    out = bench(capsys, *COUNT)
    sentence = "at least 8,192 FLOPs forward; 1 operation uncounted: mylib.fancy_matmul (1)"
    assert sentence in " ".join(out.split())
    assert sentence in DOCS.read_text(encoding="utf-8")
    assert "≥8.19" in out
    assert "FLOPs at least" in out
    (record,) = json.loads(bench(capsys, *COUNT, "--format", "json"))["records"]
    flops = record["counters"]["flops"]
    assert (flops["forward"], flops["uncounted"]) == (2 * 8 * 16 * 32, [["mylib.fancy_matmul", 1]])
    (advice,) = [advice for advice in record["advice"] if advice["kind"] == "flops-lower-bound"]
    assert dict(advice["facts"])["uncounted"] == "mylib.fancy_matmul x1"


def test_two_lines_of_a_user_count_it(capsys):
    assert len(FORMULA.split("\n\n")) == 2  # an import and a call
    Path("net.py").write_text(MODEL + FORMULA)
    out = bench(capsys, *COUNT, "--explain")
    assert "≥" not in out
    row = next(line for line in out.splitlines() if line.startswith("stepbench"))
    assert row.split()[1] == f"{2 * 8 * 16 * 32 + 2 * 8 * 32 * 64:,}" == "40,960"
    assert "fvcore: products 8,192 against 40,960; it passes over fancy_matmul x1" in " ".join(out.split())


def test_explain_names_the_cause_of_every_difference(capsys):
    out = bench(capsys, "count", "lstm", "-b", "2", "--explain")
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    lstm = 2 * 2 * 32 * 4 * 128 * (128 + 128)  # 2 FLOPs, batch 2, 32 tokens, 4 gates of 128, from input and state
    head = 2 * 2 * 32 * 128 * 1000
    assert rows["stepbench"][1] == f"{lstm + head:,}"
    assert rows["fvcore"][1] == f"{head:,}"
    assert rows["closed"][2:4] == [f"{lstm + head:,}", "="]
    assert "it passes over lstm x1" in out
    assert max(map(len, out.splitlines())) <= 80


def test_layers_show_their_intensity_and_share_in_80_columns(capsys):
    out = bench(capsys, "count", "my_net", "--layers", "-b", "8")
    (row,) = [line.split() for line in out.splitlines() if line.startswith("conv1 ")]
    flops = 2 * 8 * 32 * 48 * 48 * 27
    touched = 4 * (8 * 3 * 48 * 48 + 896 + 8 * 32 * 48 * 48)
    assert row[-1] == f"{flops / touched:.1f}"  # the convolution and nothing else runs inside conv1
    assert row[1:4] == ["1", "8x32x48x48", "896"]  # one call; the type, of the same rank, is left out
    assert max(map(len, out.splitlines())) <= 80


def test_the_documented_formulas_are_those_that_are_registered():
    from bench.counters.formulas import attention, convolution, products, recurrent

    modules = (attention, convolution, products, recurrent)
    registered = {name for module in modules for name in module.FORMULAS} | set(attention.HIGHER_ORDER)
    table = "\n".join(line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| "))
    documented = set(re.findall(r"`([\w:]+)`", table)) - {"_backward"}
    documented |= {f"{name}_backward" for name in documented if name.startswith("_scaled_dot_product")}
    assert documented == registered
