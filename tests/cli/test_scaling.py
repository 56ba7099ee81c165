"""`--world-size` and `--scaling` at the command line, in real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode

FATAL = Path(__file__).parents[1] / "slurm" / "fatal_models.py"


@pytest.mark.slow
def test_strong_scaling_needs_no_other_option_and_a_dead_rank_is_its_cells_row(capsys, tmp_path) -> None:
    models = [f"{FATAL}:{name}" for name in ("good", "a_rank_dies")]
    sweep = ("-b", "2", "--world-size", "1,2", "--scaling", "strong", "--budget", "0.02s")
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
