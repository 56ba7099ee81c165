"""Outside `bench/device` nobody names a kind of device, and nobody but `device/cpu.py` reads /proc."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bench.device.backend import CPU, KINDS

BENCH = Path(__file__).parents[2] / "bench"
_ACCELERATORS = tuple(kind for kind in KINDS if kind != CPU)
_TORCH = {*_ACCELERATORS, "cudnn", "CUDA", "MPS", "is_cuda", "is_mps"}
_NAME = re.compile(rf"({'|'.join(_ACCELERATORS)})(:.*)?")
_COLUMNS = {("core/environment.py", "cuda"), ("runner/ab/run.py", "cuda")}  # the field of Environment: a version


def problems(file: str, source: str) -> list[str]:
    """Name each line that knows a kind of device, as `file:line: what`."""
    tree = ast.parse(source)
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _TORCH:
            owner = ast.unparse(node.value)
            if owner.startswith("torch") or node.attr.isupper() or node.attr.startswith("is_"):
                found.append((node.lineno, f"{owner}.{node.attr}"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if (
                (_NAME.fullmatch(node.value) and (file, node.value) not in _COLUMNS)
                or "/proc/" in node.value
                or node.value == "/proc"
            ):
                found.append((node.lineno, repr(node.value)))
        elif isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            if any(isinstance(side, ast.Constant) and side.value in KINDS for side in sides):
                found.append((node.lineno, ast.unparse(node)))
    return [f"{file}:{line}: {what}" for line, what in found]


def test_only_the_device_package_knows_kinds_of_devices() -> None:
    found = []
    for path in sorted(BENCH.rglob("*.py")):
        file = path.relative_to(BENCH).as_posix()
        if not file.startswith("device/"):
            found += problems(file, path.read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


def test_only_one_file_reads_proc() -> None:
    readers = [p.name for p in (BENCH / "device").glob("*.py") if '"/proc' in p.read_text(encoding="utf-8")]
    assert readers == ["cpu.py"]


@pytest.mark.parametrize(
    "line",
    [
        "torch.cuda.empty_cache()",
        "torch.backends.cudnn.benchmark = True",
        "kind = torch.device(name).type == 'cpu'",
        "name = 'cuda:0'",
        "is_gpu = device.startswith('cuda')",
        "activity = ProfilerActivity.CUDA",
        "text = Path('/proc/stat').read_text()",
        "name = f'cuda:{index}'",
    ],
)
def test_a_line_that_names_a_kind_is_found(line: str) -> None:
    assert problems("runner/x.py", line)


@pytest.mark.parametrize("line", ["device = 'cpu'", "backend.is_asynchronous", "'''cpu, cuda:N or auto'''"])
def test_a_line_that_names_none_is_not(line: str) -> None:
    assert not problems("runner/x.py", line)
