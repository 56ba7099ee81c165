"""The plugin, in pytest runs of their own on a tiny model."""

import json
import os

import pytest

from bench.core.record import Phase
from bench.store.runs import RunFolder, latest

pytest_plugins = ["pytester"]

MODEL = "net.py"
NET = """
from torch import nn

def tiny():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
"""
SUITE = f"""
import pytest

@pytest.mark.bench_sweep(
    models="{MODEL}:tiny", batch_size=[2, 4], precision=PRECISIONS, input_shape=(4,), budget_seconds=0.02
)
def bench_tiny(bench_cell):
    record = bench_cell()
    assert record.cell.batch_size in (2, 4)
"""


@pytest.fixture
def run_pytest(pytester):
    def run(*arguments):
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=300)

    pytester.path.joinpath(MODEL).write_text(NET)
    pytester.makeini("[pytest]\npython_files = test_*.py bench_*.py\npython_functions = test_* bench_*\n")
    return run


def write_suite(pytester, precisions='["fp32"]'):
    pytester.path.joinpath("bench_tiny.py").write_text(SUITE.replace("PRECISIONS", precisions))


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


def test_plain_pytest_leaves_benchmark_files_alone(pytester, run_pytest):
    write_suite(pytester)
    pytester.path.joinpath("test_other.py").write_text("def test_nothing(): pass\n")
    run_pytest().assert_outcomes(passed=1)
    assert not (pytester.path / "results").exists()


def test_a_named_benchmark_file_runs(pytester, run_pytest):
    write_suite(pytester)
    run_pytest("bench_tiny.py").assert_outcomes(passed=2)


def test_what_the_device_cannot_do_is_skipped_with_its_reason(pytester, run_pytest):
    write_suite(pytester, '["tf32"]')
    result = run_pytest("--benchmark-only", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*tf32 is a mode of CUDA matrix units*"])


def test_a_cell_by_hand_needs_no_mark(pytester, run_pytest):
    pytester.path.joinpath("bench_one.py").write_text(
        f"def bench_one(bench_cell):\n"
        f"    record = bench_cell('{MODEL}:tiny', batch_size=3, input_shape=(4,), budget_seconds=0.02)\n"
        f"    assert record.cell.batch_size == 3\n"
    )
    run_pytest("--benchmark-only").assert_outcomes(passed=1)


def test_an_unknown_model_fails_its_test_in_one_line(pytester, run_pytest):
    pytester.path.joinpath("bench_one.py").write_text("def bench_one(bench_cell):\n    bench_cell('resnet5')\n")
    result = run_pytest("--benchmark-only")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no model named 'resnet5'. Did you mean 'torchvision:resnet50'?*"])


def test_an_unknown_axis_is_a_usage_error(pytester, run_pytest):
    pytester.path.joinpath("bench_one.py").write_text(
        "import pytest\n\n@pytest.mark.bench_sweep(models='mlp', batchsize=3)\ndef bench_one(bench_cell): pass\n"
    )
    result = run_pytest("--benchmark-only")
    assert result.ret != 0
    assert "no axis named 'batchsize'. Did you mean 'batch_size'?" in result.stdout.str() + result.stderr.str()


def test_disabled_benchmarks_still_run_the_cell_once(pytester, run_pytest):
    write_suite(pytester)
    run_pytest("bench_tiny.py", "--benchmark-disable").assert_outcomes(passed=2)


def test_pytest_benchmark_can_compare_what_we_wrote(pytester, run_pytest):
    write_suite(pytester)
    run_pytest("--benchmark-only", "--benchmark-save=first").assert_outcomes(passed=2)
    result = run_pytest("--benchmark-only", "--benchmark-compare")
    result.assert_outcomes(passed=2)
    assert "Comparing against benchmarks from" in result.stdout.str() + result.stderr.str()


def test_other_peoples_benchmarks_are_untouched(pytester, run_pytest):
    pytester.path.joinpath("test_plain.py").write_text("def test_plain(benchmark):\n    benchmark(sum, (1, 2))\n")
    result = run_pytest("--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    assert "stepbench" not in json.loads(pytester.path.joinpath("out.json").read_text())["machine_info"]
    assert not (pytester.path / "results").exists()
    assert os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") is None
