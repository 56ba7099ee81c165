"""Whether two commits count the same: every field of the counters and the doubts of some hundred cells.

    python -m benchmarks.compare_counts [COMMIT]      # HEAD by default; the tree as it lies here is the other side

A faster count must change no value. Both sides count in one process each, by this Python.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CHILD = """
import json, sys, warnings
sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
import bench
assert bench.__file__.startswith(sys.argv[1]), bench.__file__
from bench import registry
from bench.core.cell import Cell, MemoryFormat, Mode, Precision
from bench.core.jsonio import to_json
from bench.counters.static import count

models = sorted(registry.names())
more = ["torchvision:" + name for name in ("resnet18", "mobilenet_v3_small", "swin_t", "vit_b_32", "densenet121")]
cells = [
    Cell(model=model, mode=mode, batch_size=2, precision=precision)
    for model in models for mode in Mode for precision in (Precision.FP32, Precision.BF16_AMP, Precision.BF16)
]
cells += [
    Cell(model=model, mode=mode, batch_size=3, precision=precision)
    for model in more for mode in Mode for precision in (Precision.FP32, Precision.BF16_AMP)
]
cells += [Cell(model=model, batch_size=2, precision=Precision.FP16_AMP, device="cuda:0") for model in models]
cells += [Cell(model=model, batch_size=8) for model in models]
cells += [Cell(model=model, batch_size=5, optimizer="adamw") for model in models]
cells += [Cell(model="my_net", batch_size=2, memory_format=MemoryFormat.CHANNELS_LAST)]
cells += [Cell(model="mlp", batch_size=2, accumulate=3)]
for cell in cells:
    counters, advice = count(registry.resolve(cell.model), cell, opinions=cell.mode is Mode.TRAIN)
    print(json.dumps([cell.id + f" {cell.key}", to_json(counters), to_json(advice)]), flush=True)
"""


def count_all(folder: Path) -> dict[str, object]:
    """Count every cell by the tree in a folder."""
    command = [sys.executable, "-c", _CHILD, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {name: [counters, advice] for name, counters, advice in rows}


def main() -> int:
    """Compare, name what differs, and return 1 if anything does."""
    commit = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        theirs = count_all(Path(folder).resolve())
    ours = count_all(ROOT)
    different = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    for name in different:
        print(f"{name}\n  {commit}: {theirs.get(name)}\n  here: {ours.get(name)}")
    print(f"{len(ours) - len(different)} of {len(ours)} cells are counted as at {commit}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
