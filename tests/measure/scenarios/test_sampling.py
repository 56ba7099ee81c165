from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.core.cell import Cell, Mode, Precision
from bench.core.errors import ModelError
from bench.core.generation import SamplingCase
from bench.core.record import Sampling
from bench.device import environment
from bench.measure.scenarios import calls, sampling
from tests.fakes.gpu import FakeMachine, FakeScaler, Throttle
from tests.perfetto import slices

QUICK = Sampling(budget_seconds=0.01, min_steps=2)
SPEC = "diffusion@image_size=8,channels=8,text_length=4,text_width=16,heads=2,vocabulary=20"


def make_case(**fields: Any) -> SamplingCase:
    cell = Cell(model=SPEC, mode=Mode.INFER, batch_size=2, precision=fields.pop("precision", Precision.FP32))
    return SamplingCase(cell=cell, **({"steps": 3} | fields))


@pytest.mark.parametrize(
    "precision",
    [Precision.FP32, *(pytest.param(each, marks=pytest.mark.slow) for each in (Precision.BF16, Precision.BF16_AMP))],
)
@pytest.mark.parametrize("fields", [{}, {"guidance": 3.0, "sampler": "ddpm"}])
def test_text_and_every_step_are_timed(fields: dict[str, Any], precision: Precision) -> None:
    times, _ = sampling.time_case(make_case(precision=precision, **fields), QUICK)
    assert len(times.encode_seconds) == len(times.step_seconds) >= 2
    assert {len(seconds) for seconds in times.step_seconds} == {3}
    assert times.decode_seconds == ()


def test_perfetto_opens_the_trace_of_a_sampling(tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    assert sampling.trace_case(make_case(guidance=3.0), str(path)) == "3 samplings"
    names = slices(path)
    assert names.count("bench.sampling") == 3
    assert any(name.startswith("bench.layer:") for name in names)


def test_sampling_under_the_harness_gives_the_images_of_the_model() -> None:
    case = make_case(guidance=2.0)
    with sampling._prepared(case) as (model, sampler, text, noise):
        images = sampling.sample(case, sampler, model, text, noise)
        assert torch.equal(images, model.sample(text, noise, steps=3, guidance=2.0))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_flops_of_a_step_are_counted_with_guidance(guidance: float) -> None:
    counts = sampling.measure_case(make_case(guidance=guidance))
    assert counts.image_shape == (3, 8, 8)
    workload = registry.resolve(SPEC)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = workload.build_model()
        batch = 2 if guidance == 1.0 else 4
        model.denoise(torch.randn(batch, 3, 8, 8), torch.randn(batch, 4, 16), torch.zeros(batch, dtype=torch.long))
    assert counts.flops_per_step == counter.get_total_flops() > 0


def test_a_training_steps_parts_are_the_models_and_the_rest() -> None:
    times = sampling.time_parts(make_case(), QUICK)
    names = [name for name, _ in times.parts]
    assert names == ["text encode", "add noise", "denoise", "loss", "backward", "optimizer"]
    assert len({len(seconds) for _, seconds in times.parts}) == 1
    assert all(second > 0 for _, seconds in times.parts for second in seconds)


@pytest.mark.parametrize("overflows", [None, 16])
def test_the_parts_of_a_training_step_are_timed_with_a_full_queue(
    monkeypatch: pytest.MonkeyPatch, overflows: int | None
) -> None:
    """The forward pass takes longer to launch than to run: into an empty queue it would wait for itself (A2).

    In fp16-amp the first updates are skipped; they are the parts of no step that trains (A4).
    """
    machine = FakeMachine()
    costs = {"forward": (8e-3, 15e-3), "backward": (26e-3, 12e-3), "optimizer": (4e-3, 1e-3)}

    class Training:
        model = batch = (None, None)
        scaler = None if overflows is None else FakeScaler(overflows)

        def precision(self) -> Any:
            return contextlib.nullcontext()

        def compute_loss(self, _: object) -> None:
            pass

        def backward(self, _: object) -> None:
            machine.advance(*costs["backward"])

        def optimize(self) -> None:
            if self.scaler is None or not self.scaler.skips():
                machine.advance(*costs["optimizer"])

        def __call__(self) -> None:
            machine.advance(*costs["forward"])
            self.backward(None)
            self.optimize()

    def parts(*_: object) -> Iterator[tuple[str, None]]:
        machine.advance(*costs["forward"])
        yield "denoise", None

    monkeypatch.setattr(sampling.registry, "resolve", lambda _: SimpleNamespace(sampler=SimpleNamespace(parts=parts)))
    monkeypatch.setattr(sampling, "prepare", lambda *_: contextlib.nullcontext(Training()))
    monkeypatch.setattr(calls, "ACCELERATOR_WARMUP_SECONDS", 0.0)
    case = make_case()
    with machine.installed():
        times = sampling.time_parts(replace(case, cell=replace(case.cell, device="cuda:0")), QUICK)
    assert times.clock == "device"
    expected = {"denoise": 8e-3, "loss": 0, "backward": 26e-3, "optimizer": 4e-3}
    for choose in (min, statistics.median):
        found = {name: choose(seconds) for name, seconds in times.parts}
        assert found == pytest.approx(expected, rel=0.02, abs=1e-6)


def test_images_tell_the_clock_of_the_working_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when all is done it would be that of an idle one (B3); and others' load before, not after (B6)."""
    machine = FakeMachine()
    machine.gpu.load = 60
    machine.gpu.throttles = [Throttle("thermal", end=0.02)]  # in the warm-up only
    monkeypatch.setattr(environment, "_LOAD_MEMORY_SECONDS", 0.0)

    def sample(case: SamplingCase, *given: Any) -> None:
        for _ in range(1 + case.steps):
            machine.advance(0.01, 1e-4)
            given[-1].mark()

    prepared = (None, SimpleNamespace(decode=None), None, None)
    monkeypatch.setattr(sampling, "_prepared", lambda _: contextlib.nullcontext(prepared))
    monkeypatch.setattr(sampling, "sample", sample)
    monkeypatch.setattr(calls, "ACCELERATOR_WARMUP_SECONDS", 0.0)
    case = make_case()
    with machine.installed():
        on_gpu = replace(case, cell=replace(case.cell, device="cuda:0"))
        _, state = sampling.time_case(on_gpu, QUICK, machine.gpu.uuid)
    assert (state.gpu_clock_mhz, state.gpu_power_watts) == (1980, 650)
    assert state.gpu_load_before == 0.6
    assert state.gpu_throttle_reasons == ()


@pytest.mark.parametrize(
    ("spec", "parts", "words"), [("my_net", False, "does not sample images.*docs/diffusion.md"), (SPEC, True, "")]
)
def test_models_are_refused_before_anything_runs(spec: str, parts: bool, words: str) -> None:
    if not words:
        sampling.check_models({spec: 3}, parts)
        return
    with pytest.raises(ModelError, match=words):
        sampling.check_models({spec: 3}, parts)


def test_more_steps_than_the_schedule_has_are_refused_before_measuring() -> None:
    spec = f"{SPEC},times=5"
    sampling.check_models({spec: 5}, parts=False)
    with pytest.raises(ModelError, match=r"--steps: 6 asked for, .* has 5"):
        sampling.check_models({spec: 6}, parts=False)
