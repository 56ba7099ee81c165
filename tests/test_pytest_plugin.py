"""The plugin, in pytest runs of their own on a tiny model."""

import json
import os
import re
from pathlib import Path

import pytest

from bench.core.record import Phase
from bench.store.runs import RunFolder, latest

pytest_plugins = ["pytester"]

MODEL = "net.py"
NET = """
from torch import nn

def tiny(label=""):
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
"""
SUITE = f"""
import pytest

@pytest.mark.bench_sweep(
    models="{MODEL}:tiny", batch_size=[2, 4], precision=PRECISIONS, input_shape=(4,), budget_seconds=0.02
)
def test_tiny(bench_cell):
    record = bench_cell()
    assert record.cell.batch_size in (2, 4)
"""


@pytest.fixture
def run_pytest(pytester):
    def run(*arguments):
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=300)

    pytester.path.joinpath(MODEL).write_text(NET)
    return run


def write_suite(pytester, precisions='["fp32"]'):
    pytester.path.joinpath("test_tiny.py").write_text(SUITE.replace("PRECISIONS", precisions))


SUITE_FILE = f"""
[sampling]
budget_seconds = 0.02
floor_seconds = 0.05
target = 0.3
skip_slower_than = 0.001  # leaves out whatever is not fp32

[[sweep]]
model = "{MODEL}:tiny"
batch_size = [2, 4]
precision = ["fp32", "bf16-amp"]
input_shape = "4"
"""


@pytest.mark.slow
def test_a_suite_is_measured_as_it_says_but_for_what_the_mark_says(pytester, run_pytest):
    pytester.path.joinpath("small.toml").write_text(SUITE_FILE)
    pytester.path.joinpath("test_suite.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.bench_sweep(suite='small.toml', batch_size=2)\n"
        "def test_as_it_says(bench_cell): bench_cell()\n\n"
        "@pytest.mark.bench_sweep(suite='small.toml', batch_size=4, precision='fp32', floor_seconds=0.07, target=0.2)\n"
        "def test_with_changes(bench_cell): bench_cell()\n"
    )
    result = run_pytest("--benchmark-only", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["*bf16-amp*: a step in bf16-amp takes * times as long as in fp32*"])
    folder = RunFolder.open(latest(pytester.path / "results"))
    asked = {(r.cell.batch_size, r.cell.precision.value): r.sampling for r in folder.records()}
    found = {key: (one.target, one.budget_seconds, one.floor_seconds) for key, one in asked.items()}
    assert found == {(2, "fp32"): (0.3, 0.02, 0.05), (2, "bf16-amp"): (0.3, 0.02, 0.05), (4, "fp32"): (0.2, 0.02, 0.07)}


@pytest.mark.slow
def test_rounds_are_the_steps_of_the_record(pytester, run_pytest):
    write_suite(pytester)
    result = run_pytest("--benchmark-only", "--benchmark-json=out.json")
    result.assert_outcomes(passed=2)
    document = json.loads(pytester.path.joinpath("out.json").read_text())
    folder = RunFolder.open(latest(pytester.path / "results"))
    records = {record.cell.key: record for record in folder.records()}
    assert len(records) == 2
    for entry in document["benchmarks"]:
        record = records[entry["extra_info"]["cell_key"]]
        assert tuple(entry["stats"]["data"]) == record.sample_seconds(Phase.STEP)
        assert entry["stats"]["rounds"] == len(record.sample_seconds(Phase.STEP))
        assert entry["extra_info"]["parameters"] == record.counters.parameters == 67
        assert entry["extra_info"]["flops"]["forward"] == record.counters.flops.forward
        assert set(entry["extra_info"]["phase_median_seconds"]) == {phase.value for phase in Phase}
        assert entry["extra_info"]["memory"]["peak_resident_bytes"] > 0
    assert document["machine_info"]["stepbench"]["fingerprint"] == records.popitem()[1].environment.fingerprint
    result.stdout.fnmatch_lines([f"stepbench results: *{folder.path.name}"])
    assert (folder.tables_path / "cells.csv").exists()


def readme_example():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(import pytest.*?)```", text, re.DOTALL)
    return block


def test_the_example_of_the_readme_is_collected_in_an_empty_folder(pytester, run_pytest):
    pytester.path.joinpath("test_readme.py").write_text(readme_example())
    result = run_pytest("--benchmark-only", "--collect-only", "-q")
    assert result.ret == 0
    assert [line for line in result.outlines if "test_my_net[" in line] == [
        f"test_readme.py::test_my_net[my_net/train/b{batch}/cpu/{precision}]"
        for batch in (8, 32)
        for precision in ("fp32", "bf16-amp")
    ]


@pytest.mark.slow
def test_axes_are_plain_parameters_to_group_by(pytester, run_pytest):
    pytester.path.joinpath("test_star.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.parametrize('colour', ['red'])\n"
        f"@pytest.mark.bench_sweep(models=['{MODEL}:tiny@label=a*b'], batch_size=[2, 4], input_shape=['4'],\n"
        "                         budget_seconds=0.02)\n"
        "def test_star(bench_cell, colour):\n"
        "    bench_cell()\n"
    )
    result = run_pytest("--benchmark-only", "--benchmark-json=o.json", "--benchmark-group-by=param:batch_size")
    result.assert_outcomes(passed=2)
    assert any("benchmark 'batch_size=4'" in line for line in result.outlines)
    entries = json.loads(pytester.path.joinpath("o.json").read_text())["benchmarks"]
    for entry, batch_size in zip(entries, (2, 4), strict=True):
        params = entry["params"]
        assert "bench_cell" not in params
        assert entry["group"] == params["model"]
        expected = {"batch_size": batch_size, "precision": "fp32", "model": f"{MODEL}:tiny@label=a*b"}
        assert expected.items() <= params.items()
        assert (params["colour"], params["input_shape"], params["mode"]) == ("red", "4", "train")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "why"), [(("--benchmark-disable",), "--benchmark-disable"), (("-n", "2"), "pytest-xdist")]
)
def test_where_benchmarks_are_disabled_each_test_runs_one_step(pytester, run_pytest, options, why):
    write_suite(pytester)
    result = run_pytest(*options)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"stepbench: 2 tests ran one step each, nothing was measured ({why})"])
    assert "not used at all" not in result.stdout.str()
    assert not (pytester.path / "results").exists()


@pytest.mark.slow
def test_a_disabled_benchmark_of_a_broken_model_fails_with_its_reason(pytester, run_pytest):
    pytester.path.joinpath("test_one.py").write_text(
        f"def test_one(bench_cell):\n    bench_cell('{MODEL}:tiny', input=['int64:4:0..9'])\n"
    )
    result = run_pytest("--benchmark-disable")
    result.assert_outcomes(failed=1)
    assert "not used at all" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*RuntimeError: mat1 and mat2 must have the same dtype*"])


@pytest.mark.slow
def test_what_the_device_cannot_do_is_skipped_with_its_reason(pytester, run_pytest):
    write_suite(pytester, '["tf32"]')
    result = run_pytest("--benchmark-only", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*tf32 is a mode of CUDA matrix units*"])


@pytest.mark.slow
def test_a_cell_by_hand_needs_no_mark(pytester, run_pytest):
    pytester.path.joinpath("test_one.py").write_text(
        f"def test_one(bench_cell):\n"
        f"    how_long = dict(budget_seconds=0.02, floor_seconds=0.5)\n"
        f"    record = bench_cell('{MODEL}:tiny', batch_size=3, input_shape=(4,), **how_long)\n"
        f"    assert record.cell.batch_size == 3\n"
        f"    assert (record.sampling.budget_seconds, record.sampling.floor_seconds) == (0.02, 0.5)\n"
    )
    run_pytest("--benchmark-only").assert_outcomes(passed=1)


def test_an_unknown_model_fails_its_test_in_one_line(pytester, run_pytest):
    pytester.path.joinpath("test_one.py").write_text("def test_one(bench_cell):\n    bench_cell('resnet5')\n")
    result = run_pytest("--benchmark-only")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no model named 'resnet5'. Did you mean 'torchvision:resnet50'?*"])


WRONG_MARKS = {
    "models='mlp', batchsize=3": "no axis named 'batchsize'. Did you mean 'batch_size'?",
    "models='net.py:tiny', input_shape=['4x']": "input shape '4x': the shape is not made of whole numbers",
    "models='net.py:tiny', input='ids:int64:4'": "input shape 'ids:int64:4': int64 needs the range",
}


def test_a_wrong_mark_is_one_line_without_a_traceback(pytester, run_pytest):
    for number, mark in enumerate(WRONG_MARKS):
        pytester.path.joinpath(f"test_{number}.py").write_text(
            f"import pytest\n\n@pytest.mark.bench_sweep({mark})\ndef test_one(bench_cell): pass\n"
        )
    result = run_pytest("--benchmark-only")
    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    for number, words in enumerate(WRONG_MARKS.values()):
        (line,) = [line for line in result.outlines if line.startswith(f"test_{number}.py::test_one: {words}")]
        assert "for example" in line or "Use one of" in line
    assert not any(words in said for words in ("Traceback", "pluggy/", "During handling"))


@pytest.mark.slow
def test_pytest_benchmark_can_compare_what_we_wrote(pytester, run_pytest):
    write_suite(pytester)
    run_pytest("--benchmark-only", "--benchmark-save=first").assert_outcomes(passed=2)
    result = run_pytest("--benchmark-only", "--benchmark-compare")
    result.assert_outcomes(passed=2)
    assert "Comparing against benchmarks from" in result.stdout.str() + result.stderr.str()


def test_other_peoples_benchmarks_are_neither_hidden_nor_touched(pytester, run_pytest):
    pytester.makeini("[pytest]\npython_files = bench_*.py\n")
    pytester.path.joinpath("bench_plain.py").write_text("def test_plain(benchmark):\n    benchmark(sum, (1, 2))\n")
    result = run_pytest("--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    assert "stepbench" not in json.loads(pytester.path.joinpath("out.json").read_text())["machine_info"]
    assert not (pytester.path / "results").exists()
    assert os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") is None
