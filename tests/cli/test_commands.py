"""The real command line, in this process; the cells it measures run in real fresh processes."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.cli.run import result_document
from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Mode
from bench.core.errors import ExitCode
from bench.core.record import Outcome, Sampling
from bench.stats.stopping import with_tail
from bench.store.runs import RunFolder, latest
from bench.tables.advice import short_advice
from bench.tables.catalog import COLUMNS
from bench.tables.document import Text
from tests.records import NOISY, make_record
from tests.stored_runs import make_run

USER = f"{Path(__file__).parents[1] / 'runner' / 'user_models.py'}"
QUICK = ("--budget", "0.02s", "--input-shape", "4")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bench(capsys, *arguments):
    """Run a command; return exit code, stdout, stderr."""
    code = run_command([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_run_measures_stores_and_says_where(capsys):
    code, out, err = bench(capsys, "run", f"{USER}:tiny", "-b", "2,4", *QUICK)
    assert code == ExitCode.FINE, err
    folder = RunFolder.open(latest(Path("results")))
    assert out.splitlines()[-2:] == [f"Report: {folder.path / 'report.html'}", f"Results: {folder.path}"]
    assert "</html>" in (folder.path / "report.html").read_text(encoding="utf-8")
    assert [record.outcome for record in folder.records()] == [Outcome.OK] * 2
    tables = [f"{table}.{kind}" for table in COLUMNS for kind in ("csv", "parquet")]
    assert {path.name for path in folder.tables_path.iterdir()} == {"summary.md", *tables}


def test_a_precision_the_cpu_cannot_do_is_a_skipped_row_and_fails_no_strict_run(capsys):
    code, out, _ = bench(capsys, "run", f"{USER}:tiny", "-b", "2", "-p", "fp32,tf32", "--strict", *QUICK)
    assert code == ExitCode.FINE
    assert out.splitlines()[-1].startswith("Results: ")
    assert "1 skipped" in out
    good, skipped = RunFolder.open(latest(Path("results"))).records()
    assert (good.outcome, skipped.outcome) == (Outcome.OK, Outcome.SKIPPED)
    assert "tf32" in skipped.reason


def test_run_json_holds_the_records_on_disk(capsys):
    code, out, _ = bench(capsys, "run", f"{USER}:tiny", "-b", "2", *QUICK, "--format", "json")
    assert code == ExitCode.FINE
    document = json.loads(out)
    assert (document["schema"], document["command"]) == (2, "run")
    (record,) = document["records"]
    (path,) = (Path(document["folder"]) / "records").iterdir()
    assert record == json.loads(path.read_text())


def test_a_model_that_fails_is_a_row_and_the_others_are_measured(capsys):
    models = (f"{USER}:BreaksInForward", f"{USER}:tiny")
    code, out, _ = bench(capsys, "run", *models, "-b", "2", *QUICK, "--strict")
    assert code == ExitCode.REGRESSION
    assert out.splitlines()[-1] == "1 of 2 cells failed; with --strict that is exit code 1"
    broken, good = RunFolder.open(latest(Path("results"))).records()
    assert (broken.outcome, good.outcome) == (Outcome.FAILED, Outcome.OK)
    assert broken.reason == "ValueError: shapes do not fit: (3,) and (4,)"
    assert "shapes do not fit" in out


def test_nothing_measured_is_exit_code_5(capsys):
    code, _, _ = bench(capsys, "run", f"{USER}:BreaksInForward", "-b", "2", *QUICK)
    assert code == ExitCode.NOTHING


def test_a_callable_that_makes_no_model_is_a_row_that_says_what_it_made(capsys):
    code, out, _ = bench(capsys, "run", f"{USER}:not_a_model", f"{USER}:tiny", "-b", "2", *QUICK)
    assert code == ExitCode.FINE
    assert out.splitlines()[-1] == "1 of 2 cells failed; with --strict that is exit code 1"
    wrong, good = RunFolder.open(latest(Path("results"))).records()
    assert (wrong.outcome, good.outcome) == (Outcome.FAILED, Outcome.OK)
    assert "returned a int, not an nn.Module" in wrong.reason


def test_a_loss_that_is_not_finite_is_a_doubt_not_a_number(capsys):
    code, out, _ = bench(capsys, "run", f"{USER}:nan_loss", "-b", "2", "--budget", "0.02s", "--format", "json")
    assert code == ExitCode.FINE
    (record,) = json.loads(out)["records"]
    assert record["final_loss"] is None
    assert "nonfinite-loss" in [advice["kind"] for advice in record["advice"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "resnet5"), "no model named 'resnet5'. Did you mean 'torchvision:resnet50'?"),
        (("run", "my_net", "-b", "0"), "batch size must be at least 1, found 0"),
        (("run", "my_net", "-b", "-1"), "batch size must be at least 1, found -1"),
        (("run", "my_net", "-b", "abc"), "batch size must be a whole number, found 'abc'"),
        (("run", "my_net", "-d", "cuda:9"), "'cuda:9' was asked for, but torch sees"),
        (("run", "my_net", "-d", "tpu"), "no device kind 'tpu'"),
        (("run", "my_net", "-p", "fp31"), "Did you mean 'fp32'?"),
        (("run", "my_net", "--optimizer", "adan"), "Did you mean 'adam'?"),
        (("run", "my_net", "-d", "gpu", "--dry-run"), "no device kind 'gpu'. Did you mean 'cuda'?"),
        (("run", "my_net", "-d", "mps", "--dry-run"), "'mps' was asked for, but torch sees no MPS device here"),
        (("run", "my_net", "--timeout", "5", "--dry-run"), "--timeout: '5' has no unit"),
        (("run", "my_net", "--devices", "cpu", "--dry-run"), "--devices is for accelerators"),
        (("run", "my_net", "--devices", "tpu", "--dry-run"), "no device kind 'tpu'"),
        (("run", "my_net", "--devices", "all", "--executor", "inline", "--dry-run"), "the executor inline has none"),
        (("run", "my_net", "--results", "notes.txt", "--dry-run"), "cannot make the folder notes.txt: a file"),
        (("run", "my_net", "--results", "notes.txt/in", "--dry-run"), "a part of that path is a file"),
        (("run", f"{USER}:tiny", "--dry-run"), "--input 3x224x224"),
        (("generate", "mlp", "--dry-run"), "does not generate text"),
        (("generate", "decoder_lm", "-d", "mps", "--dry-run"), "no MPS device here"),
        (("generate", "decoder_lm", "--executor", "slurm", "--dry-run"), "slurm submits; leave one out"),
        (("images", "diffusion", "--results", "notes.txt", "--dry-run"), "cannot make the folder notes.txt"),
        (("train", "my_net", "--data", "mnist:nowhere", "--dry-run"), "no MNIST files in nowhere"),
        (("train", "my_net", "--results", "notes.txt", "--dry-run"), "cannot make the folder notes.txt"),
        (("pipeline", "my_net", "--data", "digits", "--dry-run"), "no data named 'digits'"),
        (("run", "my_net", "-d", "npu", "--dry-run"), "no device kind 'npu'. Use cpu, cuda"),
        (("run", "my_net", "--optimizer", "lion", "--dry-run"), "no optimizer named 'lion'"),
        (("run", "resnet5", "--dry-run"), "Did you mean 'torchvision:resnet50'?"),
        (("run", "mlp", "--nodes", "2"), "nodes 2 needs --world-size 2 or more, which no cell has; add it, or leave"),
        (("run", "mlp", "--nodes", "2", "--dry-run"), "nodes 2 needs --world-size 2 or more"),
        (("run", "quick", "--parallel", "fsdp2", "--dry-run"), "parallel fsdp2 needs --world-size 2 or more"),
        (("run", "mlp", "--mode", "infer", "--optimizer", "sgd", "--dry-run"), "optimizer sgd needs --mode train"),
        (("count", "mlp", "--grad-mode", "no_grad"), "grad mode no_grad needs --mode infer"),
        (("ab", ".", ".", "mlp", "--mode", "infer", "--accumulate", "2"), "accumulate 2 needs --mode train"),
        (("run", "mlp@width=0"), "width 0 is no size; take 1 to 16,777,216"),
        (("run", "mlp@width=0", "--dry-run"), "width 0 is no size; take 1 to 16,777,216"),
        (("run", "mlp@depth=99999999999999999999", "--dry-run"), "is no size; take 1 to 10,000"),
        (("run", "decoder_lm@heads=0", "--dry-run"), "heads 0 is no size"),
        (("run", "decoder_lm@heads=3", "--dry-run"), "width 128 is not a multiple of heads 3"),
        (("run", "my_net@dropout=nan", "--dry-run"), "dropout nan is no probability; take 0 to 1"),
        (("count", "gru@hidden=-8"), "hidden -8 is no size"),
        (("generate", "decoder_lm@layers=-1", "--dry-run"), "layers -1 is no size"),
        (("run", "mlp", "--world-size", "100000", "--dry-run"), "--world-size is at most 1024 per node"),
        (("train", "my_net", "--workers", "100000", "--dry-run"), "--workers must be at most 1024, found 100000"),
        (("pipeline", "my_net", "--workers", "0,100000"), "--workers must be at most 1024"),
        (("train", "my_net", "-b", "99999999999"), "batch size must be at most 2147483647"),
        (("train", "my_net", "--seed", "99999999999999999999"), "seed must fit into 64 bits"),
        (("train", "my_net", "--lr", "inf"), "--lr must be a finite number, found inf"),
        (("train", "my_net", "--weight-decay", "nan"), "greater than or equal to 0, found 'nan'"),
        (("run", "my_net", "--keep-failed", "--dry-run"), "--keep-failed needs --resume RUN"),
        (("run", "my_net", "--retry", "failed"), "--retry needs --resume RUN"),
        (("run", "my_net", "--lock-clocks", "--dry-run"), "--lock-clocks is of GPUs, and every cell runs on the CPU"),
        (("run", "my_net", "--snapshot"), "--snapshot is of GPUs"),
        (("run", "my_net", "--budget", "1"), "--budget: '1' has no unit; write for example 1s"),
        (("run", "my_net", "--executor", "ray"), "executor 'ray' is unknown"),
        (("run", "my_net", "--budget", "soon"), "'soon' is not a duration"),
        (("run", "my_net@clases=3"), "Did you mean 'classes'?"),
        (("run", "nowhere.toml"), "no suite file 'nowhere.toml'"),
        (("run", "notes.txt:net"), "notes.txt"),
        (("run", "broken.py:net"), "broken.py"),
        (("run", f"{USER}:absent"), "absent"),
        (("run", f"{USER}:tiny"), "--input 3x224x224"),
        (("run", f"{USER}:raises"), "this callable always raises"),
        (("run", "--no-such-option"), "No such option: --no-such-option"),
        (("run", "suite.toml"), "unknown key 'batchsize'. Did you mean 'batch_size'?"),
        (("count", "resnet5"), "no model named 'resnet5'"),
        (("check", "nowhere.toml"), "nowhere.toml"),
        (("run", "my_net", "-b", "99999999999999999999"), "batch size must be at most 2147483647"),
        (("run", "my_net", "--seed", "99999999999999999999"), "seed must fit into 64 bits"),
        (("export", "latest"), "Missing option '--to'. Choose from: bencher, csv, github-action-benchmark,"),
        (("list", "nothing"), "Invalid value for 'what': 'nothing' is not one of 'models'"),
        (("run", "my_net", "--results", "notes.txt"), "cannot make the folder notes.txt"),
        (("images", "diffusion", "--target", "5"), "less than or equal to 1, found '5'"),
        (("ab", "--model-a", "mlp", "--model-b", "nope"), "no model named 'nope'"),
        (("no-such-command",), "No such command 'no-such-command'"),
    ],
    ids=lambda value: " ".join(map(str, value)).replace(USER, "user.py") if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, words):
    Path("notes.txt").write_text("not Python at all: {")
    Path("broken.py").write_text("def net(:\n")
    Path("suite.toml").write_text('[[sweep]]\nmodel = "mlp"\nbatchsize = 8\n')
    code, out, err = bench(capsys, *arguments)
    assert code == ExitCode.USAGE, err
    assert words in err
    assert err.count("\n") == 1, err
    assert "Traceback" not in out + err
    assert not Path("results").exists()


def test_the_command_that_cures_a_doubt_can_be_typed_and_means_the_same_cells(capsys):
    few = Advice(kind=AdviceKind.FEW_SAMPLES, facts=(("steps", 60), ("budget_seconds", 200.0)))
    tail = make_record("mlp", mode=Mode.INFER, advice=(few,), threads=1)
    tail = replace(tail, sampling=with_tail(Sampling(), None))
    train = make_record("my_net", advice=(few,), optimizer="adam-foreach", accumulate=2, clip_norm=0.5)
    for record, option in ((tail, "--tail"), (train, "--clip-norm")):
        ((_, sentence),) = short_advice([record])
        command = shlex.split(sentence.partition("`bench ")[2].removesuffix("`."))
        assert option in command
        code, out, err = bench(capsys, *command, "--dry-run")
        assert code == ExitCode.FINE, err
        assert out.splitlines()[:-1] == [record.cell.id]


@pytest.mark.parametrize(
    ("folder", "typed"), [("results/r", "`bench show r`"), ("other place/r", "`bench show 'other place/r'`")]
)
def test_the_command_below_the_doubts_finds_the_run_wherever_it_is(folder, typed):
    run = replace(make_run(id="r", records=(make_record(advice=(NOISY,)),)), folder=Path(folder))
    assert any(isinstance(block, Text) and typed in block.text for block in result_document(run))


def test_a_dry_run_says_what_would_be_skipped(capsys):
    code, out, _ = bench(capsys, "run", "mlp", "-p", "tf32,fp32", "--dry-run")
    assert code == ExitCode.FINE
    skipped, measured, _ = out.splitlines()
    assert skipped == "mlp/train/b8/cpu/tf32  skipped: tf32 is a mode of CUDA matrix units; a CPU computes fp32 in full"
    assert measured == "mlp/train/b8/cpu/fp32"


def test_the_machine_is_described_at_the_width_that_was_typed(capsys):
    code, out, err = bench(capsys, "machine", "--width", "40")
    assert code == ExitCode.FINE, err
    lines = out.splitlines()
    assert any(len(line) > 30 for line in lines)
    assert all(len(line) <= 40 or len(line.split()) <= 2 for line in lines), out


@pytest.mark.parametrize(
    ("group", "heading"),
    [((), "\nMeasure:\n  run "), (("history",), "\nCommands:\n  "), (("slurm",), "\nCommands:\n  ")],
)
def test_a_group_without_a_command_prints_its_help_in_lines(capsys, group, heading):
    code, _, err = bench(capsys, *group)
    assert code == ExitCode.USAGE
    assert heading in err


def test_a_reader_that_has_had_enough_is_no_regression():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", "bench", "list", "models", "--options"]
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (ExitCode.FINE, b"")


def test_an_unwritable_results_folder_is_one_line(capsys):
    Path("taken").write_text("a file, not a folder")
    code, _, err = bench(capsys, "run", f"{USER}:tiny", "-b", "2", *QUICK, "--results", "taken")
    assert code == ExitCode.USAGE
    assert "taken" in err
    assert err.count("\n") == 1


def test_dry_run_prints_the_cells_and_measures_nothing(capsys):
    code, out, _ = bench(capsys, "run", "my_net", "mlp", "-b", "8,32", "--dry-run")
    assert code == ExitCode.FINE
    assert out.splitlines()[:2] == ["my_net/train/b8/cpu/fp32", "my_net/train/b32/cpu/fp32"]
    assert not Path("results").exists()
    _, out, _ = bench(capsys, "run", "my_net", "mlp", "-b", "8,32", "--max-cells", "3", "--dry-run")
    assert out.splitlines()[2:] == ["mlp/train/b8/cpu/fp32", "3 cells; nothing was measured (--dry-run)"]


@pytest.mark.parametrize(
    ("arguments", "key", "lines"),
    [
        (
            ("generate", "decoder_lm", "--prompt", "8,16", "--new-tokens", "4"),
            "cases",
            ("decoder_lm/infer/b1/cpu/fp32/p8+4", "decoder_lm/infer/b1/cpu/fp32/p16+4", "2 cases"),
        ),
        (("images", "diffusion", "--steps", "3"), "cases", ("diffusion/infer/b1/cpu/fp32/ddim3", "1 case")),
        (("train", "my_net", "--epochs", "2", "-b", "8"), "plan", ("my_net: batch 8, 0 workers, adam,", "1 training")),
        (
            ("pipeline", "my_net", "--workers", "0,1"),
            "plans",
            ("batch 64, 0 workers", "batch 64, 1 worker, prefetch 2", "2 points"),
        ),
    ],
    ids=["generate", "images", "train", "pipeline"],
)
def test_dry_run_says_what_would_be_measured(capsys, arguments, key, lines):
    code, out, _ = bench(capsys, *arguments, "--dry-run")
    assert code == ExitCode.FINE
    for line, start in zip(out.splitlines(), lines, strict=True):
        assert line.startswith(start)
    assert out.endswith("nothing was measured (--dry-run)\n")
    code, out, _ = bench(capsys, *arguments, "--dry-run", "--format", "json")
    assert code == ExitCode.FINE
    assert json.loads(out)[key]
    assert not Path("results").exists()


def test_dry_run_of_the_default_suite_holds_every_model_twice_over(capsys):
    code, out, _ = bench(capsys, "run", "--dry-run", "--format", "json")
    assert code == ExitCode.FINE
    cells = json.loads(out)["cells"]
    assert len(cells) == 9 * 2 * 2
    assert {cell["mode"] for cell in cells} == {"train"}
    assert {cell["precision"] for cell in cells} == {"fp32", "bf16-amp"}


def test_an_axis_that_was_typed_overrides_the_suite(capsys):
    _, out, _ = bench(capsys, "run", "quick", "-p", "fp32", "-b", "4", "--dry-run")
    assert "9 cells" in out


@pytest.mark.slow
def test_check_calls_the_documented_mistake_an_erratum(capsys):
    code, out, _ = bench(capsys, "check", "--format", "json")
    assert code == ExitCode.FINE
    verdicts = {
        (claim["claim"]["model"], claim["claim"]["id"]): (claim["claim"]["value"], claim["measured"], claim["verdict"])
        for claim in json.loads(out)["claims"]
    }
    assert verdicts["walkthrough_cnn", "conv1.parameters"] == (896, 896, "match")
    assert verdicts["walkthrough_cnn", "conv2.parameters"] == (18_496, 18_496, "match")
    assert verdicts["walkthrough_cnn", "walkthrough.fc1.parameters"] == (3_221_504, 18_874_880, "erratum")
    assert {verdict for _, _, verdict in verdicts.values()} <= {"match", "erratum", "unmeasured"}
    unmeasured = [claim for claim in json.loads(out)["claims"] if claim["verdict"] == "unmeasured"]
    assert {claim["claim"]["quantity"] for claim in unmeasured} == {"step_seconds"}  # those take --time


def test_a_wrong_claim_of_a_user_is_a_mismatch_and_exit_code_1(capsys):
    Path("claims.toml").write_text(
        '[document]\ntitle = "a slide"\nmodel = "my_net"\n\n'
        '[[claim]]\nid = "conv1"\nlayer = "conv1"\nquantity = "parameters"\nvalue = 897\n'
    )
    code, out, _ = bench(capsys, "check", "claims.toml")
    assert code == ExitCode.REGRESSION
    assert "MISMATCH" in out


def test_count_prints_exact_parameters(capsys):
    code, out, _ = bench(capsys, "count", "my_net@classes=10")
    assert code == ExitCode.FINE
    assert "9,536,074" in out


def test_count_layers_sum_to_the_model(capsys):
    code, out, _ = bench(capsys, "count", "my_net", "--layers", "--format", "json")
    assert code == ExitCode.FINE
    counters = json.loads(out)["records"][0]["counters"]
    assert sum(layer["parameters"] for layer in counters["layers"]) == counters["parameters"] == 9_547_360
    assert sum(layer["flops_forward"] for layer in counters["layers"]) == counters["flops"]["forward"]


def test_list_names_every_reference_model(capsys):
    code, out, _ = bench(capsys, "list")
    assert code == ExitCode.FINE
    assert all(name in out for name in ("mlp", "walkthrough_cnn", "my_net", "rnn", "lstm", "gru", "transformer"))
    assert max(map(len, out.splitlines())) <= 80


def test_machine_shows_the_fingerprint_and_what_the_cpu_can_do(capsys):
    code, out, _ = bench(capsys, "machine", "--format", "json")
    assert code == ExitCode.FINE
    document = json.loads(out)
    assert len(document["fingerprint"]) == 16
    reasons = {(device, precision): reason for device, precision, reason in document["diagnosis"]["precisions"]}
    assert reasons["cpu", "fp32"] is None
    assert "CUDA" in reasons["cpu", "tf32"]
