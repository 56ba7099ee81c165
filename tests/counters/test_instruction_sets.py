"""A count is a property of the model: another instruction set of the CPU changes no figure of any reference model."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

COUNT_ALL = """
import json, warnings
from bench import registry
from bench.core.cell import Cell, Mode, Precision
from bench.counters.static import count

warnings.simplefilter("ignore")
found = {}
for model in registry.names():
    if ":" in model:
        continue
    for precision in Precision:
        cell = Cell(model=model, mode=Mode.TRAIN, batch_size=2, precision=precision)
        counters, advice = count(registry.resolve(model), cell, opinions=False)
        flops, peak = counters.flops, counters.predicted_peak
        found[f"{model} {precision}"] = [
            flops and [flops.forward, flops.backward],
            sorted(counters.dispatches),
            counters.bytes_touched,
            counters.saved_bytes,
            peak and peak.total_bytes,
            sorted(one.kind for one in advice),
        ]
print(json.dumps(found))
"""
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_count_depends_on_the_instruction_set() -> None:
    own = {name: value for name, value in os.environ.items() if name not in AVX2}
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNT_ALL], env=own | more, stdout=subprocess.PIPE, text=True)
        for more in ({}, AVX2)
    ]
    here, there = (json.loads(process.communicate()[0]) for process in processes)
    assert len(here) >= 9 * 5
    for cell, counted in here.items():
        assert counted[0] is not None, cell
        assert counted[1], cell
        assert counted[4], cell
    assert here == there
