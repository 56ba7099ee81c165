from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.core.cell import Cell, Mode, Precision
from bench.core.errors import ModelError
from bench.core.generation import GenerationCase
from bench.core.record import Sampling
from bench.device import environment
from bench.device.prepare import prepare
from bench.measure.scenarios import calls, generation
from bench.measure.scenarios.calls import held_bytes, weights_met
from tests.fakes.gpu import FakeMachine, Throttle
from tests.perfetto import slices

QUICK = Sampling(budget_seconds=0.01, min_steps=2)
SMALL = "vocabulary=50,sequence_length=16"
SPECS = [
    f"decoder_lm@{SMALL},width=16,heads=2",
    f"decoder_lm@{SMALL},width=16,heads=2,kv_heads=1,tied=true",
    f"lstm@{SMALL}",
]


def make_case(spec: str = SPECS[0], **fields: Any) -> GenerationCase:
    cell = {name: fields.pop(name) for name in ("batch_size", "precision") if name in fields}
    asked = {"prompt_tokens": 5, "new_tokens": 6} | fields
    return GenerationCase(cell=Cell(model=spec, mode=Mode.INFER, **({"batch_size": 2} | cell)), **asked)


class CountingClock:
    """Counts marks; its time is the number of the mark."""

    name = "host"

    def __init__(self) -> None:
        self.marks = 0

    def start(self) -> None:
        self.marks = 0

    def mark(self) -> None:
        self.marks += 1

    def collect(self) -> tuple[list[float], list[float]]:
        return [1.0] * self.marks, []


@pytest.mark.parametrize("spec", SPECS)
def test_the_text_written_with_a_cache_is_the_one_written_without(spec: str) -> None:
    texts = []
    for uses_cache in (True, False):
        case = make_case(spec, uses_cache=uses_cache)
        with generation._prepared(case) as (model, generator, prompt):
            clock = CountingClock()
            text, cache = generation.generate(case, generator, model, prompt, clock)
            assert clock.marks == case.new_tokens
            assert (cache is not None) == uses_cache
        texts.append(text)
    assert texts[0].shape == (2, 6)
    assert torch.equal(*texts)


@pytest.mark.parametrize("uses_cache", [True, False])
def test_perfetto_opens_the_trace_of_a_generation(tmp_path: Path, uses_cache: bool) -> None:
    path = tmp_path / "t.json.gz"
    assert generation.trace_case(make_case(uses_cache=uses_cache), str(path)) == "3 generations"
    names = slices(path)
    assert names.count("bench.generation") == 3
    layers = [name for name in names if name.startswith("bench.layer:")]
    assert layers and len(layers) % 3 == 0


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16, Precision.BF16_AMP])
def test_every_token_of_every_generation_is_timed(precision: Precision) -> None:
    case = make_case(precision=precision)
    times, _ = generation.time_case(case, QUICK)
    assert len(times.first_token_seconds) == len(times.token_seconds) >= 2
    assert {len(seconds) for seconds in times.token_seconds} == {case.new_tokens - 1}
    assert min(min(seconds) for seconds in times.token_seconds) > 0
    assert times.warmup_generations >= 2
    assert times.clock == "host"


def test_texts_tell_the_clock_of_the_working_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read when all is done it would be that of an idle one (B3); and others' load before, not after (B6)."""
    machine = FakeMachine()
    machine.gpu.load = 60
    machine.gpu.throttles = [Throttle("thermal", end=0.02)]  # in the warm-up only
    monkeypatch.setattr(environment, "_LOAD_MEMORY_SECONDS", 0.0)

    def generate(case: GenerationCase, *given: Any) -> None:
        for _ in range(case.new_tokens):
            machine.advance(0.01, 1e-4)
            given[-1].mark()

    monkeypatch.setattr(generation, "_prepared", lambda _: contextlib.nullcontext((None,) * 3))
    monkeypatch.setattr(generation, "generate", generate)
    monkeypatch.setattr(calls, "ACCELERATOR_WARMUP_SECONDS", 0.0)
    case = make_case()
    with machine.installed():
        on_gpu = replace(case, cell=replace(case.cell, device="cuda:0"))
        _, state = generation.time_case(on_gpu, QUICK, machine.gpu.uuid)
    assert (state.gpu_clock_mhz, state.gpu_power_watts) == (1980, 650)
    assert state.gpu_load_before == 0.6
    assert state.gpu_throttle_reasons == ()


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16, Precision.BF16_AMP])
@pytest.mark.parametrize("spec", SPECS[:2])
def test_the_cache_holds_what_its_formula_says(spec: str, precision: Precision) -> None:
    counts = generation.measure_case(make_case(spec, precision=precision))
    assert counts.reason is None
    assert counts.cache is not None
    assert counts.cache.predicted_bytes == counts.cache.held_bytes
    assert counts.cache.peak_allocated_bytes is None


def test_flops_of_a_token_are_close_to_the_rules_of_thumb() -> None:
    counts = generation.measure_case(make_case())
    flops = counts.flops
    assert flops is not None
    # Norm weights are the only ones that no product meets: 2 per block and one at the end, 16 wide, 2 FLOPs each.
    assert flops.context_tokens == 10
    assert (flops.decode_rule_flops or 0) - (flops.decode_flops or 0) == 2 * 5 * 16
    assert flops.training_flops == pytest.approx(flops.training_rule_flops, rel=0.03)
    assert flops.training_tokens == 16
    assert counts.parameters == (flops.weights or 0) + 50 * 16  # the embedding is only looked up


def test_only_a_table_that_is_the_head_too_is_met() -> None:
    apart, tied = (registry.resolve(spec).build_model() for spec in SPECS[:2])
    table = 50 * 16
    assert weights_met(apart) == sum(p.numel() for p in apart.parameters()) - table
    assert weights_met(tied) == sum(p.numel() for p in tied.parameters())


def test_tensors_of_any_cache_are_found_each_storage_once() -> None:
    class Layer:
        def __init__(self) -> None:
            self.keys = torch.zeros(4)
            self.view = self.keys[:2]
            self.owner = self

    assert held_bytes([Layer(), {"a": (torch.zeros(3),)}, None, 5]) == 4 * 4 + 3 * 4


@pytest.mark.parametrize(
    ("spec", "tokens", "expected"),
    [
        ("decoder_lm", 32, "decoder_lm"),
        ("decoder_lm", 33, "decoder_lm@sequence_length=33"),
        ("decoder_lm@width=64", 200, "decoder_lm@width=64,sequence_length=200"),
        ("gru", 10_000, "gru"),
    ],
)
def test_a_model_gets_room_for_its_texts_only_where_it_needs_it(spec: str, tokens: int, expected: str) -> None:
    assert generation.fitting_spec(spec, tokens) == expected


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("decoder_lm@sequence_length=16", "takes texts of 16 tokens.*together are 40; set sequence_length=40"),
        ("my_net", "does not generate text.*docs/language-models.md"),
    ],
)
def test_what_cannot_be_generated_is_refused_in_one_line(spec: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        generation.fitting_spec(spec, 40)
    assert "\n" not in str(raised.value)


MARKOV = '''
"""A user's model: the next token depends on the last one alone."""
from dataclasses import dataclass
import torch

@dataclass(frozen=True)
class Config:
    vocabulary: int = 7

class Table(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.table = torch.nn.Embedding(size, size)
    def forward(self, ids):
        return self.table(ids)
    def prefill(self, ids, capacity):
        return self.table(ids)[:, -1], ()
    def decode(self, token, cache):
        return self.table(token)[:, -1], cache

def build_model(config): return Table(config.vocabulary)
def make_batch(config, batch_size, device): return (torch.zeros(batch_size, 3, dtype=torch.long, device=device),), None
def loss(outputs, targets): return outputs.sum()
def make_optimizer(parameters): return torch.optim.SGD(parameters, lr=1.0)
def make_prompt(config, batch_size, length, device):
    return torch.randint(config.vocabulary, (batch_size, length), device=device)
'''


def write_model(folder: Path, change: Callable[[str], str] = lambda text: text) -> str:
    path = folder / "markov.py"
    path.write_text(change(MARKOV))
    return str(path)


def test_a_user_s_file_generates_by_three_names(tmp_path: Path) -> None:
    case = make_case(write_model(tmp_path))
    counts = generation.measure_case(case)
    assert counts.parameters == 49
    assert counts.cache is not None
    assert (counts.cache.held_bytes, counts.cache.predicted_bytes) == (0, None)
    assert counts.flops is not None
    assert counts.flops.decode_rule_flops is None  # nobody said how wide its attention is


def test_a_promised_method_that_is_missing_is_named(tmp_path: Path) -> None:
    spec = write_model(tmp_path, lambda text: text.replace("def decode", "def decipher"))
    with pytest.raises(ModelError, match="Table has no method 'decode'"):
        generation.time_case(make_case(spec), QUICK)


def test_preparing_leaves_gradients_off_and_the_model_in_eval_mode() -> None:
    with generation._prepared(make_case(precision=Precision.BF16_AMP)) as (model, _, prompt):
        assert not model.training
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert prompt.shape == (2, 5)


def test_precision_is_a_context_of_every_step() -> None:
    workload = registry.resolve(SPECS[0])
    with prepare(workload, Cell(model=SPECS[0], batch_size=1)) as step, step.precision():
        assert not torch.is_autocast_enabled("cpu")
