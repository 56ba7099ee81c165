from __future__ import annotations

from bench.runner.ab.arm import Counted
from bench.runner.ab.judging import Work
from bench.runner.ab.scout import compare_work


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


def test_the_same_file_outside_both_trees_is_told_unless_the_interpreters_differ() -> None:
    outside = counted(is_inside=False)
    assert compare_work(outside, outside, is_same_python=True).facts == (("same_code", "/x/net.py"),)
    assert compare_work(outside, outside, is_same_python=False).facts == ()
