"""Twenty questions to a real GPU, most important first; answers go to `$OUT/gpu.jsonl`, or `results/gpu/gpu.jsonl`.

Nineteen stand here; the twentieth, whether all tests of a GPU ran, is `conftest.py`'s. At `$LIMIT` seconds (570) what
is left says that there is no time. Written and judged without a GPU: no test here has run on one yet.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from bench.device import nvml
from bench.device.datasheet import datasheet
from tests.gpu import asking, judging
from tests.gpu.apart import DEVICE, asked
from tests.gpu.asking import COMMAND_SECONDS, write_answer

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(300)]
LONG = "decoder_lm@layers=16,width=1024,heads=16,sequence_length=1024"  # a step above 34 ms
DEEP = "decoder_lm@layers=32,width=768,heads=12,sequence_length=512"  # as long, of kernels that take long to launch
SHORT = "decoder_lm@layers=8,width=1024,heads=16,sequence_length=512"  # many kernels, bound by the device


DEADLINE = time.monotonic() + float(os.environ.get("LIMIT", "570"))


def left() -> float:
    """Return the seconds that all questions together may still take."""
    return DEADLINE - time.monotonic()


@pytest.fixture(autouse=True)
def _in_time(request: pytest.FixtureRequest) -> None:
    if left() < 15:
        unasked(request.node.name, "no time left")
    assert not torch.cuda.is_initialized(), "a context of pytest's own would be a stranger on the GPU"


def note(question: str, wrong: list[str], **figures: Any) -> None:
    """Write one line of figures, and fail if something is wrong."""
    write_answer(question, wrong, figures)
    assert not wrong, wrong


def unasked(question: str, reason: str) -> NoReturn:
    """Write that a question cannot be asked here, and skip it."""
    write_answer(question, [], {"unasked": reason})
    pytest.skip(judging.UNASKED + reason)


def bench(*arguments: str, codes: tuple[int, ...] = (0,), seconds: float = COMMAND_SECONDS) -> dict[str, Any]:
    """Run a command that answers in JSON; one that the deadline of all questions cuts off has not been asked."""
    command = [sys.executable, "-m", "bench", *arguments, "--format", "json"]
    limit = max(15.0, min(seconds, left()))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        if limit == seconds:
            raise
        unasked(f"bench {arguments[0]}", "no time left")
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


@cache
def facts() -> dict[str, Any]:
    """Read what the GPU tells of itself, once for all questions."""
    found: dict[str, Any] = asked("facts")
    return found


def uuid() -> str:
    """Name the GPU for its driver."""
    return str(facts()["gpu_uuid"])


def test_nvml_sees_the_process_that_uses_it() -> None:
    found = facts()
    wrong = judging.environment(found["used"], found["allocated"] or 0, found["is_listed"])
    note("environment", wrong, **{**found, "torch": torch.__version__, "driver": nvml.driver_version()})


def ask_the_wall_clock(question: str, model: str, batch: int, *, is_long: bool) -> None:
    """Compare stepbench's step with a plain loop of the same."""
    record = record_of(model, "-b", str(batch), "-p", "bf16-amp")
    plain = asked("wall", model, batch, "bf16-amp")
    mine = medians(record)
    whole = mine.pop("step")
    clock = record["samples"][0]["clock"]
    wrong = judging.wall_clock(whole, plain, mine, clock, is_long=is_long)
    note(question, wrong, model=model, step=whole, wall=plain, phases=mine, doubts=kinds(record))


def test_a_short_step_is_what_the_wall_clock_says() -> None:
    ask_the_wall_clock("short step", SHORT, 8, is_long=False)


@pytest.mark.parametrize("model", [LONG, DEEP])
def test_a_long_step_is_timed_with_a_full_queue(model: str) -> None:
    ask_the_wall_clock("long step", model, 16, is_long=True)


@pytest.mark.parametrize(("model", "batch", "precision"), [("my_net", 8, "fp32"), (SHORT, 8, "bf16-amp")])
def test_launch_bound_is_said_where_it_is_true(model: str, batch: int, precision: str) -> None:
    record = record_of(model, "-b", str(batch), "-p", precision)
    least, total = asked("launching", model, batch, precision)
    is_said = "launch-bound" in kinds(record)
    note("launch bound", judging.launch_bound(least, total, is_said), model=model, launching=least, step=total)


@pytest.mark.parametrize(
    ("model", "batch", "precision"), [("my_net", 256, "fp32"), (SHORT, 8, "bf16-amp"), ("transformer", 64, "fp32")]
)
def test_memory_is_torchs_own_and_was_predicted(model: str, batch: int, precision: str) -> None:
    counters = record_of(model, "-b", str(batch), "-p", precision)["counters"]
    predicted = counters["predicted_peak"]
    truth = asked("memory", model, batch, precision)
    total = predicted and predicted["total_bytes"]  # cuBLAS' workspaces are in it
    note(
        "memory",
        judging.memory(counters["memory"], truth, total),
        memory=counters["memory"],
        truth=truth,
        foreseen=predicted,
    )


def test_rates_are_what_the_maker_publishes() -> None:
    sheet = datasheet(facts()["gpu"])
    if sheet is None:
        unasked("peaks", "nothing is published of exactly this device in bench/device/datasheet.py")
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
    watts, joules = asked("power", SHORT, 8, "bf16-amp", uuid())
    wrong = judging.energy(window["joules_per_step"], window["average_watts"], joules, watts)
    note("energy", wrong, window=window, watts=watts, joules=joules)


def test_a_record_tells_the_clock_of_the_working_gpu() -> None:
    arguments = ("-b", "16384", "--mode", "infer", "-p", "bf16", "--budget", "6s")
    with asking.watched(uuid()) as seen:
        state = record_of("mlp@width=16384,depth=6", *arguments)["state"]
    note("clocks", judging.clocks(seen, state), looks=len(seen), some=seen[:: max(1, len(seen) // 20)], state=state)


def test_a_scaled_step_launches_its_optimizer() -> None:
    arguments = ("walkthrough_cnn", "-b", "64", "--optimizer", "adam", "-p")
    counts = [record_of(*arguments, one)["counters"]["kernel_launches"] for one in ("fp16-amp", "bf16-amp")]
    note("scaled", judging.launches(*counts), launches=counts)


def test_launches_are_never_none_at_all() -> None:
    cells = {"my_net": ("my_net", "-b", "8", "-p", "fp32"), "short": (SHORT, "-b", "8", "-p", "bf16-amp")}
    counts = {name: record_of(*arguments)["counters"]["kernel_launches"] for name, arguments in cells.items()}
    note("launches", judging.launches_seen(counts), launches=counts)


def test_the_layers_of_a_profile_sum_to_the_step() -> None:
    (cell,) = bench("profile", "my_net", "-d", DEVICE, "-b", "256", "--memory", "-q")["cells"]
    assert cell["profile"], cell["reason"]
    found = cell["profile"]
    layers = sum(cost["seconds"] for layer in found["layers"] for cost in layer["costs"])
    wrong = judging.profile(layers, found["step_seconds"], found["clock"])
    note("profile", wrong, layers=layers, step=found["step_seconds"], idle=found["idle"], notes=found["notes"])


def test_a_second_gpu_is_timed_on_its_own() -> None:
    if torch.cuda.device_count() < 2:
        unasked("second GPU", "one GPU")
    arguments = ("-b", "8", "-p", "bf16-amp", "-q")
    found = [medians(bench("run", SHORT, "-d", d, *arguments)["records"][0])["step"] for d in ("cuda:0", "cuda:1")]
    note("second GPU", judging.same_speed(*found), seconds=found)
    ranks = records(SHORT, *arguments[:-1], "--world-size", "2")[0]
    note("two ranks", judging.ended(ranks["outcome"], "ok", ranks["reason"]), outcome=ranks["outcome"])


def test_more_ranks_than_gpus_are_skipped() -> None:
    found = records("mlp", "-b", "8", "--world-size", "64")[0]
    wrong = judging.ended(found["outcome"], "skipped", found["reason"])
    note("too many ranks", wrong, reason=found["reason"])


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
    note("switches", judging.ended(found["outcome"], "ok", found["reason"]), outcome=found["outcome"])


def test_the_largest_batch_fills_what_it_was_given() -> None:
    found = bench("fit", "transformer", "-d", DEVICE, "-p", "bf16-amp", "--memory", "6GiB", "--verify", codes=(0, 1))
    cell = found["cells"][0]
    live = ((cell["verification"] or {}).get("live") or {}).get("total_bytes")
    allowed = cell["fit"]["memory_bytes"]
    note("fit", judging.fitted(live, allowed), live=live, allowed=allowed, batch=cell["fit"]["batch_size"])


def test_a_small_network_is_faster_as_a_graph() -> None:
    eager = record_of("my_net", "-b", "8", "-p", "fp32")
    graph = record_of("my_net", "-b", "8", "-p", "fp32", "--compile", "reduce-overhead")
    seconds = [medians(one)["step"] for one in (eager, graph)]
    peaks = [one["counters"]["memory"]["peak_allocated_bytes"] for one in (graph, eager)]
    note("compiled", judging.graphs(*seconds, *peaks), seconds=seconds, peaks=peaks)


@pytest.mark.timeout(450)
def test_unchanged_code_raises_no_alarm() -> None:
    """Thirty sessions, each with two contexts to make and two warm-ups of a second or more: four minutes or so."""
    arguments = ("mlp", "-d", DEVICE, "-b", "512", "--slowdown", "5%", "--sessions", "10", "--seed", "1", "-q")
    found = bench("machine", "selftest", *arguments, codes=(0, 1, 4), seconds=400.0)
    parts = [one for name in ("unchanged", "injected", "on_average") for one in found[name]]
    voids = Counter(reason for one in parts for reason, count in one["voided"] for _ in range(count))
    note("A/A", judging.unchanged(found["exit"], voids), voids=voids)


def test_a_further_cell_costs_less_than_the_first() -> None:
    taken = []
    for batches in ("64", "64,128,256"):
        started = time.monotonic()
        bench("run", "mlp", "-d", DEVICE, "-b", batches, "--budget", "0.2s", "-q")
        taken.append(time.monotonic() - started)
    first, further = taken[0], (taken[1] - taken[0]) / 2
    note("cost", judging.cost(first, further), first_cell_seconds=first, further_cell_seconds=further)
