"""Cells name themselves: `id` for people, `key` for joins across runs, which must never change by accident."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest

from bench.core.cell import Cell, CompileMode, GradMode, MemoryFormat, Mode, Parallel, Precision, short_hash

EVERY_FIELD = Cell(
    model="torchvision:resnet18",
    mode=Mode.INFER,
    batch_size=32,
    device="cuda:1",
    precision=Precision.BF16_AMP,
    optimizer="adamw-fused",
    compile=CompileMode.REDUCE_OVERHEAD,
    memory_format=MemoryFormat.CHANNELS_LAST,
    input_shape=(3, 64, 64),
    threads=4,
    world_size=2,
    nodes=2,
    parallel=Parallel.FSDP2,
    seed=7,
    accumulate=2,
    clip_norm=0.5,
    grad_mode=GradMode.NO_GRAD,
)

# Keys are SHA-256 sums of the JSON written here by hand, so a change of `to_json` or of a field's name shows.
KEYS = {
    '{"batch_size":8,"model":"my_net"}': Cell(model="my_net", batch_size=8),
    '{"batch_size":1,"mode":"infer","model":"mlp@width=512"}': Cell(
        model="mlp@width=512", batch_size=1, mode=Mode.INFER
    ),
    '{"accumulate":2,"batch_size":32,"clip_norm":0.5,"compile":"reduce-overhead","device":"cuda:1","grad_mode":"no_grad",'
    '"input_shape":[3,64,64],'
    '"memory_format":"channels_last","mode":"infer","model":"torchvision:resnet18","nodes":2,"optimizer":"adamw-fused",'
    '"parallel":"fsdp2","precision":"bf16-amp","seed":7,"threads":4,"world_size":2}': EVERY_FIELD,
}


@pytest.mark.parametrize(("canonical", "cell"), KEYS.items())
def test_a_key_is_the_hash_of_the_canonical_json(canonical: str, cell: Cell) -> None:
    assert cell.key == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_keys_written_to_disk_by_the_first_version_still_hold() -> None:
    assert Cell(model="my_net", batch_size=8).key == "a40d002417cecee0"
    older = dataclasses.replace(
        EVERY_FIELD, nodes=1, parallel=Parallel.DDP, accumulate=1, clip_norm=None, grad_mode=None
    )
    assert older.key == "d4ec7674b37e811f"


def test_equal_cells_have_one_key_whichever_is_asked_first() -> None:
    whole, real = (Cell(model="never_asked_before", batch_size=8, clip_norm=norm) for norm in (1, 1.0))
    assert whole == real
    written = json.dumps({"batch_size": 8, "clip_norm": 1.0, "model": "never_asked_before"}, separators=(",", ":"))
    assert whole.key == real.key == hashlib.sha256(written.encode()).hexdigest()[:16]


def test_a_key_is_the_same_in_another_process() -> None:
    code = "from bench.core.cell import Cell; print(Cell(model='my_net', batch_size=8).key)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == Cell(model="my_net", batch_size=8).key


def test_a_new_axis_with_a_default_does_not_rename_old_cells() -> None:
    newer = dataclasses.make_dataclass(
        "NewerCell", [("sparsity", float, 0.0)], bases=(Cell,), frozen=True, slots=True, kw_only=True
    )
    assert newer(model="my_net", batch_size=8).key == Cell(model="my_net", batch_size=8).key
    assert newer(model="my_net", batch_size=8, sparsity=0.5).key != Cell(model="my_net", batch_size=8).key


def test_every_field_changes_the_key_and_the_id() -> None:
    plain = Cell(model="my_net", batch_size=8)
    for field in dataclasses.fields(Cell):
        changed = dataclasses.replace(plain, **{field.name: getattr(EVERY_FIELD, field.name)})
        assert changed.key != plain.key, field.name
        assert changed.id != plain.id, field.name


def test_an_id_holds_five_axes_and_others_that_are_not_default() -> None:
    assert Cell(model="my_net", batch_size=32).id == "my_net/train/b32/cpu/fp32"
    assert EVERY_FIELD.id == (
        "torchvision:resnet18/infer/b32/cuda:1/bf16-amp/adamw-fused/compile-reduce-overhead/channels_last"
        "/3x64x64/t4/w2/n2/fsdp2/seed7/accumulate2/clip0.5/grad-no_grad"
    )


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert short_hash({"a": 1, "b": [2]}) == short_hash({"b": [2], "a": 1})
    assert short_hash({"a": 1}) != short_hash({"a": 1.5})


def test_names_outside_ascii_hash_as_escapes() -> None:
    expected = hashlib.sha256(json.dumps({"batch_size": 8, "model": "größe"}, separators=(",", ":")).encode())
    assert Cell(model="größe", batch_size=8).key == expected.hexdigest()[:16]
