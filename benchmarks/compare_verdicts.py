"""What does a verdict cost, beside an older commit? Comparisons of both, in turn, with a known answer.

    git worktree add ../older f4b5e0f && make -C ../older .venv/.ready
    python -m benchmarks.compare_verdicts ../older --rounds 3    # about 25 minutes a round on 2 quiet cores

Each comparison is a process that works in its own tree: unchanged code against itself, and 5 % injected by a real
busy-wait, for the suite `verdicts` (five cells) and for mlp alone. A line of JSON the moment a trial ends, then a table
of seconds per cell and of what was said.
"""

import argparse
import json
import statistics
import subprocess
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CASES = (("mlp", 0.0), ("mlp", 0.05), ("verdicts", 0.0), ("verdicts", 0.05))

TRIAL = """
import json, sys, tempfile
from pathlib import Path
try:
    from bench.runner.ab.run import Request, compare_sides
    from bench.runner.ab.stages import Settings
except ImportError:  # f4b5e0f
    from bench.runner.ab import Settings
    from bench.runner.comparing import Request, compare_sides
target, slow, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
settings = Settings(seed=seed, slow=(("head", slow),) if slow else ())
with tempfile.TemporaryDirectory() as folder:
    request = Request(base=".", head=".", targets=(target,), axes={}, settings=settings, results=Path(folder))
    found = compare_sides(request)
cells = [(one.verdict.value, one.reason.value) for one in found.comparisons]
print(json.dumps({"seconds": found.seconds, "cells": cells, "sessions": len(found.sessions)}))
"""


def run_trial(tree, target, slow, seed):
    """Run one comparison in a tree; return what it printed."""
    command = [str(tree / ".venv" / "bin" / "python"), "-P", "-c", TRIAL]
    done = subprocess.run(
        [*command, target, str(slow), str(seed)], cwd=tree, capture_output=True, text=True, timeout=3600
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def summarise(trials):
    """Return a Markdown table: seconds per cell and verdicts, by target, slowdown and tree."""
    lines = [
        "| target | injected | tree | comparisons | seconds per cell (median) | verdicts |",
        "|---|---:|---|---:|---:|---|",
    ]
    for key in dict.fromkeys((t["target"], t["slow"], t["tree"]) for t in trials):
        mine = [t for t in trials if (t["target"], t["slow"], t["tree"]) == key]
        seconds = statistics.median(t["seconds"] / len(t["cells"]) for t in mine)
        said = Counter(f"{verdict} ({reason})" for t in mine for verdict, reason in t["cells"])
        verdicts = ", ".join(f"{count} {name}" for name, count in said.most_common())
        lines.append(f"| {key[0]} | {key[1]:.0%} | {key[2]} | {len(mine)} | {seconds:.1f} | {verdicts} |")
    return "\n".join(lines)


def main():
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_verdicts", description=__doc__.splitlines()[0])
    parser.add_argument("older", type=Path, help="a worktree of the other commit")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--case", action="append", help="TARGET:SLOW, as verdicts:0.05; repeatable (all four)")
    options = parser.parse_args()
    cases = [(c.split(":")[0], float(c.split(":")[1])) for c in options.case or []] or CASES
    trials = []
    for index in range(options.rounds):
        for target, slow in cases:
            for name, tree in (("now", HERE), ("older", options.older.resolve())):
                found = run_trial(tree, target, slow, seed=1000 * index + round(1000 * slow))
                trials.append({"target": target, "slow": slow, "tree": name, **found})
                print(json.dumps(trials[-1]), flush=True)
    print(summarise(trials))


if __name__ == "__main__":
    main()
