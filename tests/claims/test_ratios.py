"""Ratios between two cells: read strictly, judged exactly where they are counts, by sessions where they are times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.claims.files import load, load_ratios, shipped_files
from bench.claims.ratios import RATIO_QUANTITIES, check_ratio, is_timed, judge_time, needed_cells
from bench.core.cell import Cell, Mode
from bench.core.claim import Claim, ClaimVerdict, Relation
from bench.core.errors import UsageError
from bench.core.estimate import Estimate
from bench.core.jsonio import from_json, to_json
from bench.core.record import Counters, FlopCount, LayerCount

DOCUMENT = '[document]\ntitle = "A page"\nmodel = "gru"\n'
RATIO = '[[ratio]]\nid = "a"\nquantity = "parameters"\nreference = "lstm"\n'
COUNTS = st.integers(1, 2**50)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "claims.toml"


def claimed(
    value: float = 0.75, relation: Relation = Relation.EQUAL, quantity: str = "parameters", **more: object
) -> Claim:
    cells = {"cell": Cell(model="gru", batch_size=8), "reference_cell": Cell(model="lstm", batch_size=8)}
    return Claim(id="a", model="gru", quantity=quantity, value=value, relation=relation, **cells, **more)  # type: ignore[arg-type]


def counted(parameters: int | None) -> Counters:
    return Counters(parameters=parameters)


def interval(point: float, low: float | None, high: float | None, n: int = 8) -> Estimate:
    return Estimate(point=point, low=low, high=high, confidence=0.95, n=n, n_effective=n, method="test")


# Files.


def test_a_full_ratio_is_read_as_it_stands(written: Path) -> None:
    written.write_text(
        DOCUMENT + '[[ratio]]\nid = "a"\nquantity = "optimizer_state_bytes"\nreference_quantity = "weights_bytes"\n'
        'subject = { model = "mlp", optimizer = "adam", batch_size = 2 }\nreference = "lstm"\nmode = "train"\n'
        'batch_size = 4\ndocumented = "3/4"\ntolerance = 1e-3\nscope = "s"\nsource = "its own"\n'
    )
    assert load_ratios(written) == (
        Claim(
            id="a",
            model="mlp",
            quantity="optimizer_state_bytes",
            reference_quantity="weights_bytes",
            value=0.75,
            relative_to="lstm",
            tolerance=1e-3,
            scope="s",
            source="its own",
            cell=Cell(model="mlp", optimizer="adam", batch_size=2),
            reference_cell=Cell(model="lstm", batch_size=4),
        ),
    )
    assert load(written) == ()


def test_a_side_without_a_model_is_the_documents_and_axes_are_shared(written: Path) -> None:
    written.write_text(DOCUMENT + RATIO + 'below = 1\nmode = "infer"\nlayer = "recurrent"\nreference_layer = "r"\n')
    (ratio,) = load_ratios(written)
    assert ratio.cell == Cell(model="gru", mode=Mode.INFER, batch_size=8)
    assert ratio.reference_cell == Cell(model="lstm", mode=Mode.INFER, batch_size=8)
    assert (ratio.relation, ratio.value, ratio.layer, ratio.relative_layer) == (Relation.BELOW, 1, "recurrent", "r")
    assert from_json(Claim, to_json(ratio)) == ratio


REFUSED = {
    "no value": (RATIO, "needs one of `documented`, `below` and `above`, found none"),
    "two values": (RATIO + "below = 1\nabove = 1\n", "found below, above"),
    "no fraction": (RATIO + 'documented = "three"\n', "a fraction like \"3/4\", found 'three'"),
    "divided by zero": (RATIO + 'documented = "1/0"\n', "a fraction like"),
    "nothing": (RATIO + "below = 0\n", "a number above 0, found 0"),
    "a bool": (RATIO + "below = true\n", "a number above 0"),
    "unknown quantity": (RATIO.replace("parameters", "flop_total") + "below = 1\n", "did you mean 'flops_total'"),
    "unknown key": (RATIO + "below = 1\nbatch = 3\n", "unknown key 'batch'"),
    "unknown axis": (RATIO + 'below = 1\nsubject = { models = "a" }\n', "subject: unknown key 'models'"),
    "mode": (RATIO + 'below = 1\nmode = "eval"\n', "mode needs train or infer, found 'eval'"),
    "batch": (RATIO + "below = 1\nbatch_size = 0\n", "batch_size needs a whole number"),
    "a layer's time": (RATIO.replace("parameters", "step_seconds") + 'below = 1\nlayer = "x"\n', "of a whole step"),
    "an exact time": (RATIO.replace("parameters", "step_seconds") + "documented = 0.75\n", "no time is exact"),
    "time by count": (RATIO + 'below = 1\nreference_quantity = "step_seconds"\n', "a time and a count have no ratio"),
    "tolerance": (RATIO + "below = 1\ntolerance = -1\n", "tolerance needs a number from 0 up"),
    "twice": ((RATIO + "below = 1\n") * 2, "the id 'a' is taken"),
    "no table": ("ratio = 3\n" + RATIO[:0], "no ratio found; write each as a [[ratio]] table"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(written: Path, case: str) -> None:
    text, said = REFUSED[case]
    written.write_text(text + DOCUMENT if text.startswith("ratio =") else DOCUMENT + text)
    with pytest.raises(UsageError) as caught:
        load_ratios(written)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# Counts.


@given(COUNTS, COUNTS)
def test_a_count_matches_exactly_its_own_fraction(mine: int, other: int) -> None:
    documented = float(Fraction(mine, other))
    checked = check_ratio(claimed(documented), counted(mine), counted(other))
    assert (checked.verdict, checked.measured) == (ClaimVerdict.MATCH, mine / other)
    assert check_ratio(claimed(documented), counted(mine + 1), counted(other)).verdict is ClaimVerdict.MISMATCH


@given(COUNTS, COUNTS, st.sampled_from([Relation.BELOW, Relation.ABOVE]))
def test_a_direction_holds_strictly(mine: int, other: int, relation: Relation) -> None:
    verdict = check_ratio(claimed(1, relation), counted(mine), counted(other)).verdict
    holds = mine < other if relation is Relation.BELOW else mine > other
    assert verdict is (ClaimVerdict.MATCH if holds else ClaimVerdict.MISMATCH)


def test_a_mismatch_shows_both_counts() -> None:
    checked = check_ratio(claimed(), counted(2_000), counted(3_000))
    assert checked.reason == "documented 0.75, measured 2,000 / 3,000 = 0.666667"
    below = check_ratio(claimed(1, Relation.BELOW), counted(3), counted(2))
    assert below.reason.startswith("documented < 1, measured 3 / 2")


def test_what_was_not_counted_has_no_ratio_and_says_which_side() -> None:
    assert check_ratio(claimed(), counted(None), counted(3)).reason == "subject: parameters was not counted"
    assert check_ratio(claimed(), counted(3), counted(None)).reason == "reference: parameters was not counted"
    nothing = check_ratio(claimed(), counted(3), counted(0))
    assert (nothing.verdict, nothing.reason) == (
        ClaimVerdict.UNMEASURED,
        "reference: parameters is 0, which has no ratio",
    )


def test_a_lower_bound_of_flops_has_no_ratio() -> None:
    bound = Counters(flops=FlopCount(forward=3, backward=6, uncounted=(("aten.cdist", 1),)))
    claim = claimed(1, quantity="flops_total")
    assert check_ratio(claim, bound, bound).verdict is ClaimVerdict.UNMEASURED


def test_a_layer_is_held_against_another_layer() -> None:
    def layer(name: str, parameters: int) -> Counters:
        return Counters(layers=(LayerCount(name=name, type="Linear", parameters=parameters),))

    claim = claimed(0.5, layer="a", relative_layer="b")
    assert check_ratio(claim, layer("a", 1), layer("b", 2)).verdict is ClaimVerdict.MATCH
    assert "no layer 'b'" in check_ratio(claim, layer("a", 1), layer("a", 2)).reason


def test_only_what_needs_steps_is_counted_with_steps() -> None:
    state = replace(claimed(), quantity="optimizer_state_bytes", reference_quantity="parameters")
    time = replace(claimed(), quantity="step_seconds", cell=Cell(model="other", batch_size=1))
    assert needed_cells([claimed(), time]) == {claimed().cell: False, claimed().reference_cell: False}
    assert needed_cells([claimed(), state]) == {claimed().cell: True, claimed().reference_cell: False}
    assert is_timed(time) and not is_timed(state)


# Times.


@pytest.mark.parametrize(
    ("p_below", "p_above", "verdict"),
    [
        (0.004, 1.0, ClaimVerdict.MATCH),
        (1.0, 0.004, ClaimVerdict.MISMATCH),
        (0.2, 0.8, ClaimVerdict.INCONCLUSIVE),
        (0.025, 0.98, ClaimVerdict.MATCH),
        (0.04, 0.97, ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_a_direction_of_time_needs_to_be_shown(p_below: float, p_above: float, verdict: ClaimVerdict) -> None:
    claim = claimed(1, Relation.BELOW, "step_seconds")
    estimate = interval(0.9, 0.8, 1.1)
    checked = judge_time(claim, estimate, p_below=p_below, p_above=p_above)
    assert (checked.verdict, checked.measured, checked.interval) == (verdict, 0.9, estimate)
    assert bool(checked.reason) == (verdict is not ClaimVerdict.MATCH)
    mirrored = judge_time(replace(claim, relation=Relation.ABOVE), estimate, p_below=p_above, p_above=p_below)
    assert mirrored.verdict is verdict


def test_a_claim_of_time_that_is_false_says_on_this_machine() -> None:
    checked = judge_time(claimed(1, Relation.BELOW, "step_seconds"), interval(1.3, 1.2, 1.4), p_below=1, p_above=0.004)
    assert checked.reason == "false on this machine: 1.3 (1.2 to 1.4) over 8 sessions, p = 0.004"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.72, 0.78, ClaimVerdict.MATCH),
        (0.80, 0.90, ClaimVerdict.MISMATCH),
        (0.70, 0.90, ClaimVerdict.INCONCLUSIVE),
        (None, None, ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_a_figure_of_time_is_held_against_the_interval(
    low: float | None, high: float | None, verdict: ClaimVerdict
) -> None:
    claim = claimed(0.75, quantity="step_seconds", tolerance=0.05)
    assert judge_time(claim, interval(0.77, low, high), p_below=0.0, p_above=1.0).verdict is verdict


# What is shipped.


def pooled(pool: bool, image_size: int = 48) -> dict[str, int]:
    areas = [image_size**2, image_size**2, image_size**2 // (4 if pool else 1), image_size**2 // (16 if pool else 1)]
    return {
        "conv1": 2 * areas[0] * 32 * 3 * 9,
        "conv2": 2 * areas[1] * 64 * 32 * 9,
        "conv3": 2 * areas[2] * 128 * 64 * 9,
        "fc1": 2 * 128 * areas[3] * 512,
        "fc2": 2 * 512 * 32,
    }


DOCUMENTED = {
    "convolution.shared_weights": Fraction((3 * 3 * 3 + 1) * 32, (3 * 48 * 48 + 1) * 32 * 48 * 48),
    "convolution.flops": Fraction(3 * 3 * 3, 3 * 48 * 48),
    "pooling.conv3.flops": Fraction(pooled(True)["conv3"], pooled(False)["conv3"]),
    "pooling.fc1.flops": Fraction(pooled(True)["fc1"], pooled(False)["fc1"]),
    "optimizer.adam.state": Fraction(2),
    "optimizer.adamw.state": Fraction(1),
    "optimizer.rmsprop.state": Fraction(1),
    "optimizer.sgd.state": Fraction(1),
    "lstm.gates": Fraction(4),
    "gru.gates": Fraction(3),
    **{f"activation.{name}.flops": Fraction(1) for name in ("sigmoid", "tanh", "softmax")},
    **{f"loss.{name}.flops": Fraction(1) for name in ("bce", "mse")},
    "modes.forward": Fraction(1),
}


def test_the_shipped_ratios_are_those_of_the_formulas() -> None:
    ratios = [ratio for path in shipped_files() for ratio in load_ratios(path)]
    equal = {ratio.id: ratio.value for ratio in ratios if ratio.relation is Relation.EQUAL}
    assert equal == {name: float(value) for name, value in DOCUMENTED.items()}
    directions = {ratio.id for ratio in ratios if ratio.relation is not Relation.EQUAL}
    assert directions == {
        *("train.flops", "train.step_seconds", "infer.step_seconds"),
        *("pooling.flops", "pooling.step_seconds", "dropout.saved", "modes.flops"),
    }
    assert all(ratio.scope and ratio.source.startswith("HackTricks, AI, Deep Learning page") for ratio in ratios)


def test_every_quantity_says_what_it_is() -> None:
    assert all(quantity.meaning for quantity in RATIO_QUANTITIES.values())
    assert [name for name, quantity in RATIO_QUANTITIES.items() if quantity.get is None] == ["step_seconds"]


@pytest.mark.parametrize(
    "name",
    ["convolution.shared_weights", "convolution.flops", "pooling.conv3.flops", "pooling.fc1.flops", "lstm.gates"],
)
def test_the_real_modules_give_what_is_claimed(name: str, count: Callable[..., Counters]) -> None:
    (claim,) = [ratio for path in shipped_files() for ratio in load_ratios(path) if ratio.id == name]
    assert claim.cell is not None and claim.reference_cell is not None
    checked = check_ratio(claim, count(claim.cell.model), count(claim.reference_cell.model))
    assert checked.verdict is ClaimVerdict.MATCH
