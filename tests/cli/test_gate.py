"""`bench gate` on a small model of a user's file, which the tests change as a pull request would."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode

NET = """
import torch
from torch import nn
from bench import Workload

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x):
        x = self.act(self.conv(x))
        x = self.act(self.second(x))
        return self.head(x.flatten(1))

def make_batch(size, device):
    return (torch.randn(size, 3, 8, 8, device=device),), torch.zeros(size, dtype=torch.long, device=device)

def net():
    return Workload(
        build_model=Net,
        make_batch=make_batch,
        loss=nn.functional.cross_entropy,
        make_optimizer=lambda parameters: torch.optim.Adam(parameters, foreach=False),
    )
"""
SUITE = '[[sweep]]\nmodel = "net.py:net"\nbatch_size = [4, 16]\n'


@pytest.fixture(autouse=True)
def a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("suite.toml").write_text(SUITE)


def gate(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run_command(["gate", "suite.toml", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def gate_json(capsys) -> tuple[int, dict]:
    code, out, err = gate(capsys, "--format", "json")
    return code, json.loads(out) if out else {"error": err}


def edit(old: str, new: str, file: str = "net.py") -> None:
    text = Path(file).read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    Path(file).write_text(text.replace(old, new))


def found(document: dict, cell: int = 0) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Return counters and operations that changed in one cell, as (expected, found)."""
    row = document["rows"][cell]
    return tuple({c["name"]: (c["expected"], c["found"]) for c in row[kind]} for kind in ("counters", "operations"))


def test_without_a_row_for_this_torch_the_exit_code_is_5(capsys, put_on_record):
    code, _, err = gate(capsys)
    assert code == ExitCode.NOTHING
    assert "bench gate suite.toml --update" in err
    assert err.count("\n") == 1
    shutil.copytree(put_on_record, "results")
    for name in ("counters.csv", "dispatches.csv"):  # as if another version of torch had written it
        path = Path("results/expected") / name
        lines = path.read_text().splitlines(keepends=True)
        path.write_text(
            "".join(
                line.replace("suite.toml,2.", "suite.toml,1.", 1) if row else line for row, line in enumerate(lines)
            )
        )
    old = Path("results/expected/counters.csv").read_text()
    code, _, err = gate(capsys)
    assert code == ExitCode.NOTHING
    assert "on record for torch 1." in err
    assert gate(capsys, "--update")[0] == ExitCode.FINE  # leaves the other version's rows alone
    assert set(old.splitlines()) < set(Path("results/expected/counters.csv").read_text().splitlines())
    assert gate(capsys)[0] == ExitCode.FINE


def burn() -> None:
    while True:
        sum(range(10_000))


def test_counts_under_load_are_the_same_to_the_bit(capsys, put_on_record):
    busy = [multiprocessing.get_context("spawn").Process(target=burn, daemon=True) for _ in range(2)]
    for process in busy:
        process.start()
    try:
        code, out, _ = gate(capsys, "--update")
    finally:
        for process in busy:
            process.kill()
    assert code == ExitCode.FINE
    assert "2 cells: 2 missing" in " ".join(out.split())
    assert "bench gate: put on record in results/expected" in out
    assert "FAIL" not in out  # it judged nothing
    for name in ("counters.csv", "dispatches.csv"):
        assert Path("results/expected", name).read_bytes() == (put_on_record / "expected" / name).read_bytes()


@pytest.fixture(scope="module")
def put_on_record(tmp_path_factory):
    """Count the untouched model once; return the folder with what was put on record."""
    folder = tmp_path_factory.mktemp("on-record")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("net.py").write_text(NET)
        Path("suite.toml").write_text(SUITE)
        assert run_command(["gate", "suite.toml", "--update"]) == ExitCode.FINE
    return folder / "results"


@pytest.fixture
def on_record(put_on_record):
    shutil.copytree(put_on_record, "results")


pytestmark = pytest.mark.usefixtures("a_repository")


@pytest.mark.usefixtures("on_record")
class TestOnRecord:
    def test_no_change_passes(self, capsys):
        code, out, _ = gate(capsys)
        assert code == ExitCode.FINE
        assert out == f"bench gate: pass · suite suite.toml, torch {_torch_version()}: 2 cells: 2 same\n"

    def test_an_added_layer_fails_and_the_operation_is_named(self, capsys):
        edit("x = self.act(self.second(x))", "x = self.act(self.second(self.second(x)))")
        code, document = gate_json(capsys)
        assert code == ExitCode.REGRESSION
        counters, operations = found(document)
        assert "parameters" not in counters  # the same layer once more
        before, after = counters["flops_forward"]
        assert after - before == 2 * 4 * 4 * 9 * 64 * 4  # batch 4, 4 -> 4 channels, 3 x 3 kernels, 8 x 8 places
        assert operations["aten.convolution.default"] == (2, 3)
        assert operations["aten.convolution_backward.default"] == (2, 3)
        code, out, _ = gate(capsys)
        assert code == ExitCode.REGRESSION
        assert "MORE net.py:net/train/b4/cpu/fp32" in out
        assert "aten.convolution.default 2 -> 3" in " ".join(out.split())
        assert document["rows"][0]["row"] in out.splitlines()

    def test_a_batch_changed_in_the_model_fails_by_6_percent(self, capsys):
        edit("torch.randn(size,", "torch.randn(size + size // 16,")
        edit("torch.zeros(size,", "torch.zeros(size + size // 16,")
        code, document = gate_json(capsys)
        assert code == ExitCode.REGRESSION
        assert document["rows"][0]["verdict"] == "same"  # 4 + 4 // 16 is 4
        counters, operations = found(document, 1)
        before, after = counters["flops_forward"]
        assert after / before == 17 / 16
        assert operations == {}
        assert "+6.2 %" in gate(capsys)[1]

    def test_a_batch_changed_in_the_suite_is_a_missing_and_an_extra_row(self, capsys):
        edit("16", "17", "suite.toml")
        code, document = gate_json(capsys)
        assert code == ExitCode.REGRESSION
        assert [row["verdict"] for row in document["rows"]] == ["same", "missing", "extra"]
        _, out, _ = gate(capsys)
        assert document["rows"][1]["row"] in out.splitlines()

    def test_a_layout_round_trip_fails_with_no_flops_more(self, capsys):
        edit(
            "x = self.act(self.second(x))",
            "x = self.act(self.second(x)).contiguous(memory_format=torch.channels_last).contiguous()",
        )
        code, document = gate_json(capsys)
        assert code == ExitCode.REGRESSION
        counters, operations = found(document)
        assert not {"parameters", "flops_forward", "flops_backward"} & set(counters)
        assert counters["bytes_touched"][1] > counters["bytes_touched"][0]
        assert operations["aten.clone.default"][1] > operations["aten.clone.default"][0]

    def test_foreach_true_fails_although_it_dispatches_less(self, capsys):
        edit("foreach=False", "foreach=True")
        code, document = gate_json(capsys)
        assert code == ExitCode.REGRESSION
        counters, operations = found(document)
        assert counters["dispatch_count"][1] < counters["dispatch_count"][0]
        assert any(name.startswith("aten._foreach_") for name in operations)

    def test_a_count_that_falls_passes_with_the_row_to_commit(self, capsys):
        edit("        x = self.act(self.second(x))\n", "        x = self.act(x)\n")
        code, document = gate_json(capsys)
        assert code == ExitCode.FINE
        assert [row["verdict"] for row in document["rows"]] == ["less", "less"]
        code, out, _ = gate(capsys)
        assert code == ExitCode.FINE
        assert "All rows at once: bench gate suite.toml --update" in out
        line = document["rows"][0]["row"]
        assert line in out.splitlines()
        assert gate(capsys, "--update")[0] == ExitCode.FINE
        assert line in Path("results/expected/counters.csv").read_text().splitlines()
        assert gate(capsys)[1].endswith("2 cells: 2 same\n")

    def test_a_row_that_was_deleted_fails(self, capsys):
        for name in ("counters.csv", "dispatches.csv"):
            path = Path("results/expected") / name
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if ",16," not in line and "/b16/" not in line))
        code, document = gate_json(capsys)
        assert code == ExitCode.REGRESSION
        assert [row["verdict"] for row in document["rows"]] == ["same", "missing"]

    def test_a_model_that_breaks_fails_and_is_never_put_on_record(self, capsys):
        edit("x = self.act(self.conv(x))", "x = self.act(self.conv(x)).no_such_method()")
        before = Path("results/expected/counters.csv").read_bytes()
        assert gate(capsys)[0] == ExitCode.REGRESSION
        edit("super().__init__()", "super().__init__(); raise ValueError('no net today')")
        code, document = gate_json(capsys)
        assert code == ExitCode.REGRESSION
        assert document["rows"][0]["verdict"] == "uncounted"
        code, _, err = gate(capsys, "--update")
        assert code == ExitCode.USAGE
        assert "nothing was written" in err and "no net today" in err
        assert err.count("\n") == 1
        assert Path("results/expected/counters.csv").read_bytes() == before

    def test_markdown_is_one_table_and_a_verdict(self, capsys):
        edit("x = self.act(self.second(x))", "x = self.act(self.second(self.second(x)))")
        code, out, _ = gate(capsys, "--format", "markdown")
        assert code == ExitCode.REGRESSION
        assert out.startswith("### bench gate: FAIL")
        assert "| net.py:net/train/b4/cpu/fp32 | flops_forward |" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.toml",), "no suite file 'nowhere.toml'"),
        (("my_net",), "no suite 'my_net'; give a file (*.toml) or one of: activation, "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, words):
    assert run_command(["gate", *arguments]) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def _torch_version() -> str:
    import importlib.metadata

    return ".".join(importlib.metadata.version("torch").split(".")[:2])


def test_suites_of_one_stem_keep_their_own_rows(capsys):
    for folder, batch in (("a", 4), ("b", 16)):
        Path(folder).mkdir()
        Path(folder, "suite.toml").write_text(f'[[sweep]]\nmodel = "net.py:net"\nbatch_size = [{batch}]\n')
        assert run_command(["gate", f"{folder}/suite.toml", "--update"]) == ExitCode.FINE
    lines = Path("results/expected/counters.csv").read_text().splitlines()[1:]
    assert {line.partition(",")[0] for line in lines} == {"a/suite.toml", "b/suite.toml"}
    capsys.readouterr()
    assert [run_command(["gate", f"{folder}/suite.toml"]) for folder in "ab"] == [ExitCode.FINE, ExitCode.FINE]


@pytest.mark.usefixtures("on_record")
def test_rows_of_before_suites_had_their_path_are_read_and_never_removed(capsys):
    for name in ("counters.csv", "dispatches.csv"):
        path = Path("results/expected") / name
        path.write_text(path.read_text().replace("suite.toml,", "suite,"))
    old = Path("results/expected/counters.csv").read_text().splitlines()[1:]
    assert all(line.startswith("suite,") for line in old)
    assert gate(capsys)[0] == ExitCode.FINE
    edit("[4, 16]", "[4]", "suite.toml")
    assert gate(capsys, "--update")[0] == ExitCode.FINE
    lines = Path("results/expected/counters.csv").read_text().splitlines()[1:]
    assert set(old) < set(lines)
    assert gate(capsys)[0] == ExitCode.FINE


def test_a_file_named_like_a_built_in_suite_does_not_take_its_rows(capsys):
    from bench.runner.ci.gate import _cells

    Path("gate.toml").write_text(SUITE)
    assert _cells("gate.toml")[0] == "gate.toml"
    assert _cells("gate")[0] == "gate"
