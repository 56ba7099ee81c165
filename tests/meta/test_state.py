"""The fixture that guards torch's global state sees what a test leaves changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
LEAKS = {
    "default_dtype": "torch.set_default_dtype(torch.float64)",
    "num_threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "grad_enabled": "torch.set_grad_enabled(False)",
    "deterministic": "torch.use_deterministic_algorithms(True)",
    "cuda.matmul.fp32_precision": "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "cudnn.benchmark": "torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark",
}


def run_pytest(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"))
    tests = [f"def test_{index}():\n    {leak}\n" for index, leak in enumerate(LEAKS.values())]
    (tmp_path / "test_leaks.py").write_text("import torch\n\n" + "\n".join(tests) + "\ndef test_clean():\n    pass\n")
    return tmp_path


@pytest.mark.slow
def test_what_a_test_leaves_changed_is_an_error_that_names_it(folder: Path) -> None:
    output = run_pytest(folder)
    assert f"{len(LEAKS) + 1} passed, {len(LEAKS)} errors" in output, output
    for index, name in enumerate(LEAKS):
        (error,) = [line for line in output.splitlines() if line.startswith(f"ERROR test_leaks.py::test_{index} ")]
        assert name in error or f"'{name}'" in output


def test_only_benchmarks_leaves_tests_out(folder: Path) -> None:
    assert "no tests ran" in run_pytest(folder, "--benchmark-only")
