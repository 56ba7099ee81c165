"""The claims of the seed page: the numbers are exactly the documented ones, and the models give what is claimed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.claims.check import check_counters, needed, reference
from bench.claims.files import load
from bench.core.claim import Claim, ClaimVerdict
from bench.core.record import Counters

MODELS = Path(__file__).parents[2] / "models"
FILES = sorted(MODELS.glob("*.toml"))


def conv(channels_in: int, channels_out: int, kernel: int = 3) -> int:
    return (channels_in * kernel * kernel + 1) * channels_out


def linear(features_in: int, features_out: int) -> int:
    return (features_in + 1) * features_out


def my_net(classes: int) -> int:
    return conv(3, 32) + conv(32, 64) + conv(64, 128) + linear(128 * 12 * 12, 512) + linear(512, classes)


DOCUMENTED = {
    "walkthrough_cnn.toml": {
        "conv1.parameters": conv(3, 32),
        "conv1.shape": (None, 32, 48, 48),
        "conv1.kernel": 3 * 3 * 3,
        "conv2.parameters": conv(32, 64),
        "conv2.shape": (None, 64, 48, 48),
        "pool1.shape": (None, 64, 48 // 2, 48 // 2),
        "pool1.area": 1 / 4,
        "walkthrough.fc1.parameters": 3_221_504,
        "fc2.parameters": linear(512, 43),
        "fc2.parameters.10": linear(512, 10),
        "fc2.parameters.32": linear(512, 32),
    },
    "my_net.toml": {
        "conv1.parameters": conv(3, 32),
        "conv1.kernel": 3 * 3 * 3,
        "conv1.shape": (None, 32, 48, 48),
        "conv2.parameters": conv(32, 64),
        "conv2.shape": (None, 64, 48, 48),
        "pool1.shape": (None, 64, 24, 24),
        "pool1.area": 1 / 4,
        "conv3.parameters": conv(64, 128),
        "conv3.shape": (None, 128, 24, 24),
        "pool2.shape": (None, 128, 12, 12),
        "pool2.area": 1 / 4,
        "fc1.inputs": 128 * 12 * 12,
        "fc1.parameters": linear(128 * 12 * 12, 512),
        "fc2.parameters": linear(512, 32),
        "output.shape": (None, 32),
        "parameters": my_net(32),
        "parameters.10": my_net(10),
        "parameters.43": my_net(43),
    },
    "gru.toml": {"recurrent.parameters": 3 / 4, "recurrent.flops": 3 / 4},
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_files_hold_exactly_the_documented_values(name: str) -> None:
    assert {claim.id: claim.value for claim in load(MODELS / name)} == DOCUMENTED[name]


def test_the_pages_figures_stand_as_printed() -> None:
    """The page's own digits, so that a slip in the formulas above cannot hide one in the files."""
    values = {claim.id: claim.value for claim in load(MODELS / "walkthrough_cnn.toml")}
    assert values["conv1.parameters"] == 896
    assert values["conv2.parameters"] == 18_496
    assert values["conv1.kernel"] == 27
    assert [values[f"fc2.parameters{end}"] for end in ("", ".10", ".32")] == [22_059, 5_130, 16_416]
    totals = {claim.id: claim.value for claim in load(MODELS / "my_net.toml")}
    assert [totals[f"parameters{end}"] for end in (".10", "", ".43")] == [9_536_074, 9_547_360, 9_553_003]


def test_every_claim_file_of_a_model_is_known_here() -> None:
    assert {path.name for path in FILES} == set(DOCUMENTED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_claim_names_its_document(path: Path) -> None:
    assert all(claim.source.startswith("HackTricks, AI, Deep Learning page, ") for claim in load(path))


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_real_modules_give_what_is_claimed(path: Path, batch_size: int, count: Callable[..., Counters]) -> None:
    claims = load(path)
    counted = {subject: count(subject.model, batch_size) for subject in needed(claims)}

    def verdict(claim: Claim) -> ClaimVerdict:
        other = reference(claim)
        mine = next(counters for subject, counters in counted.items() if subject.model == claim.model)
        return check_counters(claim, mine, batch_size, counted[other] if other else None).verdict

    expected = {c.id: ClaimVerdict.ERRATUM if c.erratum else ClaimVerdict.MATCH for c in claims}
    assert {claim.id: verdict(claim) for claim in claims} == expected


def test_the_erratum_is_what_the_pages_own_formula_yields() -> None:
    (claim,) = [claim for claim in load(MODELS / "walkthrough_cnn.toml") if claim.erratum is not None]
    assert claim.id == "walkthrough.fc1.parameters"
    assert claim.erratum is not None
    assert claim.erratum.measured == (64 * 24 * 24 + 1) * 512 == 18_874_880
    for said in ("36,864", "18,874,880", "3,221,504"):
        assert said in claim.erratum.reason


def test_the_erratum_says_what_inputs_the_documented_number_would_need() -> None:
    inputs, rest = divmod(3_221_504, 512)
    assert rest == 0
    assert inputs - 1 == 6_291
    assert 6_291 % 64 != 0  # no map size whatever gives it
