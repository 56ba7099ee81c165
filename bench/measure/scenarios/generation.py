"""Generate text with a language model: time to first token, then token by token.

`time_case` only times; `measure_case` reads the cache's bytes and counts FLOPs, in another process.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench import registry
from bench.core.cell import Cell, Mode
from bench.core.environment import MachineState
from bench.core.errors import ModelError
from bench.core.generation import CacheMemory, GenerationCase, GenerationCounts, GenerationTimes, TokenFlops
from bench.core.record import Sampling
from bench.core.workload import TextGenerator, Workload
from bench.counters.build import on_meta
from bench.counters.flops import count_workload
from bench.counters.parameters import count_parameters
from bench.device.backend import backend_of
from bench.device.prepare import prepare
from bench.measure.clock import Clock
from bench.measure.scenarios.calls import count_call, held_bytes, repeat, trace_calls, weights_met
from bench.measure.window import Window
from bench.registry.spec import parse

WARMUP_TOKENS = 8
"""A warm-up reads the whole prompt and writes this many tokens."""


def fitting_spec(spec: str, tokens: int) -> str:
    """Give a model room for texts of so many tokens, by its own option, unless the user has set that.

    Raises:
        ModelError: The model does not generate text, or its texts must be shorter.
    """
    generator = generator_of(registry.resolve(spec), spec)
    limit, option = generator.context_limit, generator.context_option
    if limit is None or tokens <= limit:
        return spec
    options = parse(spec).options
    if option is None or option in dict(options):
        raise ModelError(
            f"model {spec!r} takes texts of {limit} tokens, and prompt and new tokens together are {tokens}; "
            + (f"set {option}={tokens}" if option else "ask for fewer")
        )
    return f"{spec}{',' if options else '@'}{option}={tokens}"


def generator_of(workload: Workload, spec: str) -> TextGenerator:
    """Return how a workload generates text.

    Raises:
        ModelError: It does not.
    """
    if workload.generator is None:
        raise ModelError(
            f"model {spec!r} does not generate text: its file has no make_prompt, and its Workload no generator; "
            "docs/language-models.md says what they need"
        )
    return workload.generator


def time_case(
    case: GenerationCase, sampling: Sampling, gpu_uuid: str | None = None
) -> tuple[GenerationTimes, MachineState]:
    """Generate again and again, with a mark after each token; synchronises before and after each generation only."""
    times: list[tuple[list[float], list[float]]] = []
    window = Window(case.cell.device, gpu_uuid)
    with _prepared(case) as (model, generator, prompt):
        clock = window.clock
        beginning = replace(case, new_tokens=min(case.new_tokens, WARMUP_TOKENS))

        def generate_once() -> float:
            clock.start()
            generate(case, generator, model, prompt, clock)
            times.append(clock.collect())
            return sum(times[-1][0])

        def tokens() -> list[float]:
            return [second for seconds, _ in times for second in seconds[1:]]

        def warm_up() -> None:
            clock.start()
            generate(beginning, generator, model, prompt, clock)
            clock.collect()

        warmups, is_converged = repeat(generate_once, warm_up, case.cell.device, sampling, tokens, window)
        state = window.state()
    has_host = clock.name == "device"
    generation_times = GenerationTimes(
        first_token_seconds=tuple(seconds[0] for seconds, _ in times),
        token_seconds=tuple(tuple(seconds[1:]) for seconds, _ in times),
        clock=clock.name,
        host_first_token_seconds=tuple(host[0] for _, host in times) if has_host else (),
        host_token_seconds=tuple(tuple(host[1:]) for _, host in times) if has_host else (),
        warmup_generations=warmups,
        converged=is_converged,
    )
    return generation_times, state


def measure_case(case: GenerationCase) -> GenerationCounts:
    """Generate once and read what the cache holds; count FLOPs on tensors without storage."""
    workload = registry.resolve(case.cell.model, input_shape=case.cell.input_shape)
    flops, reason = None, None
    try:
        flops = count_token_flops(workload, case)
    except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the rest stands without this
        reason = f"FLOPs could not be counted: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    with _prepared(case) as (model, generator, prompt):
        parameters = count_parameters(model).parameters
        cache = read_cache(case, generator, model, prompt) if case.uses_cache else None
    return GenerationCounts(parameters=parameters, cache=cache, flops=flops, reason=reason)


def trace_case(case: GenerationCase, path: str) -> str:
    """Write a trace of a few generations; return in words what it holds."""
    with _prepared(case) as (model, generator, prompt):
        write = functools.partial(generate, case, generator, model, prompt)
        return trace_calls(write, model, case.id, case.cell.device, Path(path), "generation")


def generate(
    case: GenerationCase,
    generator: TextGenerator,
    model: torch.nn.Module,
    prompt: torch.Tensor,
    clock: Clock | None = None,
) -> tuple[torch.Tensor, Any]:
    """Write `new_tokens` tokens, each time the likeliest; a mark after each, if there is a clock.

    Returns:
        The new ids, `(B, new_tokens)`, and the cache in the end; None without one.
    """
    written: list[torch.Tensor] = []
    cache: Any = None
    text = prompt
    for index in range(case.new_tokens):
        if not case.uses_cache:
            logits = generator.logits(model, text)[:, -1]  # (B, V)
        elif index == 0:
            logits, cache = generator.prefill(model, prompt, case.total_tokens - 1)  # the last token is never read
        else:
            logits, cache = generator.decode(model, written[-1], cache)
        written.append(logits.argmax(-1, keepdim=True))  # (B, 1)
        if not case.uses_cache:
            text = torch.cat((text, written[-1]), dim=1)
        if clock is not None:
            clock.mark()
    return torch.cat(written, dim=1), cache


def read_cache(
    case: GenerationCase, generator: TextGenerator, model: torch.nn.Module, prompt: torch.Tensor
) -> CacheMemory:
    """Generate once; read the bytes of the cache's tensors, and the peak of an accelerator's allocator."""
    backend = backend_of(case.cell.device)
    backend.synchronize()
    backend.reset_peak()
    _, cache = generate(case, generator, model, prompt)
    formula = generator.cache_bytes
    value_bytes = case.cell.precision.row.activation_bytes
    return CacheMemory(
        predicted_bytes=formula(case.cell.batch_size, case.total_tokens - 1, value_bytes) if formula else None,
        held_bytes=held_bytes(cache),
        peak_allocated_bytes=backend.allocator().peak_allocated,
    )


def count_token_flops(workload: Workload, case: GenerationCase) -> TokenFlops:
    """Count one text's prefill, its last decoded token, and the model's training step, beside 2 N and 6 N."""
    generator = generator_of(workload, case.cell.model)
    model = on_meta(workload.build_model).eval()
    weights, width, context = weights_met(model), generator.attention_width, case.total_tokens - 1
    prompt = generator.make_prompt(1, case.prompt_tokens, "meta")
    decode = None
    if case.new_tokens > 1:
        with torch.inference_mode():
            _, cache = generator.prefill(model, generator.make_prompt(1, context - 1, "meta"), context)
        token = generator.make_prompt(1, 1, "meta")
        decode = count_call(model, lambda m, ids: generator.decode(m, ids, cache)[0], token)
    training, length = None, workload.tokens_per_example
    if length:
        counters, _ = count_workload(workload, mode=Mode.TRAIN, batch_size=1, opinions=False)
        total = counters.flops.total if counters.flops else None
        training = round(total / length) if total is not None else None
    return TokenFlops(
        weights=weights,
        context_tokens=context,
        prefill_flops=count_call(model, lambda m, ids: generator.prefill(m, ids, context)[0], prompt),
        decode_flops=decode,
        decode_rule_flops=None if width is None or decode is None else 2 * weights + 4 * context * width,
        training_flops=training,
        training_rule_flops=None if width is None or not length else 6 * weights + 12 * length * width,
        training_tokens=length,
    )


@contextlib.contextmanager
def _prepared(case: GenerationCase) -> Iterator[tuple[torch.nn.Module, TextGenerator, torch.Tensor]]:
    """Build model and prompt on the cell's device, in its precision, without gradients."""
    cell: Cell = replace(case.cell, mode=Mode.INFER, batch_size=1)  # a step's batch is made too, and not used
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    generator = generator_of(workload, cell.model)
    with prepare(workload, cell) as step, torch.inference_mode(), step.precision():
        prompt = generator.make_prompt(case.cell.batch_size, case.prompt_tokens, torch.device(cell.device))
        yield step.model, generator, prompt
