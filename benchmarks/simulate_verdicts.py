"""Does the rule of `bench ab` hold what it promises? Seeded simulations of whole comparisons, with both columns.

    python -m benchmarks.simulate_verdicts                 # level: 20,000 comparisons per noise model, minutes each
    python -m benchmarks.simulate_verdicts --only power    # what is found, and after how many sessions

No machine is measured: the sessions are drawn, the rule is the product's (`bench.stats.looks`). The noise models:

    gaussian   a session's undisturbed step spreads by 1.5 %, its mean by 2.2 %, correlated by 0.6 (mlp, batch 8)
    wide       the same, 8 times as wide, so that neither `fail_at` nor SAME hides the level of the test
    heavy      Student's t with 1.5 degrees of freedom, 5 % wide
    wild       every tenth session off by another 10 %
    luck       a process 8 % faster than the other in three of ten sessions, on top of 1 %
    ties       multiples of 5 %
    skewed     the mean has bursts (exponential, 10 %) on either side: their difference is symmetric, with heavy tails
    bursts     every fifth session one side's mean is 30 % slower, its undisturbed step is not
"""

import argparse
import math
import time

import numpy as np

from bench.stats.looks import FASTER, SAME, SLOWER, Plan, Threshold, look
from bench.stats.shift import estimate_shift

SESSIONS = 18
COMPARISONS = 20_000


def pair(rng, shape, first, second, correlation=0.6):
    """Draw both columns as correlated Gaussians."""
    z = rng.standard_normal((*shape, 2))
    other = correlation * z[..., 0] + math.sqrt(1 - correlation**2) * z[..., 1]
    return np.stack([first * z[..., 0], second * other], axis=-1)


def draw(rng, model, shape):
    """Draw sessions of unchanged code: (comparisons, cells, sessions, 2)."""
    base = pair(rng, shape, 0.015, 0.022)
    match model:
        case "gaussian":
            return base
        case "wide":
            return 8 * base
        case "heavy":
            common = rng.standard_t(1.5, (*shape, 1))
            return 0.05 * (0.7 * common + 0.7 * rng.standard_t(1.5, (*shape, 2)))
        case "wild":
            return base + np.where(rng.random((*shape, 1)) < 0.1, rng.normal(0, 0.1, (*shape, 1)), 0.0)
        case "luck":
            both = (rng.random(shape) < 0.3) * 1.0 - (rng.random(shape) < 0.3)
            return 0.08 * both[..., None] + pair(rng, shape, 0.01, 0.015)
        case "ties":
            return np.round(pair(rng, shape, 0.08, 0.11) / 0.05) * 0.05
        case "skewed":
            burst = rng.exponential(0.1, shape) - rng.exponential(0.1, shape)
            return base + np.stack([np.zeros(shape), burst], axis=-1)
        case "bursts":
            burst = np.where(rng.random(shape) < 0.2, np.where(rng.random(shape) < 0.5, 0.3, -0.3), 0.0)
            return base + np.stack([np.zeros(shape), burst], axis=-1)
    raise ValueError(model)


def simulate(model, *, cells=1, count=COMPARISONS, slow=(0.0, 0.0), threshold=None, most=SESSIONS, seed=16):
    """Judge `count` suites; only the first cell is slower, by `slow` in either column."""
    plan = Plan(threshold=threshold or Threshold(), cells=cells, most=most)
    rng = np.random.default_rng([seed, cells, sum(map(ord, model)), *(round(1e4 * abs(one)) for one in slow)])
    shifts = draw(rng, model, (count, cells, SESSIONS))
    shifts[:, 0] += np.log1p(slow)
    flat = shifts.reshape(count * cells, SESSIONS, 2)
    return flat, look(flat, plan)


def interval(hits, count):
    """Return the exact 95 % interval of a share (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    low = 0.0 if hits == 0 else beta.ppf(0.025, hits, count - hits + 1)
    high = 1.0 if hits == count else beta.ppf(0.975, hits + 1, count - hits)
    return f"{hits / count:.4f} [{low:.4f}, {high:.4f}]"


def level(count):
    """Print how often unchanged suites alarm."""
    print("| noise | cells | any SLOWER | any FASTER | same | sessions | interval covers | seconds |")
    print("|---|---:|---|---|---:|---:|---:|---:|")
    for model in ("gaussian", "wide", "heavy", "wild", "luck", "ties", "skewed", "bursts"):
        for cells in (1, 5):
            started = time.perf_counter()
            n = count if cells == 1 else count // 10
            flat, found = simulate(model, cells=cells, count=n)
            verdict = found.verdict.reshape(n, cells)
            slower, faster = ((verdict == one).any(axis=1).sum() for one in (SLOWER, FASTER))
            cover, seconds = covered(flat, found, 0.0), time.perf_counter() - started
            print(
                f"| {model} | {cells} | {interval(slower, n)} | {interval(faster, n)} | {(verdict == SAME).mean():.3f} "
                f"| {found.sessions.mean():.2f} | {cover:.3f} | {seconds:.0f} |",
                flush=True,
            )


def covered(flat, found, truth, most=2000):
    """Return the share of comparisons whose interval, after stopping, holds the truth (undisturbed column)."""
    hits = []
    for row in range(min(most, len(flat))):
        values = flat[row, : found.sessions[row], 0]
        estimate = estimate_shift(values)
        low, high = (values.min(), values.max()) if estimate.low is None else (estimate.low, estimate.high)
        hits.append(low <= truth <= high)
    return float(np.mean(hits))


def power(count):
    """Print what is found of slowdowns, of every step and on average only."""
    print("| noise | cells | slower by | found | same | inconclusive | sessions | interval covers |")
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for model in ("gaussian", "wild", "luck"):
        for cells in (1, 5):
            for slow in ((0.03, 0.03), (0.05, 0.05), (0.10, 0.10), (0.0, 0.05), (0.0, 0.10), (-0.05, -0.05)):
                flat, found = simulate(model, cells=cells, count=count, slow=slow)
                first = found.verdict[::cells]
                wanted = FASTER if slow[0] < 0 else SLOWER
                words = f"{slow[0]:+.0%} every step" if slow[0] else f"{slow[1]:+.0%} on average"
                chosen = slice(None, None, cells)
                part = type(found)(**{name: getattr(found, name)[chosen] for name in found.__slots__})
                print(
                    f"| {model} | {cells} | {words} | {(first == wanted).mean():.3f} | {(first == SAME).mean():.3f} "
                    f"| {(first == 9).mean():.3f} | {found.sessions[::cells].mean():.2f} "
                    f"| {covered(flat[chosen], part, math.log1p(slow[0])):.3f} |",
                    flush=True,
                )


def main():
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate_verdicts", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("level", "power"))
    parser.add_argument("--count", type=int, default=COMPARISONS)
    options = parser.parse_args()
    if options.only != "power":
        level(options.count)
    if options.only != "level":
        power(min(options.count, 2000))


if __name__ == "__main__":
    main()
