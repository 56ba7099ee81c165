"""Counting, this tree against an older commit: CPU seconds of both, in alternation, and their ratio.

    pytest --benchmark-only -m thorough benchmarks/bench_count_speed.py

The older commit is unpacked beside and counted by the same Python; whatever else the machine does, it does to both.
`BENCH_BASE` names it. CPU time of the process, one thread; the imports of torch, torchvision
and the workers are not counted.
"""

import json
import os
import statistics
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

BASE = os.environ.get("BENCH_BASE", "f4b5e0f")
ROOT = Path(__file__).resolve().parents[1]
SEVENTY_BILLION = "decoder_lm@layers=80,width=8192,heads=64,kv_heads=8,ffn=28672,vocabulary=128256,sequence_length=4096"
_CHILD = """
import json, sys, time, warnings
sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
import bench
assert bench.__file__.startswith(sys.argv[1]), bench.__file__
import fvcore.nn, torch._dynamo, torch.fx.experimental.symbolic_shapes, torchvision.models
from bench.core.cell import Cell, Mode, Precision
from bench.counters.static import count
from bench import registry
from bench.runner.counting import count_all

found = {}
def timed(name, work):
    start = time.process_time()
    result = work()
    found[name] = time.process_time() - start
    return result

def one(model, **options):
    workload = registry.resolve(model)
    return lambda: count(workload, Cell(model=model, batch_size=1), **options)[0].flops.forward

def suite():
    names = ["mlp", "walkthrough_cnn", "my_net", "rnn", "lstm", "gru", "transformer", "decoder_lm", "diffusion"]
    cells = [
        Cell(model=name, batch_size=size, precision=precision)
        for name in names for size in (2, 8) for precision in (Precision.FP32, Precision.BF16_AMP)
    ]
    return [counted.counters.flops.forward for _, counted in count_all(cells, method="inline")]

what = sys.argv[2]
flops = timed(what, {
    "resnet50": lambda: one("torchvision:resnet50")(),
    "suite": suite,
    "70 billion, FLOPs": lambda: one(sys.argv[3], opinions=False, steps=False)(),
    "70 billion, whole": lambda: one(sys.argv[3])(),
}[what])
print(json.dumps({"seconds": found[what], "flops": flops}))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    packed = subprocess.run(["git", "archive", BASE], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.thorough
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("what", "rounds"), [("resnet50", 3), ("suite", 1), ("70 billion, FLOPs", 1), ("70 billion, whole", 1)]
)
def bench_counting_against_an_older_commit(what, rounds, base, benchmark, capsys):
    def child(folder):
        command = [sys.executable, "-c", _CHILD, str(folder), what, SEVENTY_BILLION]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
        return json.loads(done.stdout.splitlines()[-1])

    def both():
        return [(child(base), child(ROOT)) for _ in range(rounds)]

    pairs = benchmark.pedantic(both, rounds=1, iterations=1)
    assert all(old["flops"] == new["flops"] for old, new in pairs)
    old, new = (statistics.median(pair[side]["seconds"] for pair in pairs) for side in (0, 1))
    benchmark.extra_info.update(base=BASE, old_seconds=old, new_seconds=new, ratio=new / old)
    with capsys.disabled():
        print(f"\n{what}: {old:.2f} s of CPU at {BASE}, {new:.2f} s here: {new / old:.2f}x", end="")
