"""docs/walkthrough.md is what the generator makes of the committed evidence, and leaves out no row of the seed page."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.advice import Advice, AdviceKind
from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.core.errors import StoreError
from bench.core.jsonio import to_json
from bench.core.record import Outcome
from bench.runner.session import builtin_suites
from bench.store.runs import RunFolder, RunInfo
from bench.suite.file import read_suite
from bench.suite.sweep import expand
from benchmarks.seed_page.evidence import Evidence, read_evidence, with_claims, with_runs
from benchmarks.seed_page.page import EVIDENCE, FIGURES, NOT_YET, PAGE, main, page
from benchmarks.seed_page.topics import TOPICS, Topic
from tests.records import ENVIRONMENT, STARTED_AT, make_claims, make_record

ROOT = Path(__file__).parents[3]
ROWS = {
    *("Layers", "Activations", "Losses", "Optimizers", "Convolution and pooling", "Dropout, train and eval modes"),
    *("RNN", "LSTM", "GRU", "Transformer", "Large language models", "Diffusion"),
}
"""Everything else that the seed page names."""


def test_the_committed_page_is_made_from_the_committed_evidence() -> None:
    made = page(read_evidence(ROOT / EVIDENCE))
    assert (ROOT / PAGE).read_text(encoding="utf-8") == made, "run python -m benchmarks.seed_page.page"


@pytest.mark.parametrize(
    ("section", "claim", "documented", "measured", "verdict"),
    [
        ("The convolutional network", "conv1.parameters", "896", "896", "match"),
        ("The convolutional network", "conv2.parameters", "18,496", "18,496", "match"),
        ("The convolutional network", "walkthrough.fc1.parameters", "3,221,504", "18,874,880", "ERRATUM"),
        ("MY_NET", "parameters", "9,547,360", "9,547,360", "match"),
    ],
)
def test_the_numbers_of_the_seed_page_stand_beside_what_is_measured(
    section: str, claim: str, documented: str, measured: str, verdict: str
) -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8").partition(f"\n## {section}")[2].partition("\n## ")[0]
    assert f"\n| {claim} | {documented} | {measured} | {verdict} | " in text


def test_headings_below_a_row_are_of_a_lower_level() -> None:
    lines = page(read_evidence(ROOT / EVIDENCE)).splitlines()
    headings = [line for line in lines if line.startswith("#")]
    below = headings[headings.index("## What else it names") + 1 :]
    assert {line.partition(" ")[2] for line in below if line.startswith("### ")} == ROWS
    assert len(below) > len(ROWS) and {line.partition(" ")[0] for line in below} == {"###", "####"}


def test_no_row_of_the_seed_page_is_left_out() -> None:
    assert {topic.name for topic in TOPICS} == ROWS
    assert len(TOPICS) == len(ROWS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_row_has_a_suite_a_test_and_a_section(topic: Topic) -> None:
    assert topic.suites and set(topic.suites) <= set(builtin_suites())
    assert topic.tests and set(topic.figures) <= set(FIGURES)
    for test in topic.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    section = page(Evidence()).partition(f"### {topic.name}\n")[2].partition("\n### ")[0]
    assert all(f"`bench run {suite}`" in section for suite in topic.suites)
    assert section.count(NOT_YET) + section.count("see the table above") == len(topic.suites) + bool(topic.claims)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_row_with_a_claim_finds_it_in_what_is_shipped(topic: Topic) -> None:
    from bench.claims.files import load, load_ratios, shipped_files

    ids = [claim.id for path in shipped_files() for claim in (*load(path), *load_ratios(path))]
    for start in topic.claims:
        assert any(name.startswith(start) for name in ids) or start == "gru."


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Measure one suite, with hand-made records."""
    folder = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT))
    for index, cell in enumerate(expand(read_suite(builtin_suites()["loss"]).sweeps)):
        advice = (Advice(kind=AdviceKind.BUSY_MACHINE),) if index == 0 else ()
        folder.append(make_record(cell.model, cell.batch_size, step=0.01 * (index + 1), advice=advice))
    return folder


def test_a_run_fills_the_sections_of_its_suites(run: RunFolder) -> None:
    evidence = with_runs(Evidence(), [run])
    assert [one.suite for one in evidence.measurements] == ["loss"]
    section = page(evidence).partition("### Losses\n")[2].partition("\n### ")[0]
    assert "| mlp&#64;classes=1000,loss=bce | 20.0 ms" in section
    assert "Measured on Test CPU, 2 cores, 8.00 GiB, torch 2.15.0; 2026-11-23" in section
    assert "other work ran beside 1 of 3 cells" in section


def test_later_runs_replace_and_other_suites_stay(run: RunFolder, tmp_path: Path) -> None:
    first = with_runs(Evidence(), [run])
    again = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT))
    for cell in expand(read_suite(builtin_suites()["denoising"]).sweeps):
        again.append(make_record(cell.model, cell.batch_size, mode=cell.mode))
    both = with_runs(first, [again])
    assert both.of("loss") == first.of("loss")
    assert both.of("denoising") is not None


def test_a_cell_that_failed_stands_in_the_table(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT))
    cell = expand(read_suite(builtin_suites()["loss"]).sweeps)[0]
    folder.append(
        make_record(cell.model, cell.batch_size, step=None, outcome=Outcome.OUT_OF_MEMORY, reason="too large")
    )
    assert "| out of memory |" in page(with_runs(Evidence(), [folder]))


def test_evidence_comes_back_from_its_file(run: RunFolder, tmp_path: Path) -> None:
    claims, evidence, made = (tmp_path / name for name in ("checked.json", "evidence.json", "page.md"))
    claims.write_text(json.dumps({"schema": 1, "command": "check", "claims": to_json(make_claims())}))
    arguments = ["--evidence", str(evidence), "--page", str(made)]
    assert main([str(run.path), "--claims", str(claims), *arguments]) == 0
    kept = read_evidence(evidence)
    assert kept.of("loss") is not None
    assert kept.claims == make_claims()  # their source is the seed page
    first = made.read_text()
    assert main(arguments) == 0
    assert made.read_text() == first


def test_an_inconclusive_time_is_shown_as_what_it_is() -> None:
    claim = replace(make_claims()[4].claim, id="train.step_seconds")
    checked = CheckedClaim(claim=claim, measured=0.9, verdict=ClaimVerdict.INCONCLUSIVE, reason="neither shown")
    assert "| INCONCLUSIVE |" in page(Evidence(claims=(checked,)))


def test_a_file_that_is_no_evidence_is_an_error_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[1]")
    with pytest.raises(StoreError, match="is not what bench check"):
        with_claims(Evidence(), wrong)
    assert main(["--evidence", str(wrong), "--page", str(tmp_path / "page.md")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
