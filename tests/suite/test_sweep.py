"""A sweep is the product of its axes in order, less what is excluded, plus what is included, each cell once."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.cell import Cell, Mode, Parallel, Precision
from bench.core.errors import UsageError
from bench.core.record import Sampling
from bench.suite.axes import TYPED, axes_of, sampling_of
from bench.suite.sweep import Rule, Sweep, cell_of, expand, sweep_of


def test_the_product_runs_the_last_axis_fastest() -> None:
    cells = sweep_of(models=("a", "b"), batch_size=(8, 32), precision=(Precision.FP32, Precision.BF16)).cells()
    assert [(cell.model, cell.batch_size, cell.precision.value) for cell in cells] == list(
        itertools.product("ab", (8, 32), ("fp32", "bf16"))
    )


def test_the_order_of_the_loops_is_the_order_of_the_fields() -> None:
    cells = sweep_of(models=("a",), mode=(Mode.TRAIN, Mode.INFER), device=("cpu", "cuda:0"), seed=(0, 1)).cells()
    assert [(cell.mode.value, cell.device, cell.seed) for cell in cells] == list(
        itertools.product(("train", "infer"), ("cpu", "cuda:0"), (0, 1))
    )


def test_defaults_are_those_of_a_cell() -> None:
    assert sweep_of(models=("a",)).cells() == (Cell(model="a", batch_size=8),)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(Precision), min_size=1, max_size=3, unique=True),
)
def test_the_product_has_every_combination_once(
    models: list[str], batch_sizes: list[int], precisions: list[Precision]
) -> None:
    cells = sweep_of(models=tuple(models), batch_size=tuple(batch_sizes), precision=tuple(precisions)).cells()
    assert len(cells) == len(set(cells)) == len(models) * len(batch_sizes) * len(precisions)
    assert len({cell.key for cell in cells}) == len({cell.id for cell in cells}) == len(cells)


def test_inference_has_no_optimizer_so_its_cells_fall_together() -> None:
    cells = sweep_of(models=("a",), mode=(Mode.TRAIN, Mode.INFER), optimizer=("sgd", "adam")).cells()
    assert [(cell.mode.value, cell.optimizer) for cell in cells] == [
        ("train", "sgd"),
        ("train", "adam"),
        ("infer", None),
    ]


def test_one_process_is_not_parallel_so_its_cells_fall_together() -> None:
    cells = sweep_of(models=("a",), world_size=(1, 2), parallel=(Parallel.DDP, Parallel.FSDP2)).cells()
    assert [(cell.world_size, cell.parallel.value) for cell in cells] == [(1, "ddp"), (2, "ddp"), (2, "fsdp2")]
    assert [cell.id for cell in cells[1:]] == ["a/train/b8/cpu/fp32/w2", "a/train/b8/cpu/fp32/w2/fsdp2"]


def test_a_cell_is_left_out_when_every_rule_of_one_group_matches() -> None:
    group = (Rule(axis="model", values=("a",)), Rule(axis="precision", values=("bf16", "bf16-amp")))
    sweep = replace(
        sweep_of(models=("a", "b"), precision=(Precision.FP32, Precision.BF16, Precision.BF16_AMP)), exclude=(group,)
    )
    assert [(cell.model, cell.precision.value) for cell in sweep.cells()] == [
        ("a", "fp32"),
        ("b", "fp32"),
        ("b", "bf16"),
        ("b", "bf16-amp"),
    ]


def test_groups_are_alternatives() -> None:
    groups = ((Rule(axis="model", values=("a",)),), (Rule(axis="batch_size", values=("32",)),))
    cells = replace(sweep_of(models=("a", "b"), batch_size=(8, 32)), exclude=groups).cells()
    assert [(cell.model, cell.batch_size) for cell in cells] == [("b", 8)]


def test_included_cells_come_last_once_and_are_not_excluded() -> None:
    extra = Cell(model="a", batch_size=256)
    sweep = replace(
        sweep_of(models=("a",)),
        include=(extra, Cell(model="a", batch_size=8), extra),
        exclude=((Rule(axis="batch_size", values=("256",)),),),
    )
    assert [cell.batch_size for cell in sweep.cells()] == [8, 256]


def test_a_sweep_without_cells_is_refused() -> None:
    for sweep in (
        Sweep(axes={"model": ()}),
        replace(sweep_of(models=("a",)), exclude=((Rule(axis="model", values=("a",)),),)),
    ):
        with pytest.raises(UsageError, match="no cell") as caught:
            sweep.cells()
        assert "\n" not in str(caught.value)


def test_several_sweeps_share_cells_once() -> None:
    cells = expand([sweep_of(models=("a",), batch_size=(8, 32)), sweep_of(models=("a", "b"), batch_size=(32,))])
    assert [(cell.model, cell.batch_size) for cell in cells] == [("a", 8), ("a", 32), ("b", 32)]


def test_python_values_become_a_sweep() -> None:
    sweep = sweep_of(models="m", batch_size=[8, 32], precision=["fp32"], input_shape="3x8x8", threads=2)
    assert sweep == Sweep(
        axes={
            "model": ("m",),
            "batch_size": (8, 32),
            "precision": (Precision.FP32,),
            "input_shape": ((3, 8, 8),),
            "threads": (2,),
        }
    )
    assert axes_of(input_shape=[3, 8]) == {"input_shape": ((3, 8),)}
    assert axes_of(input_shape=None, optimizer=None) == {}


def test_a_sequence_length_is_written_into_the_models_spec_once() -> None:
    sweep = sweep_of(models=["a", "b@width=8", "c@sequence_length=4,width=8"], sequence_length=[16, 32], batch_size=2)
    assert [cell.model for cell in sweep.cells()] == [
        "a@sequence_length=16",
        "a@sequence_length=32",
        "b@width=8,sequence_length=16",
        "b@width=8,sequence_length=32",
        "c@sequence_length=16,width=8",
        "c@sequence_length=32,width=8",
    ]
    typed = sweep_of(models="a@sequence_length=16", batch_size=2).cells()
    assert sweep.cells()[0].key == typed[0].key
    assert cell_of({"model": "a", "batch_size": 1, "sequence_length": 16}).model == "a@sequence_length=16"


def test_exclusions_name_models_as_typed_beside_a_sequence_length() -> None:
    sweep = Sweep(
        axes=axes_of(model=["a", "b"], batch_size=1, sequence_length=16),
        exclude=((Rule(axis="model", values=("a",)),),),
    )
    assert [cell.model for cell in sweep.cells()] == ["b@sequence_length=16"]


def test_strong_scaling_shares_the_batch_out_and_weak_does_not() -> None:
    def cells(scaling: object) -> list[tuple[int, int]]:
        sweep = sweep_of(models="m", batch_size=32, world_size=[1, 4], scaling=scaling)
        return [(cell.world_size, cell.batch_size) for cell in sweep.cells()]

    assert cells("weak") == cells(None) == [(1, 32), (4, 32)]
    assert cells("strong") == [(1, 32), (4, 8)]
    assert cells(["weak", "strong"]) == [(1, 32), (4, 32), (4, 8)]
    with pytest.raises(UsageError, match="32 examples are no multiple of 3 processes"):
        sweep_of(models="m", batch_size=32, world_size=3, scaling="strong").cells()


def test_one_process_has_one_node_so_its_key_is_the_old_one() -> None:
    one, two = sweep_of(models="m", batch_size=8, world_size=[1, 2], nodes=2).cells()
    assert (one.nodes, two.nodes, two.ranks_per_node) == (1, 2, 1)
    assert one.key == Cell(model="m", batch_size=8).key
    assert two.id == "m/train/b8/cpu/fp32/w2/n2"


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"nodes": 2}, "nodes 2 needs --world-size 2 or more, which no cell has; add it, or leave nodes out"),
        ({"nodes": [1, 4], "world_size": 1}, "nodes 4 needs --world-size 2 or more"),
        ({"parallel": "fsdp2"}, "parallel fsdp2 needs --world-size 2 or more"),
        ({"scaling": "strong"}, "scaling strong needs --world-size 2 or more"),
        ({"optimizer": "sgd", "mode": "infer"}, "optimizer sgd needs --mode train, which no cell has"),
        ({"accumulate": 2, "mode": "infer"}, "accumulate 2 needs --mode train"),
        ({"clip_norm": 1.5, "mode": "infer"}, "clip norm 1.5 needs --mode train"),
        ({"grad_mode": "no_grad"}, "grad mode no_grad needs --mode infer"),
    ],
)
def test_a_value_that_means_nothing_in_any_cell_is_refused(axes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=f"^{words}"):
        sweep_of(models="m", **axes)


@pytest.mark.parametrize(
    "axes",
    [
        {"nodes": 1},
        {"parallel": "ddp", "scaling": "weak"},
        {"nodes": 2, "world_size": [1, 2]},
        {"optimizer": "sgd", "grad_mode": "no_grad", "mode": ["train", "infer"]},
        {"clip_norm": "none", "mode": "infer"},
    ],
)
def test_a_value_that_some_cell_has_or_that_changes_nothing_is_taken(axes: dict[str, object]) -> None:
    assert sweep_of(models="m", **axes).cells()


def test_every_axis_that_may_mean_nothing_says_what_it_needs() -> None:
    assert [name for name, axis in TYPED.items() if (axis.about.applies is bool) == bool(axis.about.needs)] == []


def test_enums_are_taken_as_well_as_their_values() -> None:
    assert sweep_of(models="m", precision=Precision.BF16, mode=Mode.INFER).cells()[0].id == "m/infer/b8/cpu/bf16"


def test_an_unknown_axis_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        sweep_of(models="m", batchsize=8)
    assert "no axis named 'batchsize'. Did you mean 'batch_size'?" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sampling_is_changed_field_by_field() -> None:
    changed = sampling_of(Sampling(target=0.1), budget_seconds=2, min_warmup_seconds=0, min_steps=7.0)
    assert changed == Sampling(target=0.1, budget_seconds=2.0, min_warmup_seconds=0.0, min_steps=7)
    assert type(changed.budget_seconds) is float
    assert type(changed.min_steps) is int
    assert sampling_of(Sampling()) == Sampling()
