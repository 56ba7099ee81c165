"""Questions to a real GPU, most important first; figures go to `$OUT/gpu.jsonl`, or `results/gpu/gpu.jsonl`.

Written and judged without a GPU: no test here has run on one yet.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.core.cell import Cell, Precision
from bench.device import nvml
from bench.device.backend import backend_of
from bench.device.datasheet import datasheet
from bench.device.prepare import prepare
from bench.device.step import Step
from tests.gpu import judging

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(300)]
DEVICE = "cuda:0"
LONG = "decoder_lm@layers=16,width=1024,heads=16,sequence_length=1024"  # a step above 34 ms
SHORT = "decoder_lm@layers=8,width=1024,heads=16,sequence_length=512"  # many kernels, bound by the device


def note(question: str, wrong: list[str], **figures: Any) -> None:
    """Write one line of figures, and fail if something is wrong."""
    folder = Path(os.environ.get("OUT", "results/gpu"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "gpu.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"question": question, "wrong": wrong, "figures": figures}, default=str) + "\n")
    assert not wrong, wrong


def bench(*arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run a command that answers in JSON."""
    command = [sys.executable, "-m", "bench", *arguments, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode in codes, f"exit {done.returncode}: {done.stderr[-600:]}"
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found | {"exit": done.returncode}


@cache
def records(model: str, *arguments: str) -> list[dict[str, Any]]:
    """Measure cells, once for all questions that ask for the same."""
    found: list[dict[str, Any]] = bench("run", model, "-d", DEVICE, "-q", *arguments, codes=(0, 1, 5))["records"]
    return found


def record_of(*arguments: str) -> dict[str, Any]:
    """Measure one cell, which must end well."""
    found = records(*arguments)[0]
    assert found["outcome"] == "ok", found["reason"]
    return found


def medians(record: dict[str, Any]) -> dict[str, float]:
    """Return the median of every phase."""
    return {one["phase"]: statistics.median(one["seconds"]) for one in record["samples"] if one["seconds"]}


def kinds(record: dict[str, Any]) -> set[str]:
    """Return the doubts about a record."""
    return {one["kind"] for one in record["advice"]}


def step_of(model: str, batch: int, precision: str) -> Any:
    """Prepare a step in this process."""
    cell = Cell(model=model, batch_size=batch, device=DEVICE, precision=Precision(precision))
    return prepare(registry.resolve(model), cell)


def wall(step: Step, seconds: float = 1.5) -> float:
    """Time a plain loop by the wall clock."""
    for is_warm in (False, True):
        torch.cuda.synchronize(DEVICE)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < (seconds if is_warm else 1.0) or count < 20:
            step()
            count += 1
            if count % 200 == 0:
                torch.cuda.synchronize(DEVICE)
        torch.cuda.synchronize(DEVICE)
        taken = (time.perf_counter() - started) / count
    return taken


def uuid() -> str:
    """Name the GPU for its driver."""
    return str(torch.cuda.get_device_properties(DEVICE).uuid)


def test_nvml_sees_this_process() -> None:
    held = torch.ones(1, device=DEVICE)
    used = backend_of(DEVICE).used_bytes(uuid())
    note("environment", [] if isinstance(used, int) else [str(used)], used=used, driver=nvml.driver_version())
    del held


@pytest.mark.parametrize(("model", "batch"), [(SHORT, 8), (LONG, 16)])
def test_a_step_is_what_the_wall_clock_says(model: str, batch: int) -> None:
    record = record_of(model, "-b", str(batch), "-p", "bf16-amp")
    with step_of(model, batch, "bf16-amp") as step:
        plain = wall(step)
    mine = medians(record)
    whole = mine.pop("step")
    clock = record["samples"][0]["clock"]
    note("wall clock", judging.wall_clock(whole, plain, mine, clock), step=whole, wall=plain, phases=mine)


@pytest.mark.parametrize(("model", "batch", "precision"), [("my_net", 8, "fp32"), (SHORT, 8, "bf16-amp")])
def test_launch_bound_is_said_where_it_is_true(model: str, batch: int, precision: str) -> None:
    record = record_of(model, "-b", str(batch), "-p", precision)
    launching = []
    with step_of(model, batch, precision) as step:
        total = wall(step, 0.8)
        for _ in range(20):
            torch.cuda.synchronize(DEVICE)
            started = time.perf_counter()
            step()
            launching.append(time.perf_counter() - started)
    least = min(launching)
    note(
        "launch bound", judging.launch_bound(least, total, "launch-bound" in kinds(record)), launching=least, step=total
    )


@pytest.mark.parametrize(
    ("model", "batch", "precision"), [("my_net", 256, "fp32"), (SHORT, 8, "bf16-amp"), ("transformer", 64, "fp32")]
)
def test_memory_is_torchs_own_and_was_predicted(model: str, batch: int, precision: str) -> None:
    counters = record_of(model, "-b", str(batch), "-p", precision)["counters"]
    predicted = counters["predicted_peak"]
    torch.cuda.empty_cache()
    torch._C._cuda_clearCublasWorkspaces()
    with step_of(model, batch, precision) as step:
        step()
        torch.cuda.reset_peak_memory_stats(DEVICE)
        step()
        torch.cuda.synchronize(DEVICE)
        peak, held = torch.cuda.max_memory_allocated(DEVICE), torch.cuda.memory_allocated(DEVICE)
        torch._C._cuda_clearCublasWorkspaces()
        truth = {"peak": peak, "workspaces": held - torch.cuda.memory_allocated(DEVICE)}
    total = predicted and predicted["total_bytes"]
    note(
        "memory",
        judging.memory(counters["memory"], truth, total),
        memory=counters["memory"],
        truth=truth,
        foreseen=total,
    )


def test_rates_are_what_the_maker_publishes() -> None:
    sheet = datasheet(torch.cuda.get_device_name(DEVICE))
    if sheet is None:
        pytest.skip("nothing is published of exactly this device in bench/device/datasheet.py")
    found = bench("machine", "peaks", "-d", DEVICE, "--seconds", "0.4s", "--force")["peaks"]
    best: dict[str, float] = {}
    for probe in found["probes"]:
        kind = probe["arithmetic"] or "bytes"
        best[kind] = max(best.get(kind, 0.0), probe["best_per_second"])
    published = {kind.value: rate for kind, rate in sheet.flops_per_second} | {"bytes": sheet.bytes_per_second or 0.0}
    note("peaks", judging.peaks(best, published), best=best, published=published)


def test_what_does_not_fit_has_a_row_and_the_next_cell_is_fine() -> None:
    model, batch = "mlp@width=16384,depth=4", "6000000"
    tried = [one["outcome"] for one in records(model, "-b", f"{batch},64", "--no-predict", "--budget", "0.2s")]
    foreseen = [one["outcome"] for one in records(model, "-b", batch, "--budget", "0.2s")]
    note("out of memory", judging.out_of_memory(tried, foreseen), outcomes=tried, predicted=foreseen)


def test_energy_is_power_times_time() -> None:
    window = record_of(SHORT, "-b", "8", "-p", "bf16-amp", "--energy")["counters"]["energy"]
    watts: list[float] = []
    with step_of(SHORT, 8, "bf16-amp") as step, nvml.opened():
        wall(step, 0.5)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < 4:
            step()
            count += 1
            if count % 20 == 0:
                watts.append(nvml.read_watts(uuid()) or 0.0)
                torch.cuda.synchronize(DEVICE)
        torch.cuda.synchronize(DEVICE)
        seconds = time.perf_counter() - started
    power = statistics.fmean(watts)
    wrong = judging.energy(window["joules_per_step"], window["average_watts"], power * seconds / count, power)
    note("energy", wrong, window=window, watts=power, steps=count, seconds=seconds)


def test_a_scaled_step_launches_its_optimizer() -> None:
    arguments = ("walkthrough_cnn", "-b", "64", "--optimizer", "adam", "-p")
    counts = [record_of(*arguments, one)["counters"]["kernel_launches"] for one in ("fp16-amp", "bf16-amp")]
    note("scaled", judging.launches(*counts), launches=counts)


def test_a_small_network_is_faster_as_a_graph() -> None:
    eager = record_of("my_net", "-b", "8", "-p", "fp32")
    graph = record_of("my_net", "-b", "8", "-p", "fp32", "--compile", "reduce-overhead")
    seconds = [medians(one)["step"] for one in (eager, graph)]
    peaks = [one["counters"]["memory"]["peak_allocated_bytes"] for one in (graph, eager)]
    note("compiled", judging.graphs(*seconds, *peaks), seconds=seconds, peaks=peaks)


def test_a_second_gpu_is_timed_on_its_own() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    arguments = ("-b", "8", "-p", "bf16-amp", "-q")
    found = [medians(bench("run", SHORT, "-d", d, *arguments)["records"][0])["step"] for d in ("cuda:0", "cuda:1")]
    note("second GPU", judging.same_speed(*found), seconds=found)
    ranks = records(SHORT, *arguments[:-1], "--world-size", "2")[0]
    note("two ranks", [] if ranks["outcome"] == "ok" else [ranks["reason"]], outcome=ranks["outcome"])


def test_more_ranks_than_gpus_are_skipped() -> None:
    found = records("mlp", "-b", "8", "--world-size", "64")[0]
    note("too many ranks", [] if found["outcome"] == "skipped" else [found["outcome"]], reason=found["reason"])


def test_unchanged_code_raises_no_alarm() -> None:
    arguments = ("mlp", "-d", DEVICE, "-b", "512", "--slowdown", "5%", "--seed", "1", "-q")
    found = bench("machine", "selftest", *arguments, codes=(0, 1, 4))
    voids = {reason: json.dumps(found).count(f'"{reason}"') for reason in ("gpu shared", "gpu clock", "busy cores")}
    note("A/A", judging.unchanged(found["exit"], voids), voids=voids)


def test_the_largest_batch_fills_what_it_was_given() -> None:
    found = bench("fit", "transformer", "-d", DEVICE, "-p", "bf16-amp", "--memory", "6GiB", "--verify", codes=(0, 1))
    cell = found["cells"][0]
    live = ((cell["verification"] or {}).get("live") or {}).get("total_bytes")
    allowed = cell["fit"]["memory_bytes"]
    note("fit", judging.fitted(live, allowed), live=live, allowed=allowed, batch=cell["fit"]["batch_size"])


FLAGGED = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(64, 10)

    def forward(self, x):
        with torch.backends.cudnn.flags(enabled=False):
            return self.fc(x)
"""


def test_a_model_that_reads_torchs_older_switches_runs(tmp_path: Path) -> None:
    (tmp_path / "flagged.py").write_text(FLAGGED)
    spec = f"{tmp_path / 'flagged.py'}:Net"
    found = records(spec, "--input-shape", "64", "-b", "4", "--mode", "infer", "--budget", "0.2s")[0]
    note("switches", [] if found["outcome"] == "ok" else [found["reason"]], outcome=found["outcome"])
