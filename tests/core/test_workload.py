"""What a workload brings is called as its docstring says; one that cannot be is refused with its name."""

from functools import partial

import pytest

from bench.core.errors import ModelError
from bench.core.workload import Workload


def workload(**changes):
    return Workload(**{"build_model": lambda: None, "make_batch": lambda *made: made, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"make_batch": lambda n: n}, "make_batch is called as make_batch(batch_size, device); this one takes (n)"),
        ({"loss": lambda outputs: outputs}, "loss is called as loss(outputs, targets); this one takes (outputs)"),
        ({"make_optimizer": lambda: None}, "make_optimizer is called as make_optimizer(parameters); this one takes ()"),
        ({"build_model": lambda width: width}, "build_model is called as build_model(); this one takes (width)"),
        (
            {"train_step": lambda step, model, batch: (step, model, batch)},
            "train_step is called as train_step(step, model, batch, state); this one takes (step, model, batch)",
        ),
    ],
)
def test_a_function_that_takes_something_else_is_named(changes, words):
    with pytest.raises(ModelError) as refused:
        workload(**changes)
    assert str(refused.value) == words


def test_what_can_be_called_so_is_taken():
    workload(loss=partial(max, key=len), make_optimizer=dict)
    workload(
        make_batch=lambda n, device, length=3: (n, device, length),
        build_model=lambda width=4: width,
        make_state=lambda m: m,
    )
