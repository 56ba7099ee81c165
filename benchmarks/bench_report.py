"""What the HTML report costs: time to make it, size, and in a real Chromium time to open, sort and filter it.

Records are made by hand; the figures go to `extra_info` and to the terminal. Needs Debian's chromium and playwright.
"""

import math
import shutil
import time

import pytest

from bench.core.cell import Cell, Precision
from bench.core.environment import Environment
from bench.core.record import Counters, FlopCount, Memory, Outcome, Phase, PredictedPeak, Record, Sample
from bench.core.units import format_bytes
from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.store.runs import RunInfo
from bench.store.stored import StoredRun

CELLS = (36, 1_000, pytest.param(10_000, marks=pytest.mark.thorough))
STEPS = 40
SHARES = {Phase.STEP: 1.0, Phase.FORWARD: 0.3, Phase.LOSS: 0.01, Phase.BACKWARD: 0.58, Phase.OPTIMIZER: 0.1}
ENVIRONMENT = Environment(
    host="host",
    os="Linux",
    cpu="CPU",
    cores=2,
    memory_bytes=8 * 1024**3,
    python="3.11",
    torch="2.15",
    stepbench="0",
    threads=2,
    interop_threads=1,
)


def _record(index):
    model, rest = divmod(index, 10)
    batch, precision = 2 ** (rest // 2), (Precision.FP32, Precision.BF16_AMP)[rest % 2]
    step = 1e-3 * (1 + batch / 10) * (1 + math.sin(model) / 3)
    return Record(
        cell=Cell(model=f"net_{model:04}", batch_size=batch, precision=precision),
        outcome=Outcome.OK,
        environment=ENVIRONMENT,
        samples=tuple(
            Sample(
                phase=phase,
                seconds=tuple(step * share * (1 + 0.02 * math.sin(7 * n + index)) for n in range(STEPS)),
                warmup_seconds=(step * share * 1.4,) * 3,
            )
            for phase, share in SHARES.items()
        ),
        counters=Counters(
            parameters=1_000 * (model + 1),
            trainable_parameters=1_000 * (model + 1),
            flops=FlopCount(forward=10**9, backward=2 * 10**9),
            bytes_touched=10**8,
            predicted_peak=PredictedPeak(
                total_bytes=6 * 10**7,
                weights_bytes=10**7,
                gradients_bytes=10**7,
                optimizer_state_bytes=10**7,
                inputs_bytes=10**7,
                saved_activations_bytes=10**7,
                temporary_bytes=10**7,
            ),
            memory=Memory(step_resident_bytes=65_000_000, method="by hand"),
        ),
        started_at="2026-11-23T17:53:09+00:00",
        duration_seconds=1.0,
        stepbench="0",
    )


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    if path is None:
        pytest.skip("needs a Chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def _milliseconds(page, action):
    """Time an action in the page until the next frame is drawn."""
    script = f"""async () => {{
        const start = performance.now(); {action};
        await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
        return performance.now() - start;
    }}"""
    return page.evaluate(script)


@pytest.mark.parametrize("cells", CELLS)
def bench_report(cells, benchmark, capsys, browser, tmp_path):
    records = tuple(map(_record, range(cells)))
    start = time.perf_counter()
    data = make_data(
        [StoredRun(info=RunInfo(id="run", started_at="", environment=ENVIRONMENT), folder=tmp_path, records=records)]
    )
    derive_seconds = time.perf_counter() - start
    html = benchmark.pedantic(render, (data,), rounds=3, iterations=1, warmup_rounds=1)
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    load = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    interactive = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
    sort = _milliseconds(page, "document.querySelectorAll('#cells-table thead button')[3].click()")
    search = _milliseconds(
        page,
        "const s = document.getElementById('cells-search'); s.value = 'net_0001'; s.dispatchEvent(new Event('input'))",
    )
    rows = page.locator("#cells-table tbody tr").count()
    page.close()
    assert rows == min(cells - 10, 10)
    figures = {
        "file_bytes": file.stat().st_size,
        "derive_seconds": derive_seconds,
        "load_seconds": load / 1e3,
        "interactive_seconds": interactive / 1e3,
        "sort_seconds": sort / 1e3,
        "search_seconds": search / 1e3,
    }
    benchmark.extra_info.update(figures)
    with capsys.disabled():
        print(
            f"\n{cells:6,} cells: {format_bytes(file.stat().st_size)}, figures derived in {derive_seconds:.2f} s, page "
            f"made in {benchmark.stats.stats.min:.2f} s; opened in {load:.0f} ms, sorted in {sort:.0f} ms, "
            f"searched in {search:.0f} ms",
            end="",
        )
