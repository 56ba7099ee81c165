"""`bench fit` through the real command line; the cells it verifies run in real fresh processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode

USER = f"{Path(__file__).parents[1] / 'runner' / 'user_models.py'}"


def fit(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run_command(["fit", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def fit_json(capsys, *arguments: str) -> tuple[int, dict]:
    code, out, err = fit(capsys, *arguments, "--format", "json")
    assert out, err
    return code, json.loads(out)


def test_the_batch_fits_as_predicted_and_the_next_does_not(capsys):
    code, document = fit_json(capsys, f"{USER}:tiny", "--input-shape", "4", "--memory", "64KiB", "--verify")
    assert code == ExitCode.FINE
    (one,) = document["cells"]
    peaks = {probe["batch_size"]: probe["peak"]["total_bytes"] for probe in one["fit"]["probes"]}
    batch_size = one["fit"]["batch_size"]
    assert peaks[batch_size] <= 64 * 1024 < peaks[batch_size + 1]
    assert one["cell"]["batch_size"] == batch_size
    assert one["verification"]["live"]["total_bytes"] == peaks[batch_size]


def test_slope_intercept_and_causes_are_shown(capsys):
    code, out, _ = fit(capsys, "my_net", "--memory", "300MiB", "--mode", "infer")
    assert code == ExitCode.FINE
    words = " ".join(out.split())
    for part in ("largest", "per example from", "weights 36.4 MiB", "does not fit"):
        assert part in words
    assert max(map(len, out.splitlines())) <= 80


def test_a_model_larger_than_the_memory_says_what_it_needs(capsys):
    code, out, _ = fit(capsys, "my_net", "--memory", "1MiB")
    assert code == ExitCode.FINE
    assert "not even batch 1 fits: it needs" in out


def test_by_default_nine_tenths_of_what_is_free_are_filled(capsys, monkeypatch):
    from bench.runner import counting

    monkeypatch.setattr(counting, "_free_memory", lambda *_: 200_000)
    code, document = fit_json(capsys, f"{USER}:tiny", "--input-shape", "4")
    assert code == ExitCode.FINE
    assert document["free_bytes"] == {"cpu": 200_000}
    assert document["cells"][0]["fit"]["memory_bytes"] == 180_000


def test_what_matrix_products_take_beside_tensors_is_left_free(capsys, monkeypatch):
    """cuBLAS' workspaces on a GPU, of which none is here (B8)."""
    from bench.runner import counting

    monkeypatch.setattr(counting, "workspaces_of", lambda *_: 10_000)
    _, document = fit_json(capsys, f"{USER}:tiny", "--input-shape", "4", "--memory", "64KiB")
    found = document["cells"][0]["fit"]
    assert {probe["peak"]["workspace_bytes"] for probe in found["probes"]} == {10_000}


def test_nothing_is_run_where_less_memory_is_free_than_predicted(capsys, monkeypatch):
    from bench.runner import counting

    monkeypatch.setattr(counting, "_free_memory", lambda *_: 1000)
    code, out, _ = fit(capsys, f"{USER}:tiny", "--input-shape", "4", "--memory", "64KiB", "--verify")
    assert code == ExitCode.UNFIT
    assert "not verified: it needs 63.9 KiB, and cpu has 1000 B free" in " ".join(out.split())


def test_a_model_that_cannot_be_predicted_is_a_row_beside_the_others(capsys):
    code, out, _ = fit(capsys, f"{USER}:BreaksInForward", f"{USER}:tiny", "--input-shape", "4", "--memory", "64KiB")
    assert code == ExitCode.FINE
    assert "shapes do not fit" in " ".join(out.split())
    assert "user_models.py:tiny: batch" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("my_net", "--memory", "soon"), "--memory: 'soon' is not a size"),
        (("my_net", "--memory", "0"), "--memory must be more than nothing"),
        (("my_net", "-b", "8"), "No such option: -b"),
        (("resnet5", "--memory", "1GiB"), "Did you mean 'torchvision:resnet50'?"),
        (("my_net", "--optimizer", "adan", "--memory", "1GiB"), "Did you mean 'adam'?"),
        ((f"{USER}:BreaksInForward", "--input-shape", "4", "--memory", "1GiB"), "shapes do not fit"),
    ],
    ids=["not-a-size", "zero", "batch", "model", "optimizer", "broken"],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, words):
    code, out, err = fit(capsys, *arguments)
    assert code == ExitCode.USAGE
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
