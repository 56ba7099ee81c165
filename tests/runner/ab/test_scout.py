from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.cell import Cell, CompileMode
from bench.runner.ab.arm import ArmError, Counted, Description
from bench.runner.ab.judging import Work
from bench.runner.ab.scout import _fate_together, compare_work, scout
from bench.runner.ab.sides import Side
from tests.records import ENVIRONMENT


def counted(parameters: int = 10, flops: int | None = 100, *, is_inside: bool = True) -> Counted:
    counters = {"parameters": parameters, "trainable_parameters": parameters, "flops": flops, "dispatches": 7}
    return Counted(source_file="/x/net.py", is_inside=is_inside, counters=counters, not_counted=None)


def test_equal_counts_are_the_same_work_and_say_nothing() -> None:
    assert compare_work(counted(), counted(), is_same_python=True) == Work()


def test_other_flops_are_a_fact_and_still_comparable() -> None:
    work = compare_work(counted(), counted(flops=120), is_same_python=True)
    assert work == Work(facts=(("flops_base", 100), ("flops_head", 120)), is_same=True)


def test_other_parameters_are_other_work() -> None:
    work = compare_work(counted(), counted(parameters=11), is_same_python=True)
    assert not work.is_same
    assert ("parameters_head", 11) in work.facts


def test_what_could_not_be_counted_on_one_side_is_no_difference() -> None:
    work = compare_work(counted(flops=None), counted(), is_same_python=True)
    assert work == Work()
    failed = Counted(source_file=None, is_inside=True, counters=None, not_counted="no formula")
    assert compare_work(failed, counted(), is_same_python=True) == Work(facts=(("not_counted_base", "no formula"),))


def test_a_file_outside_both_trees_is_told() -> None:
    outside = counted(is_inside=False)
    assert compare_work(outside, outside, is_same_python=True).facts == (("same_code", "/x/net.py"),)
    assert compare_work(outside, outside, is_same_python=False).facts == ()


GIB = 2**30
CELL = Cell(model="net", batch_size=8)


def test_two_sides_that_fit_only_alone_are_not_compared() -> None:
    """Each needs 6 of 10 GiB: one of them would run out of memory, and be taken for broken (B11)."""
    one = replace(counted(), predicted_bytes=6 * GIB)
    fate = _fate_together(CELL, {"base": one, "head": one}, None, 10 * GIB)
    assert fate is not None
    assert fate.side == "both"
    assert fate.reason == "both sides together need 12.0 GiB, and cpu has 10.0 GiB free"
    assert _fate_together(replace(CELL, device="cuda:0"), {"base": one, "head": one}, None, 12 * GIB) is not None


@pytest.mark.parametrize(("free", "is_compared"), [((20, 20), True), ((20, 10), False), ((10, 20), False)])
def test_the_sides_are_asked_for_the_memory_that_both_find(
    tmp_path: Path, free: tuple[int, int], is_compared: bool
) -> None:
    cell = replace(CELL, device="cuda:0")
    rooms = iter(free)

    class Arm:
        def hello(self) -> None: ...
        def close(self) -> None: ...

        def describe(self, *_: object) -> Description:
            room = next(rooms) * GIB
            here = {"cuda:0": ENVIRONMENT}
            return Description(devices={"cuda:0": "cuda:0"}, environments=here, unfit={}, free={"cuda:0": room})

        def count(self, _: Cell) -> Counted:
            return replace(counted(), predicted_bytes=6 * GIB)

    base, head = (Side(name=name, given=".", folder=tmp_path, root=tmp_path) for name in ("base", "head"))
    found = scout(base, head, [cell], lambda _: Arm())  # type: ignore[arg-type,return-value]
    assert (cell.key in found.work) is is_compared
    assert [fate.reason[:24] for fate in found.fates.values()] == ([] if is_compared else ["both sides together need"])


@pytest.mark.parametrize(
    ("need", "free", "compile_mode"),
    [(5 * GIB, 10 * GIB, "none"), (None, GIB, "none"), (6 * GIB, None, "none"), (6 * GIB, 10 * GIB, "default")],
)
def test_two_sides_that_fit_or_are_unknown_are_compared(need: int | None, free: int | None, compile_mode: str) -> None:
    one = replace(counted(), predicted_bytes=need)
    cell = replace(CELL, compile=CompileMode(compile_mode))
    assert _fate_together(cell, {"base": one, "head": one}, None, free) is None
    assert _fate_together(cell, {"base": ArmError("base", "broken"), "head": one}, None, free) is None
