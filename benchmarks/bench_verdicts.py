"""Do the verdicts hold on this machine? Many comparisons with a known answer, beside pytest-benchmark's own gate.

    python -m benchmarks.bench_verdicts               # about 95 minutes on 2 quiet cores; resumes where it stopped
    pytest --benchmark-only -m thorough benchmarks/bench_verdicts.py    # the same, with limits asserted

The suite `verdicts` has five cells: 20 comparisons of unchanged code are 100 verdicts, and four of each slowdown 20:
every step 3 % and 5 % slower, and one step in 20 twice as long, by a real busy-wait. All of it also through
`pytest --benchmark-compare-fail=mean:5%`, in turn, so that both meet the same machine.
Every trial is a line of `results/verdicts/trials.jsonl` the moment it ends, the figures are written beside it.
Plain `pytest --benchmark-only` only measures what one session costs.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.core.comparison import ComparisonVerdict
from bench.runner.ab.run import Request, compare_sides
from bench.runner.ab.stages import Settings
from bench.runner.session import builtin_suites
from bench.store.atomic import make_folder, write_bytes
from bench.suite.file import read_suite
from bench.suite.sweep import expand

SUITE = "verdicts"
CELLS = tuple((cell.model, cell.batch_size) for cell in expand(read_suite(builtin_suites()[SUITE]).sweeps))
NAMES = tuple(f"{model}/b{batch_size}" for model, batch_size in CELLS)
ROUNDS, INJECTED_ROUNDS = 20, 4
INJECTED = ((0.05, 1), (0.03, 1), (0.05, 20))
"""Slowdowns on average, and one step in how many gets all of it."""

KINDS = ("stepbench", "pytest-benchmark")
PEER_TEST = """\
import os
import pytest
from bench import registry
from bench.core.cell import Cell
from bench.device.prepare import prepare
from bench.measure.clock import clock_for
from bench.measure.blocks import warm_up
from bench.runner.workers.arm import alternating, slower

@pytest.mark.parametrize(("model", "batch_size"), CELLS)
def test_step(benchmark, model, batch_size):
    slow, every = float(os.environ["SLOW"]), int(os.environ["EVERY"])
    with prepare(registry.resolve(model), Cell(model=model, batch_size=batch_size)) as step:
        warm_up(step, clock_for("cpu"), "cpu")
        slowed = slower(step, slow * every, 0.0, "cpu")
        benchmark(alternating(step, slowed, every) if slow else step)
"""


def run_trial(kind, index, slow, every, folder, judges_state=True):
    """Compare unchanged code with itself, or with a slowed copy; return what came out as plain JSON."""
    settings = Settings(
        seed=100_000 * index + 100 * round(1000 * slow) + every,
        slow=(("head", slow),) if slow else (),
        slow_every=every,
        judges_state=judges_state,
    )
    request = Request(base=".", head=".", targets=(SUITE,), axes={}, settings=settings, results=folder / "runs")
    compared = compare_sides(request)
    cells = {
        _name(comparison.cell_id): {
            "verdict": comparison.verdict.value,
            "reason": comparison.reason.value,
            "shift": comparison.shift,
            "minimum_detectable": comparison.minimum_detectable,
            "voided": sum(count for _, count in comparison.voided),
            "session_shifts": comparison.session_shifts,
            "mean_shifts": comparison.mean_shifts,
            "shown_by": comparison.shown_by,
        }
        for comparison in compared.comparisons
    }
    return {
        "kind": kind,
        "index": index,
        "slow": slow,
        "every": every,
        "cells": cells,
        "seconds": compared.seconds,
        "sessions": len(compared.sessions),
        "unfit": compared.unfit,
        "fingerprint": compared.environment.fingerprint,
    }


def run_peer_trial(kind, index, slow, every):
    """Do the same with pytest-benchmark: save a run, run again, and let it compare the means at 5 %."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="stepbench-peer-") as name:
        folder = Path(name)
        (folder / "test_peer.py").write_text(PEER_TEST.replace("CELLS", repr(list(CELLS))))
        common = ["-q", "-p", "no:cacheprovider", "--rootdir", name, f"--benchmark-storage=file://{name}/storage"]
        _run_pytest(folder, 0.0, 1, [*common, "--benchmark-save=base"])
        gate = ["--benchmark-compare", "--benchmark-compare-fail=mean:5%"]
        output = _run_pytest(folder, slow, every, [*common, *gate])
    failed = [line for line in output.splitlines() if "has failed" in line]
    cells = {
        f"{model}/b{size}": {"alarm": any(f"[{model}-{size}]" in line for line in failed)} for model, size in CELLS
    }
    seconds = time.perf_counter() - started
    return {"kind": kind, "index": index, "slow": slow, "every": every, "cells": cells, "seconds": seconds}


def _run_pytest(folder, slow, every, options):
    command = [sys.executable, "-m", "pytest", "test_peer.py", *options]
    environment = {**os.environ, "SLOW": str(slow), "EVERY": str(every)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    is_finished = f"{len(CELLS)} passed" in output or "Performance has regressed" in output
    assert is_finished, output[-2000:]
    return output


def plan(rounds, injected_rounds):
    """List every trial as (kind, round, slowdown, every), ours and the peer's in turn."""
    trials = []
    for index in range(rounds):
        slows = ((0.0, 1), *(INJECTED if index < injected_rounds else ()))
        trials += [(kind, index, *slow) for slow in slows for kind in KINDS]
    return trials


def run_all(folder, wanted, judges_state=True, say=print):
    """Run what is missing of the plan; return every trial.

    Raises:
        RuntimeError: The trials on disk are of another machine or other settings.
    """
    make_folder(folder)
    path = folder / "trials.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    trials = [json.loads(line) for line in lines if line.endswith("\n")]  # a killed run may leave half a line
    write_bytes(path, "".join(line for line in lines if line.endswith("\n")).encode())
    done = {(t["kind"], t["index"], t["slow"], t["every"]) for t in trials}
    left = [trial for trial in wanted if trial not in done]
    for position, (kind, index, slow, every) in enumerate(left):
        if kind == "stepbench":
            trial = run_trial(kind, index, slow, every, folder, judges_state)
            fingerprints = {t["fingerprint"] for t in trials if "fingerprint" in t} | {trial["fingerprint"]}
            if len(fingerprints) > 1:
                raise RuntimeError(f"{path} is of another machine or other settings; move it away and start again")
        else:
            trial = run_peer_trial(kind, index, slow, every)
        trials.append(trial)
        with path.open("a") as file:
            file.write(json.dumps(trial) + "\n")
        mean = sum(t["seconds"] for t in trials) / len(trials)
        words = ", ".join(f"{name} {cell.get('verdict', cell.get('alarm'))}" for name, cell in trial["cells"].items())
        say(
            f"[{position + 1}/{len(left)}] {kind} {_words(slow, every)}: {words}; {trial['seconds']:.0f} s, "
            f"about {mean * (len(left) - position - 1) / 60:.0f} min left"
        )
    return trials


def figures(trials):
    """Count alarms by tool, slowdown and model; a comparison that is void, inconclusive or unfit raised none."""
    table = []
    for kind in KINDS:
        for slow, every in ((0.0, 1), *INJECTED):
            chosen = [t for t in trials if (t["kind"], t["slow"], t["every"]) == (kind, slow, every)]
            for name in NAMES if chosen else ():
                cells = [t["cells"][name] for t in chosen]
                wrong_or_right = [_is_alarm(cell, slow) for cell in cells]
                verdicts = Counter(cell["verdict"] for cell in cells) if kind == "stepbench" else {}
                table.append(
                    {
                        "tool": kind,
                        "injected": _words(slow, every),
                        "cell": name,
                        "comparisons": len(cells),
                        "alarms": sum(wrong_or_right),
                        "verdicts": dict(verdicts),
                        "unfit": sum(t.get("unfit") is not None for t in chosen),
                        "void": sum(cell.get("voided", 0) for cell in cells),
                        "seconds_per_verdict": sum(t["seconds"] for t in chosen) / len(chosen) / len(CELLS),
                    }
                )
    return table


def _is_alarm(cell, slow):
    """Whether a gate fired: for unchanged code in either direction, else by calling it slower."""
    if "alarm" in cell:
        return cell["alarm"]
    loud = {ComparisonVerdict.SLOWER.value} | (set() if slow else {ComparisonVerdict.FASTER.value})
    return cell["verdict"] in loud


def _name(cell_id):
    """Name a cell briefly: `mlp/train/b8/cpu/fp32` is `mlp/b8`."""
    model, _, batch_size = cell_id.split("/")[:3]
    return f"{model}/{batch_size}"


def _words(slow, every):
    """Say what was injected, as a table does."""
    if not slow:
        return "nothing"
    return f"{slow:.0%} of every step" if every == 1 else f"one step in {every}, {slow:.0%} on average"


def _share(rows, slow, every=1, model=""):
    chosen = [row for row in rows if row["injected"] == _words(slow, every) and row["cell"].startswith(model)]
    return sum(row["alarms"] for row in chosen) / sum(row["comparisons"] for row in chosen)


def write_figures(folder, table):
    """Write the figures as JSON and as the Markdown table of docs/verdicts.md."""
    lines = [
        "| tool | injected | cell | alarms | inconclusive | void sessions | seconds per verdict |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in table:
        unsure = row["verdicts"].get("inconclusive", 0) if row["verdicts"] else "-"
        lines.append(
            f"| {row['tool']} | {row['injected']} | {row['cell']} | {row['alarms']} of {row['comparisons']} "
            f"| {unsure} | {row['void'] if row['verdicts'] else '-'} | {row['seconds_per_verdict']:.0f} |"
        )
    write_bytes(folder / "verdicts.json", (json.dumps(table, indent=1) + "\n").encode())
    write_bytes(folder / "verdicts.md", ("\n".join(lines) + "\n").encode())
    return "\n".join(lines)


@pytest.mark.thorough
def bench_cost_of_a_session(benchmark, tmp_path, capsys):
    """One session of 8 quads: what it takes beside the visits themselves."""
    settings = Settings(sessions=1, stops=False, seed=1, judges_state=False)
    request = Request(base=".", head=".", targets=("mlp",), axes={}, settings=settings, results=tmp_path)
    compared = benchmark.pedantic(compare_sides, (request,), rounds=1, iterations=1)
    session = compared.sessions[0]
    measuring = sum(cell.seconds for cell in session.cells)
    benchmark.extra_info.update(session_seconds=session.seconds, measuring_seconds=measuring)
    with capsys.disabled():
        print(f"\none session {session.seconds:.1f} s, of which {measuring:.1f} s are visits", end="")


@pytest.mark.thorough
def bench_verdicts_hold(benchmark, capsys):
    folder = Path("results/verdicts")
    rounds = int(os.environ.get("STEPBENCH_VERDICTS", ROUNDS))
    with capsys.disabled():
        trials = benchmark.pedantic(
            run_all, (folder, plan(rounds, min(rounds, INJECTED_ROUNDS))), rounds=1, iterations=1
        )
        table = figures(trials)
        print(f"\n{write_figures(folder, table)}")
    ours = [row for row in table if row["tool"] == "stepbench"]
    assert sum(row["alarms"] for row in ours if row["injected"] == _words(0.0, 1)) <= 3 * rounds / ROUNDS
    assert _share(ours, 0.05) >= 0.95
    assert _share(ours, 0.03) >= 0.85
    assert _share(ours, 0.05, 20, "mlp") >= 0.9  # below 2 ms
    assert _share(ours, 0.05, 20, "my_net") >= 0.8  # above 50 ms


def main():
    """Run everything from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_verdicts", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of unchanged code (20)")
    parser.add_argument("--injected-rounds", type=int, default=INJECTED_ROUNDS, help="of each slowdown (4)")
    parser.add_argument("--folder", type=Path, default=Path("results/verdicts"), help="where trials and figures go")
    parser.add_argument("--no-void", action="store_true", help="judge whatever else the machine does")
    options = parser.parse_args()
    wanted = plan(options.rounds, options.injected_rounds)
    say = functools.partial(print, flush=True)  # also into a log
    trials = run_all(options.folder, wanted, judges_state=not options.no_void, say=say)
    print(write_figures(options.folder, figures(trials)))


if __name__ == "__main__":
    main()
