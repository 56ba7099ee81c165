"""Hand-made Records for the tests of store and report: round figures, no clock, no torch."""

from __future__ import annotations

from dataclasses import replace

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, CompileMode, Mode, Precision
from bench.core.claim import CheckedClaim, Claim, ClaimVerdict, Erratum
from bench.core.environment import Environment, MachineState
from bench.core.record import (
    Counters,
    FlopCount,
    LayerCount,
    Memory,
    Opinion,
    Outcome,
    Phase,
    PredictedPeak,
    Record,
    Sample,
    Sampling,
)

STARTED_AT = "2026-11-23T17:53:09+00:00"
ENVIRONMENT = Environment(
    host="testhost",
    os="Linux",
    cpu="Test CPU",
    cores=2,
    memory_bytes=8 * 1024**3,
    python="3.11.9",
    torch="2.15.0",
    stepbench="0.1.0",
    threads=2,
    interop_threads=1,
)
SHARES = {Phase.FORWARD: 0.30, Phase.LOSS: 0.01, Phase.BACKWARD: 0.58, Phase.OPTIMIZER: 0.10}


def make_seconds(median: float, noise: float = 0.02, n: int = 40) -> tuple[float, ...]:
    """Spread n values evenly from median * (1 - noise) to median * (1 + noise), shuffled by a fixed stride."""
    offsets = [(2 * index + 1 - n) / n for index in range(n)]
    stride = next(step for step in range(n // 2 + 1, n + 2) if all(step % d or n % d for d in range(2, n + 1)))
    return tuple(median * (1 + noise * offsets[index * stride % n]) for index in range(n))


def make_samples(
    step: float, mode: Mode = Mode.TRAIN, noise: float = 0.02, n: int = 40, processes: int = 1
) -> tuple[Sample, ...]:
    phases = {Phase.STEP: 1.0, **(SHARES if mode is Mode.TRAIN else {Phase.FORWARD: 0.97})}
    return tuple(
        Sample(
            phase=phase,
            seconds=make_seconds(step * share * (1 + 0.02 * process), noise, n),
            warmup_seconds=(step * share * 1.4, step * share * 1.03, step * share),
            process=process,
            converged=noise <= 0.02 if phase is Phase.STEP else None,
        )
        for process in range(processes)
        for phase, share in phases.items()
    )


def make_counters(
    parameters: int = 9_547_360, forward: int | None = 2_000_000_000, uncounted: bool = False
) -> Counters:
    return Counters(
        parameters=parameters,
        trainable_parameters=parameters,
        buffers=0,
        flops=FlopCount(
            forward=forward,
            backward=None if forward is None else forward * 19 // 10,
            uncounted=(("aten.cdist", 2),) if uncounted else (),
            method="torch on meta",
        ),
        opinions=(Opinion(counter="fvcore", forward_flops=forward),),
        dispatches=(("aten.addmm", 2), ("aten.convolution", 3)),
        bytes_touched=120_000_000,
        saved_bytes=30_000_000,
        predicted_peak=PredictedPeak(
            total_bytes=200_000_000,
            weights_bytes=40_000_000,
            gradients_bytes=40_000_000,
            optimizer_state_bytes=80_000_000,
            inputs_bytes=1_000_000,
            saved_activations_bytes=30_000_000,
            temporary_bytes=9_000_000,
        ),
        memory=Memory(
            peak_resident_bytes=600_000_000, step_resident_bytes=210_000_000, method="VmHWM of a fresh child"
        ),
    )


def make_record(
    model: str = "my_net",
    batch_size: int = 8,
    precision: Precision = Precision.FP32,
    *,
    step: float | None = 0.0123,
    noise: float = 0.02,
    n: int = 40,
    processes: int = 1,
    mode: Mode = Mode.TRAIN,
    outcome: Outcome = Outcome.OK,
    reason: str | None = None,
    advice: tuple[Advice, ...] = (),
    counters: Counters | None = None,
    tokens_per_example: int | None = None,
    started_at: str = STARTED_AT,
    **axes: object,
) -> Record:
    """Make a Record; `step=None` makes one without samples and counters."""
    cell = Cell(model=model, batch_size=batch_size, precision=precision, mode=mode, **axes)  # type: ignore[arg-type]
    measured = step is not None
    return Record(
        cell=cell,
        outcome=outcome,
        reason=reason,
        environment=ENVIRONMENT,
        state=MachineState(load_1m=0.5) if measured else None,
        sampling=Sampling(),
        samples=make_samples(step, mode, noise, n, processes) if step is not None else (),
        counters=counters or (make_counters() if measured else Counters()),
        advice=advice,
        tokens_per_example=tokens_per_example,
        final_loss=3.4 if measured and mode is Mode.TRAIN else None,
        started_at=started_at,
        duration_seconds=2.5,
        stepbench="0.1.0",
    )


NOISY = Advice(kind=AdviceKind.NOISY_SAMPLES, facts=(("target", 0.02), ("steps", 40), ("budget_seconds", 1.0)))
BUSY = Advice(kind=AdviceKind.BUSY_MACHINE, facts=(("other_busy_cores", 1.5), ("load_1m", 3.2)))
LOWER_BOUND = Advice(kind=AdviceKind.FLOPS_LOWER_BOUND, facts=(("operation", "aten.cdist"), ("calls", 2)))


def begun(record: Record, *, build: float, first: float) -> Record:
    """Give a record a build and a warm-up whose first step took so long."""
    samples = (
        replace(s, build_seconds=build, warmup_seconds=(first, *s.seconds[:9]))
        if s.phase is Phase.STEP
        else replace(s, warmup_seconds=())
        for s in record.samples
    )
    return replace(record, samples=tuple(samples))


def make_begun() -> tuple[Record, Record]:
    """Make a cell that is not compiled, and the same one compiled, which pays off after 22 steps."""
    plain = begun(make_record(step=1.0), build=0.5, first=1.2)
    compiled = begun(make_record(step=0.5, compile=CompileMode.DEFAULT), build=0.6, first=11.0)
    return plain, compiled  # (0.6 + 10.5 - 0.5) / 0.5, about: no step of the plain cell is slow


def make_sweep() -> tuple[Record, ...]:
    """Make a sweep like the default suite's: models x batch sizes x precisions, with every kind of row."""
    models = {"mlp": 0.0004, "walkthrough_cnn": 0.089, "my_net": 0.0123, "lstm": 0.021, "transformer": 0.048}
    records = []
    for model, step in models.items():
        for batch_size in (8, 32):
            for precision in (Precision.FP32, Precision.BF16_AMP):
                seconds = step * (1 + batch_size / 10) * (0.7 if precision is Precision.BF16_AMP else 1)
                is_noisy = model == "mlp" and batch_size == 8
                records.append(
                    make_record(
                        model,
                        batch_size,
                        precision,
                        step=seconds,
                        noise=0.2 if is_noisy else 0.02,
                        advice=(NOISY, BUSY) if is_noisy else (),
                        tokens_per_example=64 if model in {"lstm", "transformer"} else None,
                        counters=make_counters(
                            parameters=1000 * (len(records) // 4 + 1) ** 6,
                            forward=25_000_000 * batch_size * (len(records) // 4 + 1),
                            uncounted=model == "lstm",
                        ),
                    )
                )
    records[3] = make_record(
        "mlp", 32, Precision.BF16_AMP, step=None, outcome=Outcome.SKIPPED, reason="cpu without bfloat16 instructions"
    )
    records[7] = make_record(
        "walkthrough_cnn",
        32,
        Precision.BF16_AMP,
        step=None,
        outcome=Outcome.OUT_OF_MEMORY,
        reason="tried to allocate 12.0 GiB with 3.1 GiB free, at forward of features.conv2 | step 1",
    )
    return tuple(records)


def make_layers() -> tuple[LayerCount, ...]:
    return (
        LayerCount(name="", type="MyNet"),
        LayerCount(
            name="conv1",
            type="Conv2d",
            parameters=896,
            trainable_parameters=896,
            output_shape=(8, 32, 48, 48),
            weight_shape=(32, 3, 3, 3),
            flops_forward=31_850_496,
            flops_backward=31_850_496,
            activation_bytes=2_359_296,
            bytes_touched=2_584_576,
        ),
        LayerCount(
            name="conv2",
            type="Conv2d",
            parameters=18_496,
            trainable_parameters=18_496,
            output_shape=(8, 64, 48, 48),
            flops_forward=679_477_248,
            flops_backward=1_358_954_496,
            activation_bytes=4_718_592,
            bytes_touched=7_151_872,
        ),
        LayerCount(name="dropout", type="Dropout", calls=2, output_shape=(8, 512)),
    )


def make_claims() -> tuple[CheckedClaim, ...]:
    erratum = Erratum(measured=18_874_880, reason="(64*24*24 + 1) * 512 is 18,874,880; the page's product is wrong")
    source = "HackTricks, Deep Learning"

    def claim(id_: str, value: object, quantity: str = "parameters", model: str = "my_net", **more: object) -> Claim:
        return Claim(id=id_, model=model, quantity=quantity, value=value, source=source, **more)  # type: ignore[arg-type]

    return (
        CheckedClaim(
            claim=claim("conv1.parameters", 896, layer="conv1", scope="weights and biases"),
            measured=896,
            verdict=ClaimVerdict.MATCH,
        ),
        CheckedClaim(
            claim=claim("conv1.shape", (None, 32, 48, 48), "output_shape", layer="conv1"),
            measured=(None, 32, 48, 48),
            verdict=ClaimVerdict.MATCH,
        ),
        CheckedClaim(
            claim=claim("conv2.parameters", 18_000, layer="conv2"),
            measured=18_496,
            verdict=ClaimVerdict.MISMATCH,
            reason="measured 18,496, documented 18,000",
        ),
        CheckedClaim(
            claim=claim("fc1.parameters", 3_221_504, layer="fc1", model="walkthrough_cnn", erratum=erratum),
            measured=18_874_880,
            verdict=ClaimVerdict.ERRATUM,
            reason=erratum.reason,
        ),
        CheckedClaim(
            claim=claim("ratio", 0.75, "parameters_ratio", model="gru", tolerance=0.01),
            measured=None,
            verdict=ClaimVerdict.UNMEASURED,
            reason="the model gru could not be built",
        ),
    )
