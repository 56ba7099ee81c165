"""`bench generate` and `bench images` through the real command line; cases run in real fresh processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.core.units import now
from bench.store.cases import read_generations
from bench.store.runs import RunFolder, RunInfo
from tests.perfetto import slices

LM = "decoder_lm@width=16,heads=2,layers=1,vocabulary=50"
DIFFUSION = "diffusion@channels=8,text_length=4,text_width=16,heads=2,vocabulary=20"


def run(capsys, tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    code = run_command([*arguments, "--results", str(tmp_path)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_generation_is_measured_stored_and_printed_as_json(capsys, tmp_path):
    code, out, err = run(
        capsys, tmp_path, "generate", LM, "--prompt", "4", "--new-tokens", "3", "--budget", "0.01s", "--traces",
        "--format", "json",
    )  # fmt: skip
    assert code == ExitCode.FINE, err
    document = json.loads(out)
    (one,) = document["generations"]
    assert one["outcome"] == "ok"
    (figures,) = document["figures"]
    assert figures["decode_tokens_per_second"] > 0 and figures["token_p50_seconds"] > 0
    assert one["case"]["cell"]["model"] == LM  # 7 tokens fit into its 32
    assert {len(tokens) for tokens in one["times"]["token_seconds"]} == {2}
    assert one["counts"]["cache"]["predicted_bytes"] == one["counts"]["cache"]["held_bytes"] == 2 * 16 * 6 * 4
    folder = RunFolder.open(Path(document["folder"]))
    (stored,) = read_generations(folder)[0]
    (trace,) = (folder.path / "traces").iterdir()
    assert (trace.name, slices(trace).count("bench.generation")) == (f"{stored.case.key}.json.gz", 3)
    assert stored.times is not None
    assert list(stored.times.first_token_seconds) == one["times"]["first_token_seconds"]

    path = next((folder.path / "generation").iterdir())
    before = path.read_bytes()
    code, out, err = run(capsys, tmp_path, "generate", "--resume", "latest")
    assert code == ExitCode.FINE, err
    assert path.read_bytes() == before  # nothing was lacking
    path.write_bytes(before.replace(b'"code": "', b'"code": "0'))  # as if the model had been edited
    code, out, err = run(capsys, tmp_path, "generate", "--resume", folder.run.id)
    assert code == ExitCode.FINE, err
    assert "[1/1]" in err
    assert path.read_bytes() != before
    assert len(RunFolder.open(folder.path).run.resumptions) == 2


@pytest.mark.slow
def test_sampling_prints_a_table_and_the_parts(capsys, tmp_path):
    code, out, err = run(
        capsys, tmp_path, "images", DIFFUSION, "--steps", "1,2", "--resolution", "8", "--schedule", "cosine", "--parts",
        "--budget", "0.01s",
    )  # fmt: skip
    assert code == ExitCode.FINE, err
    assert "[2/2]" in err
    words = " ".join(out.split())
    for part in ("steps", "text encode", "optimizer", "x steps", "Results:"):
        assert part in words
    assert max(map(len, out.splitlines()[:-1])) <= 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "my_net"], "does not generate text"),
        (["generate", LM, "--prompt", "0"], "--prompt must be 1 or more"),
        (["generate", LM, "--new-tokens", "many"], "--new-tokens needs a whole number, found 'many'"),
        (["images", LM], "does not sample images"),
        (["images", DIFFUSION, "--sampler", "euler"], "no sampler named 'euler'"),
        (["images", DIFFUSION, "--guidance", "nan"], "--guidance must be"),
        (["images", DIFFUSION, "--schedule", "sine"], "schedule 'sine' is not one of linear, cosine"),
        (["images", LM, "--resolution", "8"], "no option 'image_size'"),
        (["images"], "name a model, for example `bench images diffusion`"),
        (["generate", LM, "--resume", "latest"], "type nothing else of it"),
        (["images", "--steps", "3", "--resume", "latest"], "type nothing else of it"),
    ],
)
def test_wrong_input_is_refused_in_one_line(capsys, tmp_path, arguments, words):
    code, out, err = run(capsys, tmp_path, *arguments)
    assert code == ExitCode.USAGE
    assert words in err
    assert out == ""
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_command_is_not_resumed_and_its_own_is_named(capsys, tmp_path):
    folder = RunFolder.create(tmp_path, RunInfo(started_at=now(), command=("/usr/bin/bench", "run", "mlp")))
    code, _, err = run(capsys, tmp_path, "generate", "--resume", "latest")
    assert code == ExitCode.USAGE
    assert err.count("\n") == 1
    assert f"run {folder.run.id} is none of `bench generate`; the command that made it: bench run mlp" in err


def test_a_case_that_fails_is_a_row_and_nothing_measured_is_exit_code_five(capsys, tmp_path):
    code, out, _ = run(capsys, tmp_path, "images", DIFFUSION, "--steps", "2", "-b", "2000000000", "-q")
    assert code == ExitCode.NOTHING
    assert "OUT OF MEMORY: RuntimeError" in " ".join(out.split())
