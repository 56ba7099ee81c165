"""`--world-size` and `--scaling` at the command line, in real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.core.record import Outcome
from bench.store.runs import RunFolder
from tests.perfetto import slices

FATAL = Path(__file__).parents[1] / "slurm" / "fatal_models.py"


@pytest.mark.slow
def test_strong_scaling_needs_no_other_option_and_a_dead_rank_is_its_cells_row(capsys, tmp_path) -> None:
    """And every cell that ended well has a trace, one per rank."""
    models = [f"{FATAL}:{name}" for name in ("good", "a_rank_dies")]
    sweep = ("-b", "2", "--world-size", "1,2", "--scaling", "strong", "--budget", "0.02s", "--traces")
    code = run_command(["run", *models, *sweep, "--results", str(tmp_path), "--format", "json"])
    out, err = capsys.readouterr()
    assert code == ExitCode.FINE, err
    document = json.loads(out)
    found = {
        (record["cell"]["model"].rpartition(":")[2], record["cell"].get("world_size", 1)): record
        for record in document["records"]
    }
    assert {key: record["outcome"] for key, record in found.items()} == {
        ("good", 1): "ok",
        ("good", 2): "ok",
        ("a_rank_dies", 1): "ok",
        ("a_rank_dies", 2): "killed",
    }
    assert found["a_rank_dies", 2]["reason"] == "rank 1 of 2: the worker was killed by SIGKILL"
    assert [found["good", size]["cell"]["batch_size"] for size in (1, 2)] == [2, 1]
    assert found["good", 1]["cell"]["threads"] == found["good", 2]["ranks"]["threads"]
    good, dead = document["ranks"]
    assert (good["scaling"], dead["reason"]) == ("strong", "the cell is killed")
    assert good["efficiency"] > 0, good
    folder = RunFolder.open(Path(document["folder"]))
    good_ones = [record.cell for record in folder.records() if record.outcome is Outcome.OK]
    expected = [
        f"{rank}{cell.key}.json.gz"
        for cell in good_ones
        for rank in ([""] if cell.world_size == 1 else ["rank0-", "rank1-"])
    ]
    traces = {path.name: path for path in (folder.path / "traces").iterdir()}
    assert sorted(traces) == sorted(expected)
    assert all(slices(path).count("bench.step") == 3 for path in traces.values())
