from __future__ import annotations

from bench.core.profile import AUTOGRAD, GRADIENTS, LOSS, OPTIMIZER, PYTHON, UNATTRIBUTED, ZERO_GRAD
from bench.core.record import Phase
from bench.measure.profile.times import host_times
from tests.measure.profile.spans_by_hand import attribution, span, training_step


def test_every_instant_of_a_step_belongs_to_one_layer_and_one_operation() -> None:
    (step,) = host_times(attribution(*training_step()))
    assert step.nanoseconds == 100
    assert dict(step.layers) == {
        (Phase.FORWARD, UNATTRIBUTED): 5 + 3,
        (Phase.FORWARD, ""): 5 + 2,
        (Phase.FORWARD, "a"): 20,
        (Phase.FORWARD, "b"): 10,
        (Phase.LOSS, LOSS): 5,
        (Phase.BACKWARD, LOSS): 3,
        (Phase.BACKWARD, "b"): 5,
        (Phase.BACKWARD, "a"): 20,
        (Phase.BACKWARD, GRADIENTS): 2,
        (Phase.BACKWARD, AUTOGRAD): 35 - 30,
        (Phase.OPTIMIZER, OPTIMIZER): 14 - 3,
        (Phase.OPTIMIZER, ZERO_GRAD): 3,
        (Phase.OPTIMIZER, UNATTRIBUTED): 1,
    }
    assert sum(step.layers.values()) == sum(step.operators.values()) == 100
    assert step.operators["aten::linear"] == 4  # without the addmm inside
    assert step.operators["AddmmBackward0"] == 4
    assert step.operators[PYTHON] == 100 - sum(v for name, v in step.operators.items() if name != PYTHON)
    assert step.operator_calls["aten::mm"] == 1


def test_steps_are_kept_apart_and_the_time_between_them_is_nobodys() -> None:
    steps = host_times(attribution(*training_step(), *training_step(at=130, first_number=3)))
    assert [step.nanoseconds for step in steps] == [100, 100]
    assert steps[0].layers == steps[1].layers


def test_backward_on_a_thread_of_its_own_is_taken_from_the_wait() -> None:
    together = host_times(attribution(*training_step()))
    apart = host_times(attribution(*training_step(backward_thread=2)))
    assert apart[0].layers == together[0].layers
    assert sum(apart[0].operators.values()) == 100


def test_a_node_belongs_to_the_last_operation_numbered_before_it() -> None:
    """An in-place operation on a view makes several nodes; only the first has its number recorded."""
    found = attribution(
        span("bench.step", 0, 100),
        span("bench.phase:forward", 0, 40),
        span("bench.layer:a", 0, 20),
        span("aten::add_", 2, 10, sequence=5),  # makes nodes 5, 6 and 7
        span("bench.layer:b", 20, 40),
        span("aten::mul", 22, 30, sequence=8),
        span("bench.phase:backward", 40, 100),
        span("CopySlices", 50, 60, sequence=7, forward_thread=1, is_node=True),
        span("MulBackward0", 60, 70, sequence=8, forward_thread=1, is_node=True),
    )
    (step,) = host_times(found)
    assert step.layers[Phase.BACKWARD, "a"] == step.layers[Phase.BACKWARD, "b"] == 10


def test_a_module_called_twice_is_one_row() -> None:
    (step,) = host_times(
        attribution(
            span("bench.step", 0, 100),
            span("bench.phase:forward", 0, 50),
            span("bench.layer:a", 0, 10),
            span("aten::relu", 1, 9, sequence=0),
            span("bench.layer:b", 10, 20),
            span("aten::mul", 11, 19, sequence=1),
            span("bench.layer:a", 20, 30),
            span("aten::relu", 21, 29, sequence=2),
            span("bench.phase:backward", 50, 100),
            span("ReluBackward0", 50, 55, sequence=2, forward_thread=1, is_node=True),
            span("MulBackward0", 55, 61, sequence=1, forward_thread=1, is_node=True),
            span("ReluBackward0", 61, 68, sequence=0, forward_thread=1, is_node=True),
        )
    )
    assert step.layers[Phase.FORWARD, "a"] == 20
    assert step.layers[Phase.BACKWARD, "a"] == 12
    assert step.layers[Phase.BACKWARD, "b"] == 6


def test_recomputed_work_belongs_to_its_layer_in_backward() -> None:
    """The modules run again inside a node, and their new nodes run inside it too."""
    (step,) = host_times(
        attribution(
            span("bench.step", 0, 100),
            span("bench.phase:forward", 0, 30),
            span("bench.layer:", 0, 30),
            span("CheckpointFunction", 1, 20, sequence=0),
            span("bench.layer:a", 2, 18),
            span("bench.phase:backward", 30, 100),
            span("CheckpointFunctionBackward", 40, 90, sequence=0, forward_thread=1, is_node=True),
            span("bench.layer:a", 45, 60),
            span("aten::mm", 46, 58, sequence=1),
            span("MmBackward0", 70, 80, sequence=1, forward_thread=1, is_node=True),
        )
    )
    assert step.layers[Phase.BACKWARD, "a"] == 15 + 10
    assert step.layers[Phase.BACKWARD, ""] == 50 - 25


def test_a_compiled_region_is_a_row_of_its_own_forward_and_backward() -> None:
    (step,) = host_times(
        attribution(
            span("bench.step", 0, 100),
            span("bench.phase:forward", 0, 50),
            span("Torch-Compiled Region: 0/0", 10, 40),
            span("CompiledFunction", 12, 38, sequence=4),
            span("bench.phase:backward", 50, 100),
            span("CompiledFunctionBackward", 60, 90, sequence=4, forward_thread=1, is_node=True),
        )
    )
    assert step.layers[Phase.FORWARD, "(compiled graph 0/0)"] == 30
    assert step.layers[Phase.BACKWARD, "(compiled graph 0/0)"] == 30


def test_a_node_that_nobody_recorded_is_unattributed() -> None:
    spans = [s for s in training_step() if s.name != "AddmmBackward0"]
    spans.append(span("OldBackward0", 60, 80, sequence=0, forward_thread=9, is_node=True))
    (step,) = host_times(attribution(*spans))
    assert step.layers[Phase.BACKWARD, UNATTRIBUTED] == 20


def test_a_phase_of_ones_own_holds_layers_a_loss_and_an_update() -> None:
    (step,) = host_times(
        attribution(
            span("bench.step", 0, 100),
            span("bench.phase:critic", 0, 90),
            span("bench.layer:critic.0", 10, 20),
            span("aten::mm", 12, 18, sequence=1),
            span("aten::mean", 20, 30, sequence=2),
            span("MeanBackward0", 35, 40, sequence=2, forward_thread=1, is_node=True),
            span("MmBackward0", 40, 60, sequence=1, forward_thread=1, is_node=True),
            span("Optimizer.step#SGD.step", 60, 80),
            span("aten::add_", 65, 70),
        )
    )
    assert step.layers == {
        ("critic", "critic.0"): 10 + 20,
        ("critic", LOSS): 10 + 5,
        ("critic", OPTIMIZER): 20,
        ("critic", UNATTRIBUTED): 10 + 5 + 20,
    }
    assert step.operators["aten::mean"] == 10
