"""Training steps beyond the four phases: one's own (GAN), accumulation, clipping, optimizers with a closure."""

from __future__ import annotations

import copy
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.advice import AdviceKind
from bench.core.cell import Cell, Mode, Precision
from bench.core.errors import ModelError
from bench.core.jsonio import from_json, to_json
from bench.core.record import UNMARKED, Phase, Sample, Sampling
from bench.core.workload import Workload
from bench.counters.fakes import real_step
from bench.counters.static import count
from bench.device.prepare import prepare
from bench.device.step import LongStep, Marks, OwnStep, Step
from bench.measure.clock import HostClock
from bench.measure.timing import time_step
from tests.counters.small import count_step


def gan_step(step: Any, generator: nn.Module, batch: Any, state: Any) -> None:
    (noise,), real = batch
    critic, of_critic, of_generator = state["critic"], state["of_critic"], state["of_generator"]
    with step.phase("critic"), step.precision():
        loss = critic(generator(noise).detach()).mean() - critic(real).mean()
        loss.backward()
        of_critic.step()
        of_critic.zero_grad()
    with step.phase("generator"), step.precision():
        (-critic(generator(noise)).mean()).backward()
        of_generator.step()
        of_generator.zero_grad()
        of_critic.zero_grad()


def gan(train_step: Any = gan_step) -> Workload:
    def make_state(generator: nn.Module) -> Any:
        critic = nn.Linear(6, 1, bias=False)
        return {
            "critic": critic,
            "of_critic": torch.optim.SGD(critic.parameters(), lr=0.1),
            "of_generator": torch.optim.Adam(generator.parameters(), lr=0.1),
        }

    return Workload(
        name="gan",
        build_model=lambda: nn.Linear(4, 6, bias=False),
        make_batch=lambda size, device: (torch.randn(size, 4, device=device), torch.randn(size, 6, device=device)),
        train_step=train_step,
        make_state=make_state,
    )


def classifier(make_optimizer: Any = lambda parameters: torch.optim.SGD(parameters, lr=0.1)) -> Workload:
    return Workload(
        name="classifier",
        build_model=lambda: nn.Linear(4, 3),
        make_batch=lambda size, device: (torch.rand(size, 4, device=device), torch.randint(3, (size,), device=device)),
        loss=nn.functional.cross_entropy,
        make_optimizer=make_optimizer,
    )


def lbfgs(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, max_iter=5)


CELL = Cell(model="m", batch_size=2)
QUICK = Sampling(budget_seconds=0.02, min_warmup_steps=1, max_warmup_steps=3)


def phases_of(step: Step) -> list[str]:
    seen: list[str] = []
    step.split(Marks(end=seen.append))
    return seen


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16_AMP, Precision.BF16])
def test_a_gan_trains_both_networks_in_phases_of_its_own(precision: Precision) -> None:
    with prepare(gan(), replace(CELL, precision=precision)) as step:
        assert isinstance(step, OwnStep)
        before = [parameter.detach().clone() for one in step.networks.values() for parameter in one.parameters()]
        assert phases_of(step) == ["critic", "generator"]
        step()
        after = [parameter for one in step.networks.values() for parameter in one.parameters()]
        assert len(after) == 2
        assert not any(map(torch.equal, before, after))
        expected = torch.bfloat16 if precision is Precision.BF16 else torch.float32
        assert {parameter.dtype for parameter in after} == {expected}


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16_AMP, Precision.BF16])
def test_a_gan_is_counted_with_both_networks(precision: Precision) -> None:
    counters, advice = count(gan(), replace(CELL, precision=precision))
    assert not advice
    generator, critic = 2 * 2 * 4 * 6, 2 * 2 * 6  # FLOPs of one product with 2 examples
    assert counters.flops is not None
    assert counters.flops.forward == 2 * generator + 3 * critic
    # critic: gradients of two weights; generator: through the critic to its input and its weight, then its own weight
    assert counters.flops.backward == 2 * critic + 2 * critic + generator
    assert counters.parameters == 24 + 6
    assert {layer.name: layer.flops_forward for layer in counters.layers} == {
        "": 0,
        "model": 2 * generator,
        "critic": 3 * critic,
    }
    assert counters.predicted_peak is not None
    size = 2 if precision is Precision.BF16 else 4
    assert counters.predicted_peak.weights_bytes == 30 * size
    assert counters.predicted_peak.optimizer_state_bytes >= 2 * 24 * size  # Adam's two moments


def test_inputs_taken_for_a_tensor_are_an_error_that_says_how_to_take_them() -> None:
    def train_step(step: Any, generator: nn.Module, batch: Any, state: Any) -> None:
        noise, _ = batch
        generator(noise)

    refused = pytest.raises(ModelError, match=r"take them as `\(inputs,\), targets = batch`")
    with prepare(gan(train_step), Cell(model="gan", batch_size=3)) as step, refused:
        step()


def test_a_gan_can_be_inferred_without_its_step() -> None:
    with prepare(gan(), replace(CELL, mode=Mode.INFER)) as step:
        assert type(step) is Step
        assert step.forward().shape == (2, 6)


def test_phases_of_ones_own_are_timed_and_add_up_to_the_step() -> None:
    with prepare(gan(), CELL) as step:
        timing = time_step(step, "cpu", QUICK)
    samples = {sample.phase: sample for sample in timing.samples}
    assert list(samples) == [Phase.STEP, "critic", "generator", UNMARKED]
    split = {len(sample.seconds) for phase, sample in samples.items() if phase is not Phase.STEP}
    assert len(split) == 1  # on a busy host a step may seem long, and is then split less often
    for sample in timing.samples:
        assert from_json(Sample, to_json(sample)) == sample


def scripted(*phases: Any) -> Any:
    def train_step(step: Any, *_: Any) -> None:
        for phase in phases:
            with step.phase(phase):
                pass

    return train_step


def test_repeated_phases_add_up_and_one_that_is_left_out_took_nothing() -> None:
    class Ticking(HostClock):
        """Every mark is a second after the one before."""

        def mark(self) -> None:
            self._marks.append(len(self._marks) * 1_000_000_000)

        end_step = mark

    turns = Counter[str]()

    def train_step(step: Any, *_: Any) -> None:
        turns["steps"] += 1
        scripted("a", "b", "a", *(["late"] if turns["steps"] % 2 == 0 else []))(step)

    from bench.measure.blocks import time_phases

    with prepare(gan(train_step), CELL) as step:
        seconds, host = time_phases(step, Ticking(), 3)
    assert seconds == {"a": [2.0] * 3, "b": [1.0] * 3, "late": [0.0, 1.0, 0.0], UNMARKED: [4.0, 5.0, 4.0]}
    assert host == {"a": [], "b": [], "late": [], UNMARKED: []}


def as_the_built_in_step(step: Any, model: nn.Module, batch: Any, state: Any) -> None:
    """Do what `Step.split` does, in a step of one's own."""
    inputs, targets = batch
    with step.phase("forward"):
        outputs = model(*inputs)
    with step.phase("loss"):
        loss = nn.functional.cross_entropy(outputs, targets)
    with step.phase("backward"):
        loss.backward()
    with step.phase("optimizer"):
        state.step()
        state.zero_grad()


def test_marks_of_ones_own_are_the_built_in_marks_no_more_and_no_dearer() -> None:
    own = replace(classifier(), train_step=as_the_built_in_step, make_state=lambda m: torch.optim.SGD(m.parameters()))
    events: dict[str, list[Any]] = {"own": [], "built-in": []}
    for name, workload in (("own", own), ("built-in", classifier())):
        told = events[name].append
        with prepare(workload, CELL) as step:
            step.split(Marks(begin=told, end=told))
    assert events["own"] == events["built-in"]
    assert len(events["own"]) == 8

    def seconds(names: Any, mark: Any) -> float:
        began = time.process_time()
        for _ in range(500):
            for name in names:
                with mark(name):
                    pass
        return time.process_time() - began

    names = ("forward", "loss", "backward", "optimizer")
    marks = Marks()
    with prepare(own, CELL) as step:
        assert isinstance(step, OwnStep)
        whole = min(seconds(names, step.phase) for _ in range(10))
        step.phase = marks
        built_in = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER)
        turns = [(seconds(names, step.phase), seconds(built_in, marks)) for _ in range(20)]
    mine, theirs = (min(turn[side] for turn in turns) for side in (0, 1))
    assert mine < 1.5 * theirs
    assert whole < mine  # in a whole step they do nothing


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16, Precision.BF16_AMP])
def test_an_average_kept_in_a_copy_of_the_model_is_counted_without_values(precision: Precision) -> None:
    def train_step(step: Any, model: nn.Module, batch: Any, state: Any) -> None:
        with step.precision():
            loss = nn.functional.cross_entropy(model(*batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        state["optimizer"].step()
        for average, weight in zip(state["average"].parameters(), model.parameters(), strict=True):
            average.detach().lerp_(weight.detach(), 0.1)

    def make_state(model: nn.Module) -> Any:
        return {"optimizer": torch.optim.SGD(model.parameters()), "average": copy.deepcopy(model)}

    cell = replace(CELL, precision=precision)
    workload = replace(classifier(), train_step=train_step, make_state=make_state)
    counters, advice = count(workload, cell)
    assert advice == ()
    assert counters.flops is not None and "real" not in counters.flops.method
    assert (counters.flops.forward, counters.parameters) == (2 * 2 * 4 * 3, 2 * 15)
    with real_step(workload, cell) as step:
        step()
        real = count_step(step)
    if precision is Precision.FP32:
        assert counters.dispatches == real.dispatches


def test_built_in_names_are_the_built_in_phases() -> None:
    with prepare(gan(scripted("forward", "backward")), CELL) as step:
        first, second = phases_of(step)
    assert first is Phase.FORWARD
    assert second is Phase.BACKWARD


def nested(step: Any, *_: Any) -> None:
    with step.phase("outer"), step.phase("inner"):
        pass


def test_nested_phases_are_refused_where_marks_mean_something() -> None:
    with prepare(gan(nested), CELL) as step:
        step()  # a whole step has no marks
        with pytest.raises(ModelError, match=r"phase 'inner' begins inside phase 'outer'; phases follow one another"):
            step.split(Marks())


@pytest.mark.parametrize("name", ["", "step", UNMARKED, "x" * 41, 3, "a\nb"])
def test_a_phase_needs_a_name_of_its_own(name: Any) -> None:
    with prepare(gan(scripted(name)), CELL) as step, pytest.raises(ModelError, match=r"needs a name|can be named"):
        step.split(Marks())


def test_a_step_that_ignores_autocast_is_not_booked_as_amp() -> None:
    cell = replace(CELL, precision=Precision.BF16_AMP)
    message = r"never enters `with step.precision\(\):`"
    with prepare(gan(scripted("a")), cell) as step, pytest.raises(ModelError, match=message):
        step.split(Marks())


@pytest.mark.parametrize(
    ("change", "named"), [({"optimizer": "adam"}, "--optimizer"), ({"accumulate": 2, "clip_norm": 1.0}, "--accumulate")]
)
def test_axes_of_the_built_in_step_are_refused_for_ones_own(change: Any, named: str) -> None:
    with (
        pytest.raises(ModelError, match=rf"train_step of its own.*leave out {named}"),
        prepare(gan(), replace(CELL, **change)),
    ):
        pass


def test_accumulated_batches_give_the_gradients_of_one_large_one() -> None:
    cell = replace(CELL, accumulate=3)
    with prepare(classifier(), CELL) as plain, prepare(classifier(), cell) as step:
        assert isinstance(step, LongStep)
        plain()
        step()  # the same batch three times: the mean of its losses is its loss
        torch.testing.assert_close(step.model.weight, plain.model.weight)
        assert Counter(phases_of(step)) == {"forward": 3, "loss": 3, "backward": 3, "optimizer": 1}
    assert cell.examples_per_step == 6
    one, three = (count(classifier(), one)[0] for one in (CELL, cell))
    assert one.flops is not None
    assert three.flops is not None
    assert three.flops.total == 3 * (one.flops.total or 0)
    assert "3 batches per step" in three.flops.method


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16_AMP])
def test_gradients_are_clipped_to_the_norm_after_unscaling(precision: Precision) -> None:
    seen: list[float] = []

    class Watching(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.append(float(torch.nn.utils.get_total_norm([p.grad for g in self.param_groups for p in g["params"]])))
            return super().step(closure)

    workload = classifier(lambda parameters: Watching(parameters, lr=0.1))
    with prepare(workload, replace(CELL, clip_norm=0.01, precision=precision)) as step:
        step()
    assert seen == [pytest.approx(0.01, rel=1e-3)]


def test_lbfgs_works_through_its_closure_and_its_evaluations_are_counted() -> None:
    with prepare(classifier(lbfgs), CELL) as step:
        assert isinstance(step, LongStep)
        before = step.compute_loss(step.forward()).item()
        seen = phases_of(step)
        assert step.compute_loss(step.forward()).item() < before
        evaluations = step.evaluations
    assert seen.count("forward") == seen.count("backward") == evaluations > 1
    assert seen.count("optimizer") == evaluations + 1
    counters, _ = count(classifier(lbfgs), CELL)
    single, _ = count(classifier(), CELL)
    assert counters.flops is not None
    assert single.flops is not None
    assert counters.flops.total == evaluations * (single.flops.total or 0)
    assert f"{evaluations} evaluations of the closure" in counters.flops.method


def test_evaluations_that_cannot_be_counted_are_a_doubt_and_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.counters.build._REAL_LIMIT_BYTES", 10)  # as a model of 70 billion parameters would be
    counters, advice = count(classifier(lbfgs), CELL, opinions=False)
    assert (counters.flops, counters.layers) == (None, ())
    assert counters.parameters
    facts = [dict(one.facts) for one in advice if one.kind is AdviceKind.COUNT_FAILED]
    assert facts[0]["counter"] == "evaluations of the optimizer's closure"
    assert "are not built for real only to be counted" in str(facts[0]["reason"])


def test_lbfgs_with_a_scaler_is_refused_with_the_reason() -> None:
    with (
        pytest.raises(ModelError, match="GradScaler"),
        prepare(classifier(lbfgs), replace(CELL, precision=Precision.FP16_AMP)),
    ):
        pass


def test_a_model_without_parameters_is_told_of_infer_mode() -> None:
    workload = replace(classifier(), build_model=lambda: nn.ReLU())
    with pytest.raises(ModelError, match=r"no trainable parameter.*--mode infer"), prepare(workload, CELL):
        pass


def test_new_axes_keep_old_keys_and_name_new_cells() -> None:
    assert CELL.key == "d5fc5b7028ccbaad"
    assert from_json(Cell, {"model": "m", "batch_size": 2}) == CELL
    new = replace(CELL, accumulate=4, clip_norm=0.5)
    assert new.key != CELL.key
    assert new.id == "m/train/b2/cpu/fp32/accumulate4/clip0.5"
