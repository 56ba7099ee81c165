"""Inputs from public bug reports, counted by `bench count` and measured by `bench run`, each with its right value."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.advice import AdviceKind
from bench.core.cell import Cell, Mode, Precision
from bench.core.jsonio import from_json
from bench.core.record import Outcome, Record

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[1] / "counters" / "reports"


@dataclass(frozen=True)
class Case:
    """A cell and what is right for it; `doubts` of a count, nothing of the machine's."""

    net: str
    batch_size: int
    forward: int
    backward: int | None = None
    shape: int | None = None
    precision: str = "fp32"
    parameters: int | None = None
    doubts: tuple[AdviceKind, ...] = ()

    @property
    def mode(self) -> Mode:
        return Mode.INFER if self.backward is None else Mode.TRAIN

    @property
    def cell(self) -> Cell:
        return Cell(
            model=f"{FOLDER}/{self.net}",
            mode=self.mode,
            batch_size=self.batch_size,
            precision=Precision(self.precision),
            input_shape=None if self.shape is None else (self.shape,),
            threads=1,
        )

    @property
    def sweep(self) -> str:
        values = {"model": self.cell.model, "mode": self.mode, "batch_size": self.batch_size, "threads": 1}
        values |= {"precision": self.precision} | ({} if self.shape is None else {"input_shape": [self.shape]})
        return "\n".join(["[[sweep]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


NO_GRAD = (AdviceKind.GRAD_MODE,)
CASES = (
    Case("sparse_gcn.py:gcn", 1, 304_000),
    Case("sparse_gcn.py:gcn", 1, 304_000, 304_000),
    Case("sparse_gcn.py:gcn@layout=csr", 1, 304_000),
    Case("sparse_gcn.py:gcn@layout=csr", 1, 304_000, 304_000),
    Case("complex.py:Linear", 4, 16_384, shape=16),
    Case("complex.py:Conv", 4, 16_384, shape=16),
    Case("random_depth.py:Net", 4, 16_384, shape=16),
    Case("scripted.py:scripted", 4, 1_536, shape=8, parameters=212),
    Case("scripted.py:traced", 4, 1_536, shape=8, parameters=212),
    Case("scripted.py:Child", 4, 1_536, shape=8, parameters=212),
    Case("forces.py:Net", 4, 1_024, shape=3, doubts=NO_GRAD),
    Case("forces.py:Net", 4, 1_024, 1_664, shape=3),
    Case("padded_encoder.py:net", 3, 405_504),
    # Twice the forward pass, but for the gradient of the first projection's input: 2 * 18 * 32 * 96 less.
    Case("padded_encoder.py:net", 3, 617_472, 1_124_352),
    Case("dict_inputs_bf16.py:net", 4, 512),
    Case("dict_inputs_bf16.py:net", 4, 512, 512),
    Case("dict_inputs_bf16.py:net", 4, 512, precision="bf16"),
    Case("dict_inputs_bf16.py:net", 4, 512, 512, precision="bf16"),
    Case("dict_inputs_bf16.py:net@container=list", 4, 512, 512, precision="bf16"),
    Case("record_function.py:Net", 4, 256, 256, shape=8),
    Case("record_function.py:parallel", 4, 256, 256, shape=8),
    Case("int8_parameters.py:net", 4, 1_536, shape=8, parameters=212),
    Case("keyword_inputs.py:net", 2, 768),
    Case("tensor_not_tuple.py:net", 1, 12_800),
    Case("tensor_not_tuple.py:net", 2, 25_600),
    Case("compiled_factory.py:net", 4, 1_536, shape=8),
    Case("compiled_factory.py:net", 4, 1_536, 2_048, shape=8),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Record]:
    folder = tmp_path_factory.mktemp("reports")
    (folder / "suite.toml").write_text("\n".join(case.sweep for case in CASES))
    code = run_command(["run", f"{folder}/suite.toml", "--budget", "0.02s", "--results", f"{folder}/results", "-q"])
    assert code == 0
    files = folder.glob("results/*/records/*.json")
    found = [from_json(Record, json.loads(path.read_text())) for path in files]
    return {record.cell: record for record in found}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.net}-{case.mode}-b{case.batch_size}-{case.precision}")
def test_a_run_measures_it_and_has_the_right_value(records: dict[Cell, Record], case: Case) -> None:
    record = records[case.cell]
    assert (record.outcome, record.reason) == (Outcome.OK, None)
    assert record.counters is not None
    assert record.counters.flops is not None
    flops = record.counters.flops
    assert (flops.forward, flops.backward, flops.uncounted) == (case.forward, case.backward, ())
    assert record.counters.parameters == case.parameters or case.parameters is None
    of_counts = {AdviceKind.FLOPS_DISAGREE, AdviceKind.FLOPS_LOWER_BOUND, AdviceKind.COUNT_FAILED, *NO_GRAD}
    assert tuple(one.kind for one in record.advice if one.kind in of_counts) == case.doubts


def test_a_gate_on_unchanged_code_passes_whatever_the_model_draws(tmp_path: Path) -> None:
    spec = json.dumps(f"{FOLDER}/random_depth.py:Net")
    (tmp_path / "suite.toml").write_text(f'[[sweep]]\nmodel = {spec}\ninput_shape = "16"\nbatch_size = 4\n')
    gate = [sys.executable, "-m", "bench", "gate", "suite.toml", "--quiet"]
    endings = [
        subprocess.run([*gate, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
        for options in (["--update"], [], [], [])  # each a fresh process, whose random state is another
    ]
    assert [(ending.returncode, ending.stderr) for ending in endings] == [(0, endings[0].stderr), *[(0, "")] * 3]
