"""Do forked workers spread more than fresh interpreters? Sessions of unchanged code, of both kinds in turn.

    python -m benchmarks.compare_sessions mlp --sessions 30          # of each kind; minutes on quiet cores
    python -m benchmarks.compare_sessions my_net lstm --sessions 30  # a long and a recurrent cell

Prints, by kind and column, the root mean square of the session values, and the two-sided p of an F test of their ratio.
"""

import argparse
import math
import statistics
import sys
import tempfile
from pathlib import Path

from bench.runner.ab.run import Request, compare_sides
from bench.runner.ab.stages import Settings

KINDS = {"forked": True, "fresh": False}


def main():
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_sessions", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--sessions", type=int, default=30, help="of each kind (30)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-void", action="store_true", help="count sessions whatever else the machine does")
    options = parser.parse_args()
    for model in options.models:
        shifts = {kind: [] for kind in KINDS}
        means = {kind: [] for kind in KINDS}
        seconds = {kind: [] for kind in KINDS}
        for number in range(options.sessions):
            for kind, forks in KINDS.items():
                settings = Settings(sessions=1, stops=False, seed=number, forks=forks, judges_state=not options.no_void)
                with tempfile.TemporaryDirectory() as folder:
                    axes = {"threads": (options.threads,)}
                    request = Request(
                        base=".", head=".", targets=(model,), axes=axes, settings=settings, results=Path(folder)
                    )
                    compared = compare_sides(request)
                good = [one for session in compared.sessions for one in session.cells if one.void is None]
                if good:
                    shifts[kind].append(good[-1].shift)
                    means[kind].append(good[-1].mean_shift)
                    seconds[kind].append(compared.sessions[-1].seconds)
            print(f"{model}: {number + 1} of {options.sessions}", file=sys.stderr, flush=True)
        report(model, shifts, means, seconds)


def report(model, shifts, means, seconds):
    """Print one cell."""
    from scipy.stats import f

    for name, columns in (("undisturbed", shifts), ("mean", means)):
        rms = {kind: math.sqrt(statistics.fmean(x * x for x in values)) for kind, values in columns.items()}
        count = {kind: len(values) for kind, values in columns.items()}
        tail = f.cdf((rms["forked"] / rms["fresh"]) ** 2, count["forked"], count["fresh"])
        words = ", ".join(
            f"{kind} {100 * rms[kind]:.2f} % ({count[kind]} sessions of {statistics.median(seconds[kind]):.1f} s)"
            for kind in KINDS
        )
        print(f"{model}, {name}: {words}; F test p {2 * min(tail, 1 - tail):.2f}", flush=True)


if __name__ == "__main__":
    main()
