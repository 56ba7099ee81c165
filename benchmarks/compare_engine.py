"""Did the engine become slower since an older commit? Its timed loops and whole commands of both, in turn.

    git worktree add ../older f4b5e0f && make -C ../older .venv/.ready
    python -m benchmarks.compare_engine ../older    # about 8 minutes on 2 quiet cores

Loops: a process of each tree builds the same cell, then both run blocks of whole steps and of steps split into phases
in ABBA order, one at a time. A ratio belongs to a pair of processes; its interval is Student's over the pairs.
Commands: fresh processes in an empty folder, in turn, with the order statistics' interval of the median ratio.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CELLS = (("mlp@width=8,depth=2", 1), ("mlp", 32), ("my_net", 8))
LOOPS = ("steps", "phases")
COMMANDS = (
    ("--help",),
    ("count", "mlp"),
    ("run", "mlp@width=8,depth=2", "-b", "1", "--budget", "1s"),
    ("run", "my_net", "-b", "8", "--mode", "infer", "--budget", "1s"),
)
BLOCK_SECONDS = 0.05

SIDE = """
import json, sys, torch
try:
    from bench.device.prepare import prepare
except ImportError:  # f4b5e0f
    from bench.device.step import prepare
from bench import registry
from bench.core.cell import Cell
from bench.measure.blocks import time_phases, time_steps, without_garbage_collection
from bench.measure.clock import clock_for
torch.set_num_threads(1)
cell = Cell(model=sys.argv[1], batch_size=int(sys.argv[2]), threads=1)
with prepare(registry.resolve(cell.model), cell) as step, without_garbage_collection():
    clock = clock_for("cpu")
    loops = {
        "steps": lambda count: sum(time_steps(step, clock, count)[0]) / count,
        "phases": lambda count: sum(map(sum, time_phases(step, clock, count)[0].values())) / count,
    }
    for loop in loops.values():
        loop(5)
    print("ready", flush=True)
    for line in sys.stdin:
        name, count = line.split()
        print(json.dumps(loops[name](int(count))), flush=True)
"""


class Side:
    """A process of one tree that has built one cell and waits for orders."""

    def __init__(self, tree, model, batch_size):
        command = [str(tree / ".venv" / "bin" / "python"), "-P", "-c", SIDE, model, str(batch_size)]
        self._process = subprocess.Popen(command, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def seconds(self, loop, count):
        """Return the seconds of a step in one block."""
        self._process.stdin.write(f"{loop} {count}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def compare_loops(trees, model, batch_size, blocks):
    """Return, for each loop, the log ratio of the medians (now over older) in one pair of processes."""
    with Side(trees[0], model, batch_size) as now, Side(trees[1], model, batch_size) as older:
        found = {}
        for loop in LOOPS:
            count = max(1, round(BLOCK_SECONDS / older.seconds(loop, 20)))
            pairs = []
            for index in range(blocks):
                order = (now, older) if index % 2 else (older, now)
                seconds = {side: side.seconds(loop, count) for side in order}
                pairs.append(math.log(seconds[now] / seconds[older]))
            found[loop] = statistics.median(pairs)
        return found


def compare_commands(trees, command, rounds):
    """Return the ratios of the wall seconds of a whole command, now over older, one for each round."""
    ratios = []
    for index in range(rounds):
        seconds = {}
        for tree in trees if index % 2 else reversed(trees):
            with tempfile.TemporaryDirectory() as folder:
                environment = {**os.environ, "STEPBENCH_CACHE": str(Path(folder, "cache"))}
                started = time.perf_counter()
                subprocess.run(
                    [str(tree / ".venv" / "bin" / "bench"), *command],
                    cwd=folder,
                    env=environment,
                    check=True,
                    capture_output=True,
                    timeout=300,
                )
                seconds[tree] = time.perf_counter() - started
        ratios.append(seconds[trees[0]] / seconds[trees[1]])
    return ratios


def main():
    """Run all in turn and print a line for each."""
    from scipy.stats import binom, t

    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_engine", description=__doc__.splitlines()[0])
    parser.add_argument("older", type=Path, help="a worktree of the other commit")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of processes for each cell (8)")
    parser.add_argument("--blocks", type=int, default=24, help="blocks of each side in a pair (24)")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of each command (9)")
    options = parser.parse_args()
    trees = (HERE, options.older.resolve())
    for model, batch_size in CELLS:
        pairs = [compare_loops(trees, model, batch_size, options.blocks) for _ in range(options.pairs)]
        for loop in LOOPS:
            logs = [pair[loop] for pair in pairs]
            half = float(t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
            low, middle, high = (math.exp(statistics.fmean(logs) + shift) for shift in (-half, 0, half))
            print(f"{model} b{batch_size}, {loop}: {middle:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    for command in COMMANDS:
        ratios = sorted(compare_commands(trees, command, options.rounds))
        rank = max(1, int(binom.ppf(0.025, len(ratios), 0.5)))
        print(
            f"bench {' '.join(command)}: {statistics.median(ratios):.3f} [{ratios[rank - 1]:.3f}, {ratios[-rank]:.3f}]",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
