"""Train a model as the seed page does, and measure it: a plain loop with a mark at every border.

    for every epoch
        for every batch                 data        wait for the loader
            copy                        to the device
            forward, loss, backward, optimizer
            metrics                     other: loss and hits stay on the device
        read the metrics                the only wait for an accelerator
        evaluate                        without gradients, timed apart
        write a checkpoint              timed apart

On the CPU a mark is the host's clock; on an accelerator an event on the stream, so that a part is what the device
worked or waited, and nothing is synchronised within an epoch but for checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from bench import registry
from bench.core.advice import Advice, AdviceKind
from bench.core.errors import ModelError, UsageError
from bench.core.progress import expect
from bench.core.training import Epoch, Part, Progress, TrainingPlan, TrainingRun
from bench.device.backend import is_accelerator
from bench.device.prepare import prepare
from bench.device.step import Step
from bench.measure.clock import Clock, clock_for
from bench.measure.scenarios.calls import feed, input_shape
from bench.measure.scenarios.checkpoint import Place, load, save
from bench.measure.scenarios.evaluation import Evaluation, classify, evaluate, infer, logits_of
from bench.measure.scenarios.images import Digits, open_digits
from bench.measure.timing import PHASE_GAP_LIMIT
from bench.measure.window import Unwatched

STARVED_FRACTION = 0.1
"""A step that waits for data longer than this share of the time earns an Advice."""

_REPORT_SECONDS = 0.25
_PARTS = tuple(Part)


def check(plan: TrainingPlan, *, is_downloading: bool = False) -> None:
    """Refuse what `train` would refuse before its first step; data that are to be downloaded are not looked at.

    Raises:
        BenchError: The model or the data cannot be used.
    """
    workload = registry.resolve(plan.model, input_shape=plan.input_shape)
    with prepare(workload, replace(plan.cell, batch_size=2)) as step:
        _set_options(step, plan)
        if not is_downloading:
            _check_outputs(step, plan, open_digits(plan, input_shape(step, plan.model)))


def train(
    plan: TrainingPlan,
    *,
    download: bool = False,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    is_stopped: Callable[[], bool] = lambda: False,
    window: Unwatched | None = None,
) -> TrainingRun:
    """Train as planned; go on from the checkpoint where there is one.

    `report` is told how far it is, some times a second; its time counts as OTHER. `is_stopped` is asked after every
    step; a training that is stopped writes a checkpoint and answers what it has. `window` is that of its epochs.

    Raises:
        BenchError: The model, the data or the checkpoint cannot be used.
    """
    window = window or Unwatched(clock_for(plan.device))
    workload = registry.resolve(plan.model, input_shape=plan.input_shape)
    with prepare(workload, replace(plan.cell, batch_size=2)) as step:
        _set_options(step, plan)
        data = open_digits(plan, input_shape(step, plan.model), download=download)
        _check_outputs(step, plan, data)
        place = Place()
        if checkpoint is not None and checkpoint.is_file():
            place = load(checkpoint, plan, step)
            place = replace(place, resumptions=place.resumptions + 1)
        run = _Run(
            plan=plan,
            step=step,
            data=data,
            checkpoint=checkpoint,
            report=report,
            is_stopped=is_stopped,
            clock=window.clock,
        )
        with window:
            return run.go(place)


@dataclass(slots=True)
class _Run:
    """One training from where it stands to its end."""

    plan: TrainingPlan
    step: Step
    data: Digits
    checkpoint: Path | None
    report: Callable[[Progress], None]
    is_stopped: Callable[[], bool]
    clock: Clock
    reported_at: float = -math.inf

    def go(self, place: Place) -> TrainingRun:
        """Train what is left."""
        last: Evaluation | None = None
        while len(place.epochs) < self.plan.epochs:
            running = _Running.of(place.partial, len(place.epochs) + 1)
            is_done = self._train_epoch(running, place)
            if not is_done:
                return self._result(place, steps_done=running.steps)
            last = evaluate(self.step, self.data, self.plan)
            epoch = replace(
                running.epoch(),
                test_loss=last.loss,
                test_accuracy=last.accuracy,
                evaluation_seconds=last.seconds,
            )
            place = replace(place, epochs=(*place.epochs, epoch), partial=None)
            seconds = self._save(place)  # the file itself cannot hold how long it took
            epoch = replace(epoch, checkpoint_seconds=epoch.checkpoint_seconds + seconds)
            place = replace(place, epochs=(*place.epochs[:-1], epoch))
            total = self.data.steps(self.plan.batch_size)
            epochs = self.plan.epochs
            self.report(Progress(epoch=epoch.epoch, steps=total, total_steps=total, epochs=epochs, finished=epoch))
        last = last or evaluate(self.step, self.data, self.plan)
        return replace(self._result(place), is_complete=True, classification=classify(last, self.data.facts.classes))

    def _train_epoch(self, running: _Running, place: Place) -> bool:
        """Train one epoch, or what is left of it; False if it was stopped."""
        plan, step, clock = self.plan, self.step, self.clock
        total = self.data.steps(plan.batch_size)
        running.start(clock)
        for images, labels in self.data.train_loader(plan, running.number, running.steps):
            clock.mark()
            feed(step, images, labels, plan)
            clock.mark()
            outputs = step.forward()
            clock.mark()
            loss = step.compute_loss(outputs)
            clock.mark()
            step.backward(loss)
            clock.mark()
            step.optimize()
            clock.mark()
            running.add(loss.detach(), logits_of(outputs), step.batch[1])
            del outputs, loss
            self._tell(running, total)
            is_stopped = self.is_stopped()
            clock.mark()
            is_due = bool(plan.checkpoint_steps) and running.steps % (plan.checkpoint_steps or 1) == 0
            if is_stopped or (is_due and running.steps < total):
                running.pause(clock)
                partial = replace(running.epoch(), interruptions=running.interruptions + 1)
                running.checkpoint_seconds += self._save(replace(place, partial=partial))
                if is_stopped:
                    return False
                running.start(clock)
        clock.mark()
        running.pause(clock)
        return True

    def _save(self, place: Place) -> float:
        """Write a checkpoint, and tell how long it took."""
        if self.checkpoint is None or self.plan.checkpoint_steps == 0:
            return 0.0
        began = time.perf_counter()
        save(self.checkpoint, self.plan, self.step, place)
        return time.perf_counter() - began

    def _tell(self, running: _Running, total: int) -> None:
        now = time.perf_counter()
        if now - self.reported_at < _REPORT_SECONDS:
            return
        self.reported_at = now
        expect()
        # On an accelerator a loss cannot be read without waiting for it.
        loss = None if is_accelerator(self.plan.device) else float(running.new_losses[-1])
        known = loss if loss is not None and math.isfinite(loss) else None
        epochs = self.plan.epochs
        self.report(Progress(epoch=running.number, steps=running.steps, total_steps=total, epochs=epochs, loss=known))

    def _result(self, place: Place, steps_done: int = 0) -> TrainingRun:
        return TrainingRun(
            data=self.data.facts,
            parameters=sum(parameter.numel() for parameter in self.step.model.parameters()),
            epochs=place.epochs,
            is_complete=False,
            steps_done=steps_done,
            advice=advice_on(place.epochs, self.plan),
            resumptions=place.resumptions,
        )


@dataclass(slots=True)
class _Running:
    """An epoch that grows. Losses and hits stay on the device until the clock is read too."""

    number: int
    seconds: float = 0.0
    examples: list[int] = field(default_factory=list)
    losses: list[float | None] = field(default_factory=list)
    correct: list[int] = field(default_factory=list)
    parts: dict[Part, list[float]] = field(default_factory=lambda: {part: [] for part in _PARTS})
    clock_name: str = "host"
    checkpoint_seconds: float = 0.0
    interruptions: int = 0
    began: float = 0.0
    new_losses: list[Tensor] = field(default_factory=list)
    new_correct: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, partial: Epoch | None, number: int) -> _Running:
        """Begin an epoch, or take one up."""
        if partial is None:
            return cls(number=number)
        return cls(
            number=number,
            seconds=partial.seconds,
            examples=list(partial.examples),
            losses=list(partial.losses),
            correct=list(partial.correct),
            parts={part: list(seconds) for part, seconds in partial.parts},
            checkpoint_seconds=partial.checkpoint_seconds,
            interruptions=partial.interruptions,
        )

    @property
    def steps(self) -> int:
        return len(self.examples)

    def start(self, clock: Clock) -> None:
        self.clock_name = clock.name
        self.began = time.perf_counter()
        clock.start()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Keep what a step showed, where it is; nothing is read by the host."""
        self.examples.append(len(labels))
        self.new_losses.append(loss)
        self.new_correct.append((logits.detach().argmax(-1) == labels).sum())

    def pause(self, clock: Clock) -> None:
        """Read the clock and the metrics; waits for an accelerator."""
        seconds, _ = clock.collect()
        for index, part in enumerate(_PARTS):
            self.parts[part] += seconds[index :: len(_PARTS)]
        if self.new_losses:
            losses = torch.stack(self.new_losses).double().tolist()
            self.losses += (loss if math.isfinite(loss) else None for loss in losses)
            self.correct += torch.stack(self.new_correct).tolist()
        self.new_losses, self.new_correct = [], []
        self.seconds += time.perf_counter() - self.began

    def epoch(self) -> Epoch:
        return Epoch(
            epoch=self.number,
            examples=tuple(self.examples),
            losses=tuple(self.losses),
            correct=tuple(self.correct),
            seconds=self.seconds,
            parts=tuple((part, tuple(seconds)) for part, seconds in self.parts.items()),
            clock=self.clock_name,
            checkpoint_seconds=self.checkpoint_seconds,
            interruptions=self.interruptions,
        )


def advice_on(epochs: tuple[Epoch, ...], plan: TrainingPlan) -> tuple[Advice, ...]:
    """Return the doubts about these epochs: a loss that is not finite, parts that do not add up, a step that waits."""
    advice = []
    lost = next(((e.epoch, e.losses.index(None) + 1) for e in epochs if None in e.losses), None)
    if lost is not None:
        facts = (("epoch", lost[0]), ("step", lost[1]))
        advice.append(Advice(kind=AdviceKind.NONFINITE_LOSS, facts=facts))
    seconds, steps = sum(e.seconds for e in epochs), sum(len(e.examples) for e in epochs)
    if not steps:
        return tuple(advice)
    parts = sum(e.part_sum_seconds for e in epochs)
    if abs(parts - seconds) > PHASE_GAP_LIMIT * seconds:
        gap_facts = (("phase_sum_seconds", parts / steps), ("step_seconds", seconds / steps))
        advice.append(Advice(kind=AdviceKind.PHASE_GAP, facts=gap_facts))
    waited = sum(e.part_seconds(Part.DATA) for e in epochs)
    if waited > STARVED_FRACTION * parts:
        advice.append(starved(waited / steps, (parts - waited) / steps, plan.workers))
    return tuple(advice)


def starved(wait_seconds: float, step_seconds: float, workers: int) -> Advice:
    """Make the Advice that a step waits for its data: the wait and the rest, per step."""
    facts = (
        ("wait_fraction", wait_seconds / (wait_seconds + step_seconds)),
        ("wait_seconds", wait_seconds),
        ("step_seconds", step_seconds),
        ("workers", workers),
    )
    return Advice(kind=AdviceKind.DATA_STARVED, facts=facts)


def _set_options(step: Step, plan: TrainingPlan) -> None:
    assert step.optimizer is not None
    for name, value in (("lr", plan.learning_rate), ("weight_decay", plan.weight_decay)):
        for group in step.optimizer.param_groups if value is not None else ():
            if name not in group:
                raise ModelError(f"the optimizer of {plan.model!r} has no {name}; name another with --optimizer")
            group[name] = value


def _check_outputs(step: Step, plan: TrainingPlan, data: Digits) -> None:
    """Refuse a model that cannot tell the classes apart, before an epoch is spent on it."""
    outputs = infer(step)
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < data.facts.classes:
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise UsageError(
            f"model {plan.model!r} answers {found} for a batch of 2; it must be (2, n) logits with n >= "
            f"{data.facts.classes}, one per digit; set its option, for example my_net@classes=10"
        )
