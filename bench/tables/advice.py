"""The words for every doubt: what it means for the figures, and what to do. Facts come from the `Advice` value.

The facts of one kind of advice in several cells are shortened to ranges, examples, or ratios if these say more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.core.advice import NEEDS_MORE_STEPS, UNFIT_TO_COMPARE, Advice, AdviceKind, Facts
from bench.core.record import Record, Sampling
from bench.core.units import counted, format_bytes, format_count, format_seconds
from bench.suite.commands import longer_commands, retry_command
from bench.tables.figures import plain, ratio_text, significant


def _facts_text(kind: AdviceKind, all_facts: Sequence[Facts]) -> str:
    derived = _DERIVED.get(kind)
    return (derived(all_facts) if derived else "") or _joined(all_facts)


def _disagreements(all_facts: Sequence[Facts]) -> str:
    """Describe how far each other counter is from ours, as its share: `fvcore 0.333x to 0.950x in forward`."""
    ratios: dict[tuple[str, str], list[float]] = {}
    for facts in all_facts:
        values = {name: value for name, value in facts if not isinstance(value, str)}
        for phase in ("forward", "backward"):
            ours = values.pop(f"{phase}_flops", None)
            for name, theirs in values.items():
                if ours and name.endswith(f"_{phase}_flops"):
                    counter = name.removesuffix(f"_{phase}_flops")
                    ratios.setdefault((counter, phase), []).append(theirs / ours)
    parts = []
    for (counter, phase), found in ratios.items():
        share = _range(f"{ratio_text(value)}x" for value in (min(found), max(found)))
        parts.append(f"{plain(counter)} {share} of ours in {phase}")
    return ", ".join(parts)


def _gaps(all_facts: Sequence[Facts]) -> str:
    """Describe the part of the step that no phase explains, signed as in tables: `the gap is -7 % to +11 %`."""
    gaps = []
    for facts in all_facts:
        values = {name: value for name, value in facts if not isinstance(value, str)}
        if "phase_sum_seconds" in values and values.get("step_seconds"):
            gaps.append(1 - values["phase_sum_seconds"] / values["step_seconds"])
    return f"the gap is {_signed_percent(gaps)} of the step" if gaps else ""


def _from_steps(what: str, all_facts: Sequence[Facts]) -> str:
    """Describe the result of a number of steps: `no interval from 20 to 60 steps`."""
    steps = [int(value) for facts in all_facts for name, value in facts if name == "steps"]
    return f"{what} from {_range(f'{n:,}' for n in (min(steps), max(steps)))} steps" if steps else ""


def _drifts(all_facts: Sequence[Facts]) -> str:
    """Describe by how much the last third of the steps is slower than the first."""
    found = [float(value) for facts in all_facts for name, value in facts if name == "drift_fraction"]
    return f"the last third of the steps took {_signed_percent(found)} against the first" if found else ""


def _signed_percent(fractions: Sequence[float]) -> str:
    return _range(f"{value * 100:+.0f} %" for value in (min(fractions), max(fractions)))


def _range(ends: Iterable[str]) -> str:
    """Join the two ends of a range; write one if they read alike."""
    low, high = ends
    return low if low == high else f"{low} to {high}"


def _waits(all_facts: Sequence[Facts]) -> str:
    """Describe the waiting of a step: `with 0 workers it waits 12.3 ms and works 4.56 ms: 73 % ...`."""
    parts = []
    for facts in all_facts:
        values = {name: value for name, value in facts if not isinstance(value, str)}
        if {"wait_seconds", "step_seconds", "wait_fraction", "workers"} <= set(values):
            wait, work = format_seconds(values["wait_seconds"]), format_seconds(values["step_seconds"])
            share, workers = values["wait_fraction"] * 100, int(values["workers"])
            with_workers = f"with {counted(workers, 'worker')}"
            parts.append(f"{with_workers} it waits {wait} and works {work}: {share:.0f} % of the time is waiting")
    return "; ".join(parts)


_DERIVED: dict[AdviceKind, Callable[[Sequence[Facts]], str]] = {
    AdviceKind.FLOPS_DISAGREE: _disagreements,
    AdviceKind.FEW_SAMPLES: functools.partial(_from_steps, "no interval"),
    AdviceKind.NOISY_SAMPLES: functools.partial(_from_steps, "a wide interval"),
    AdviceKind.DRIFTING_SAMPLES: _drifts,
    AdviceKind.PHASE_GAP: _gaps,
    AdviceKind.DATA_STARVED: _waits,
}
"""Kinds whose facts are clearer as ratios or sentences."""


def _joined(all_facts: Sequence[Facts]) -> str:
    """Join the facts of several cells: one value as it is, several numbers as a range, several texts by example."""
    values: dict[str, list[str | int | float]] = {}
    for facts in all_facts:
        for name, value in facts:
            values.setdefault(name, []).append(value)
    parts = []
    for name, found in values.items():
        numbers = [value for value in found if not isinstance(value, str)]
        if numbers:
            text = _range(_fact_value(name, value) for value in (min(numbers), max(numbers)))
        else:
            texts = list(dict.fromkeys(plain(str(value)) for value in found))
            text = texts[0] if len(texts) == 1 else f"{texts[0]}, and {len(texts) - 1} more"
        parts.append(text if name in {"reason", "reasons"} else f"{_fact_name(name)} {text}")
    return ", ".join(parts)


def _fact_name(name: str) -> str:
    for suffix in ("_seconds", "_bytes", "_fraction", "_celsius", "_flops"):
        name = name.removesuffix(suffix)
    return plain(name.replace("_", " "))


def _fact_value(name: str, value: str | int | float) -> str:
    """Print a number by the unit in the fact's name."""
    if isinstance(value, str):
        return plain(value)
    if name.endswith("_seconds"):
        return format_seconds(value)
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name.endswith("_flops"):
        return format_count(value, "FLOPs")
    if name.endswith("_celsius"):
        return f"{value:.0f} °C"
    if name.endswith("_fraction") or name in {"target", "half_width", "residual", "tolerance", "gap"}:
        return f"{significant(value * 100, 2)} %"
    return f"{value:,}" if isinstance(value, int) else significant(value)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a kind of advice.

    Attributes:
        mark: One letter, for the table. Kinds with the same remedy share these words, and so the letter.
        title: Name of the doubt.
        meaning: What it means for the figures.
        remedy: What to do.
    """

    mark: str
    title: str
    meaning: str
    remedy: str


_SHORT = Words(
    "N",
    "Needs more steps",
    "too few or too uneven steps for a narrow interval, or steps that still grew slower or faster",
    "Measure longer with --budget.",
)

WORDS: dict[AdviceKind, Words] = {
    **dict.fromkeys(NEEDS_MORE_STEPS, _SHORT),
    AdviceKind.LAUNCH_BOUND: Words(
        "L",
        "Launch-bound",
        "the host launches work more slowly than the device does it: this is the time of the host, not of the device",
        "Take a larger batch, or --compile reduce-overhead.",
    ),
    AdviceKind.BUSY_MACHINE: Words(
        "B",
        "Busy machine",
        "other processes held cores that the threads needed; times are too long, and not comparable",
        "Measure again when they have ended, or with fewer --threads.",
    ),
    AdviceKind.LOW_PEAKS: Words(
        "p",
        "Peaks too low",
        "the device's peaks were measured on a busy machine, so MFU and the share of the roof are too high",
        "`bench machine peaks` on a quiet machine; a higher peak replaces a lower one.",
    ),
    AdviceKind.THROTTLED_CLOCK: Words(
        "T",
        "Throttled clock",
        "the device lowered its clock while it was measured (heat or power)",
        "Let it cool down, or lock its clock (nvidia-smi -lgc), and measure again.",
    ),
    AdviceKind.CLOCK_NOT_LOCKED: Words(
        "l",
        "Clock not locked",
        "--lock-clocks was asked for, and the driver refused; the clock moved as usual",
        "Measure as an administrator, or have one lock it (nvidia-smi -lgc).",
    ),
    AdviceKind.SHARED_GPU: Words(
        "g",
        "Shared GPU",
        "other processes compute on the same GPU; times can be several times too long, and its free memory changes",
        "Stop the other work (nvidia-smi lists it), or take another GPU (-d cuda:1).",
    ),
    AdviceKind.PHASE_GAP: Words(
        "G",
        "Phase gap",
        "the phases do not add up to the unsplit step; from 20 % on they are not shown",
        "Believe the step; read the phases as shares only.",
    ),
    AdviceKind.FLOPS_DISAGREE: Words(
        "D",
        "FLOPs disagree",
        "two counters give different FLOPs for the same pass, and no known cause explains it",
        "`bench count --explain` shows both, by operation.",
    ),
    AdviceKind.FLOPS_LOWER_BOUND: Words(
        "A",
        "FLOPs at least",
        "operations ran for which there is no formula; the true count is higher",
        "`bench count` names the operations; do not derive a utilisation from this count.",
    ),
    AdviceKind.FLOPS_UNMEASURED: Words(
        "U",
        "FLOPs unmeasured",
        "no count could be made; it is not 0",
        "`bench count` says why.",
    ),
    AdviceKind.SKIPPED_UPDATES: Words(
        "k",
        "Skipped updates",
        "fp16 gradients overflowed while the step was timed, and the GradScaler left the optimizer out of those steps",
        "Use bf16-amp, or a model and a loss whose gradients fit into fp16.",
    ),
    AdviceKind.NONFINITE_LOSS: Words(
        "X",
        "Loss not finite",
        "the loss was NaN or infinite; times can differ from those of healthy training",
        "Check the precision and the learning rate; fp16 needs its GradScaler (fp16-amp).",
    ),
    AdviceKind.COUNT_FAILED: Words(
        "C",
        "Count failed",
        "a counter raised this error; times are valid, the counts named are missing",
        "Fix what the error names, or give the model inputs that it takes.",
    ),
    AdviceKind.RANDOM_STEP: Words(
        "r",
        "Random step",
        "the model's work depends on random numbers; the counts are those of this seed, and another seed gives others",
        "Compare counts of the same seed only; times spread with the draws.",
    ),
    AdviceKind.GRAD_MODE: Words(
        "i",
        "No inference mode",
        "the model differentiates in its forward pass, so it ran under this mode and not under inference_mode",
        "Nothing is wrong; compare it with runs of the same mode.",
    ),
    AdviceKind.MEMORY_UNMEASURED: Words(
        "M",
        "Memory unmeasured",
        "the peak could not be read",
        "See the reason; the predicted peak may still be known.",
    ),
    AdviceKind.MEMORY_TOO_SMALL: Words(
        "P",
        "Predicted too large",
        "the predicted peak exceeds the memory that was free, so the cell was not tried",
        "Free memory, take a smaller batch (`bench fit` finds the largest), or try anyway with --no-predict.",
    ),
    AdviceKind.OVERSUBSCRIBED: Words(
        "O",
        "Oversubscribed ranks",
        "the ranks together have more threads than there are cores, so they take turns; times are too long",
        "Take fewer --threads (of each rank) or a smaller --world-size, or measure on more cores.",
    ),
    AdviceKind.SETTINGS_CHANGED: Words(
        "s",
        "Settings changed",
        "the model changed torch's settings (threads, default dtype or flags), so it ran under others than the "
        "record's environment says",
        "Leave settings out of the model's file; choose threads by --threads and types by --precision.",
    ),
    AdviceKind.BATCH_TOO_SMALL: Words(
        "S",
        "Batch too small",
        "measured at this batch and at half of it, most of a step costs the same whatever the batch",
        "Take a larger batch (-b), or --compile; `bench profile --try` measures four times the batch.",
    ),
    AdviceKind.OPTIMIZER_DOMINATED: Words(
        "E",
        "Optimizer-dominated",
        "updating the weights takes a large share of the profiled step",
        "Try a fused optimizer (--optimizer NAME-fused); `bench profile --try` measures it where there is one.",
    ),
    AdviceKind.MEMORY_BOUND_LAYER: Words(
        "Y",
        "Memory-bound layer",
        "it does fewer FLOPs per byte than the device can do while it moves one: it waits for memory",
        "Fuse it with its neighbours (--compile), or move fewer bytes (--precision bf16-amp).",
    ),
    AdviceKind.HIDDEN_SYNC: Words(
        "H",
        "Hidden synchronisation",
        "a line reads a tensor's value, and on an accelerator the host then waits until all queued work is done",
        "Keep the value in a tensor, or read it after many steps; `bench profile` lists the lines.",
    ),
    AdviceKind.UNUSED_PARAMETERS: Words(
        "Z",
        "Unused parameters",
        "trainable parameters had no gradient after a backward pass: they never train, and the optimizer skips them",
        "Use them, remove them, or call requires_grad_(False).",
    ),
    AdviceKind.RECOMPILATION: Words(
        "R",
        "Recompilation",
        "torch.compile compiled graphs again after the first step",
        "TORCH_LOGS=recompiles names the guard that failed; keep shapes and Python values the same between steps.",
    ),
    AdviceKind.TF32_OFF: Words(
        "V",
        "TF32 is off",
        "fp32 products run without the device's matrix units",
        "Try --precision tf32 if ten bits of mantissa are enough; `bench profile --try` measures it.",
    ),
    AdviceKind.CHANNELS_LAST: Words(
        "K",
        "Channels last",
        "2-d convolutions take a large share of the profiled step, in the contiguous layout",
        "Try --memory-format channels_last; a time ratio, if there is one, was measured by --try.",
    ),
    AdviceKind.BF16_SLOWER: Words(
        "J",
        "bf16 slower than fp32",
        "the same step was measured in fp32, in turn with this one, and took less time",
        "Use --precision fp32 on this device.",
    ),
    AdviceKind.PROFILER_OVERHEAD: Words(
        "Q",
        "Profiler overhead",
        "plain steps, in turn with the profiled ones, took much less time; rows are corrected by the events in them",
        "Believe the step; read small shares with care, or take a larger batch.",
    ),
    AdviceKind.DATA_STARVED: Words(
        "I",
        "Input-starved",
        "the step waits for its input pipeline, so a faster model or device would gain little",
        "Give the loader more --workers or a larger --prefetch (`bench pipeline` compares them), or make it cheaper.",
    ),
}
"""Every kind of advice; a test holds it complete."""


def marks(record: Record) -> str:
    """Return the letters of a record's doubts, in the order of `WORDS`."""
    return marks_of({advice.kind for advice in record.advice})


def marks_of(kinds: Collection[AdviceKind]) -> str:
    """Return the letters of some kinds of doubt, in the order of `WORDS`."""
    return "".join(words.mark for words, of_words in _by_words() if not of_words.isdisjoint(kinds)) if kinds else ""


@functools.cache
def _by_words() -> tuple[tuple[Words, set[AdviceKind]], ...]:
    """Group the kinds of advice by their words, in the order of `WORDS`."""
    grouped: dict[Words, set[AdviceKind]] = {}
    for kind, words in WORDS.items():
        grouped.setdefault(words, set()).add(kind)
    return tuple(grouped.items())


def advice_sentences(records: Sequence[Record], run: str = "RUN") -> tuple[tuple[str, str], ...]:
    """Describe all doubts, one per kind: `(mark, "Noisy samples in 7 of 36 cells (...): ... What to do.")`.

    Args:
        records: Records in the order of the rows.
        run: What the command that measures longer calls the run of the records.
    """
    return tuple(
        (words.mark, sentence(words, advice, where, cure)) for words, advice, where, cure in _doubts(records, run)
    )


def short_advice(records: Sequence[Record], run: str = "RUN") -> tuple[tuple[str, str], ...]:
    """Name all doubts, one line each, with the command where one cures it: `("B", "Busy machine in all 36 cells.")`.

    Arguments as for `advice_sentences`.
    """
    return tuple(
        (words.mark, f"{words.title}{where}.{f' {cure}' if cure else ''}")
        for words, _, where, cure in _doubts(records, run)
    )


def _doubts(records: Sequence[Record], run: str) -> Iterator[tuple[Words, list[Advice], str, str]]:
    """Yield the words of each doubt with its advice, where it is, and the command that cures it (or nothing)."""
    doubted = [record for record in records if record.advice]
    for words, kinds in _by_words():
        cells = [record for record in doubted if any(one.kind in kinds for one in record.advice)]
        if cells:
            advice = [one for record in cells for one in record.advice if one.kind in kinds]
            yield words, advice, _where(cells, len(records)), _cure(words, cells, run)


def sentence(words: Words, advice: Sequence[Advice], where: str = "", cure: str = "") -> str:
    """Describe a doubt: its facts, of one or many cells, what it means, and what to do."""
    known = "; ".join(
        text
        for kind in dict.fromkeys(one.kind for one in advice)
        if (text := _facts_text(kind, [one.facts for one in advice if one.kind is kind]))
    )
    detail = f" ({known})" if known else ""
    return f"{words.title}{where}{detail}: {words.meaning}. {cure or words.remedy}"


def _cure(words: Words, cells: Sequence[Record], run: str) -> str:
    """Return the command that cures a doubt, if there is one; more steps are worth little while other work disturbs."""
    if words is WORDS[AdviceKind.BUSY_MACHINE] and all(record.cell.nodes == 1 for record in cells):
        return f"Measure again when the machine is quiet: `{plain(retry_command(run))}`."
    if words is not _SHORT:
        return ""
    calm = [record for record in cells if not any(one.kind in UNFIT_TO_COMPARE for one in record.advice)]
    if calm:
        return _longer(calm, run)
    disturbed = {one.kind for record in cells for one in record.advice if one.kind in UNFIT_TO_COMPARE}
    return f"See {', '.join(marks_of(disturbed))} first."


def _longer(records: Sequence[Record], run: str) -> str:
    """Return the commands that measure these cells with the same options, ten times as long, at least ten seconds."""
    sampling = next((record.sampling for record in records if record.sampling), Sampling())
    advice = [one for record in records for one in record.advice if one.kind in NEEDS_MORE_STEPS]
    spent = [float(value) for one in advice for name, value in one.facts if name == "budget_seconds" and value]
    sharing = sampling.processes if sampling.tail else 1  # several processes share the budget of a tail
    seconds = max([10.0, *(10 * sharing * value for value in spent)])
    commands = longer_commands([record.cell for record in records], sampling, seconds, run)
    return f"Measure longer: {' and '.join(f'`{plain(command)}`' for command in commands)}."


def loose_advice_sentences(advice: Sequence[Advice]) -> tuple[tuple[str, str], ...]:
    """Make the sentences of doubts that belong to no record, one per kind."""
    found = [(words, [one for one in advice if one.kind in kinds]) for words, kinds in _by_words()]
    return tuple((words.mark, sentence(words, own)) for words, own in found if own)


def _where(cells: Sequence[Record], total: int) -> str:
    if total == 1:
        return ""
    if len(cells) == total:
        return f" in all {total} cells"
    if len(cells) == 1:
        return f" in {plain(cells[0].cell.id)}"
    return f" in {len(cells)} of {total} cells"
