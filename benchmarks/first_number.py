"""How long until `bench run` shows its first row, beside a script of torch.utils.benchmark that prints two medians?

    python -m benchmarks.first_number            # three rounds, in turn: the script, the run, the run with kept counts
    python -m benchmarks.first_number --script   # the script alone

Every command is a fresh process in an empty folder; the figures are wall seconds and their ratio to the script's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
RUN = [
    "run",
    "torchvision:resnet18",
    "-b",
    "4",
    "--input-shape",
    "3x64x64",
    "--mode",
    "infer,train",
    "--budget",
    "250ms",
]


def script():
    """Print what a user's own script would: the median of an inference and of a training step."""
    import torch
    import torchvision
    from torch.utils.benchmark import Timer

    model, images = torchvision.models.resnet18(), torch.randn(4, 3, 64, 64)
    targets, loss_of = torch.randint(1000, (4,)), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.eval()

    def infer():
        with torch.no_grad():
            model(images)

    def train():
        optimizer.zero_grad()
        loss_of(model(images), targets).backward()
        optimizer.step()

    threads = torch.get_num_threads()
    timer = Timer("step()", globals={"step": infer}, num_threads=threads)
    print("infer", timer.blocked_autorange(min_run_time=0.25).median, flush=True)
    model.train()
    timer = Timer("step()", globals={"step": train}, num_threads=threads)
    print("train", timer.blocked_autorange(min_run_time=0.25).median, flush=True)


def timed(command, folder, first):
    """Return the seconds until a line begins with `first`, and until the end."""
    environment = {
        **os.environ,
        "STEPBENCH_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(HERE),
        "PYTHONUNBUFFERED": "1",
    }
    started, seen = time.perf_counter(), None
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            if seen is None and line.startswith(first):
                seen = time.perf_counter() - started
    if process.returncode or seen is None:
        raise SystemExit(f"{command} ended with {process.returncode} and no line that starts with {first!r}")
    return seen, time.perf_counter() - started


def main():
    """Run all in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--script", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.script:
        script()
        return
    found = {"script": [], "first run": [], "kept counts": []}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found["script"].append(
                timed([sys.executable, "-m", "benchmarks.first_number", "--script"], folder, "train")
            )
            for which in ("first run", "kept counts"):
                found[which].append(timed([sys.executable, "-m", "bench", *RUN], folder, "[1/2]"))
    ends = [end for _, end in found["script"]]
    print(f"{'':12} {'first row':>10} {'end':>8} {'first/script':>13} {'end/script':>11}")
    for which, rounds in found.items():
        first, end = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = [
            statistics.median(one[place] / whole for one, whole in zip(rounds, ends, strict=True)) for place in (0, 1)
        ]
        print(f"{which:12} {first:9.1f}s {end:7.1f}s {ratios[0]:13.2f} {ratios[1]:11.2f}")


if __name__ == "__main__":
    main()
