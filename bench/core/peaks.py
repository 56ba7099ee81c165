"""What a device can do at most: measured by probes on this very device, and what its maker documents beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from bench.core.cell import Precision
from bench.core.environment import BUSY_CORES_LIMIT
from bench.core.precision import Arithmetic

SCHEMA = 1
"""Version of the peaks files. History: 1 (2026-11-23) first."""


class ProbeKind(StrEnum):
    """What a probe exercises."""

    MATMUL = "matmul"
    COPY = "copy"
    TRIAD = "triad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of one size.

    Attributes:
        arithmetic: Arithmetic of a matrix product; None for memory probes.
        size: Rows of the square matrices, or bytes of one array.
        work: FLOPs (1 MAC = 2) or bytes read and written by one execution.
        best_per_second: Rate of the fastest execution: what the device can do.
        median_per_second: Rate of the median execution: what it does on the whole, now.
        n: Timed executions.
        other_busy_cores: Cores that other processes kept busy meanwhile, or None if unknown.
    """

    kind: ProbeKind
    arithmetic: Arithmetic | None = None
    size: int
    work: int
    best_per_second: float
    median_per_second: float
    n: int
    other_busy_cores: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasheet:
    """What the maker documents of a device, dense (without sparsity); None is not documented or not known to us.

    Attributes:
        device: The exact name that the driver gives.
        flops_per_second: Rates by arithmetic.
        bytes_per_second: Rate of the device memory.
        source: Document.
    """

    device: str
    flops_per_second: tuple[tuple[Arithmetic, float], ...]
    bytes_per_second: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The roof over one cell: what its device can do in its arithmetic.

    Attributes:
        flops_per_second: Measured by the probe of this arithmetic; None if there is none.
        bytes_per_second: Measured, the better of copy and triad.
        documented_flops_per_second: Rate of the data sheet.
        documented_bytes_per_second: Rate of the data sheet.
        other_busy_cores: Cores that other processes kept busy during the worse of the two probes; None if unknown.
        measured_at: ISO 8601.
    """

    arithmetic: Arithmetic
    flops_per_second: float | None = None
    bytes_per_second: float | None = None
    documented_flops_per_second: float | None = None
    documented_bytes_per_second: float | None = None
    other_busy_cores: float | None = None
    measured_at: str

    @property
    def is_doubtful(self) -> bool:
        """Whether it was measured on a busy machine, so that the device can do more."""
        return self.other_busy_cores is not None and self.other_busy_cores > BUSY_CORES_LIMIT

    @property
    def ridge(self) -> float | None:
        """FLOPs per byte above which arithmetic, not memory, is the limit."""
        if self.flops_per_second is None or not self.bytes_per_second:
            return None
        return self.flops_per_second / self.bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """All probes of one device.

    Attributes:
        device: `cpu` or `cuda:N`.
        name: Name of the processor or the GPU.
        fingerprint: Fingerprint of the machine; only cells of the same one are compared with these peaks.
        threads: Threads that the probes used on a CPU.
        skipped: Arithmetic and why it was not probed.
        datasheet: None where we know of none for exactly this device.
        other_busy_cores: Cores that other processes kept busy during the last probing; then it measured too little.
        throttle_reasons: Why the GPU lowered its clock meanwhile; then, too. None if not seen.
        other_processes: Processes of others that computed on the GPU meanwhile; then, too.
    """

    device: str
    name: str
    fingerprint: str
    threads: int
    probes: tuple[Probe, ...]
    skipped: tuple[tuple[Arithmetic, str], ...] = ()
    datasheet: Datasheet | None = None
    other_busy_cores: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    other_processes: int | None = None
    measured_at: str
    schema: int = field(default=SCHEMA)

    @property
    def is_disturbed(self) -> bool:
        """Whether others worked beside the last probing, or heat or a fault lowered the clock: it is too low."""
        is_busy = (self.other_busy_cores or 0.0) > BUSY_CORES_LIMIT
        is_hot = not {"thermal", "hardware"}.isdisjoint(self.throttle_reasons or ())
        return is_busy or bool(self.other_processes) or is_hot

    def best(self, kind: ProbeKind, arithmetic: Arithmetic | None = None) -> Probe | None:
        """Return the fastest probe of one kind, or None."""
        found = [probe for probe in self.probes if probe.kind is kind and probe.arithmetic is arithmetic]
        return max(found, key=lambda probe: probe.best_per_second, default=None)

    def over(self, precision: Precision) -> Peak:
        """Return the roof over cells of one precision."""
        arithmetic = precision.row.arithmetic
        product = self.best(ProbeKind.MATMUL, arithmetic)
        copies = [probe for kind in (ProbeKind.COPY, ProbeKind.TRIAD) if (probe := self.best(kind))]
        memory = max(copies, key=lambda probe: probe.best_per_second, default=None)
        sheet = self.datasheet
        busy = [cores for probe in (product, memory) if probe and (cores := self._busy_cores(probe)) is not None]
        return Peak(
            arithmetic=arithmetic,
            flops_per_second=product.best_per_second if product else None,
            bytes_per_second=memory.best_per_second if memory else None,
            documented_flops_per_second=dict(sheet.flops_per_second).get(arithmetic) if sheet else None,
            documented_bytes_per_second=sheet.bytes_per_second if sheet else None,
            other_busy_cores=max(busy, default=None),
            measured_at=self.measured_at,
        )

    def over_earlier(self, earlier: Peaks) -> Peaks:
        """Join with what was kept before: of each probe the faster one stands, for no device is faster than it can be.

        Whether to doubt it depends on the quieter of the two machines: what was not beaten there is not too low.
        """
        found: dict[tuple[ProbeKind, Arithmetic | None, int], Probe] = {}
        for peaks, probe in [(self, probe) for probe in self.probes] + [(earlier, probe) for probe in earlier.probes]:
            key = probe.kind, probe.arithmetic, probe.size
            other = found.get(key, probe)
            busy = [cores for cores in (peaks._busy_cores(probe), other.other_busy_cores) if cores is not None]
            faster = max(other, probe, key=lambda one: one.best_per_second)
            found[key] = replace(faster, other_busy_cores=min(busy, default=None))
        probed = {probe.arithmetic for probe in found.values()}
        skipped = tuple(pair for pair in self.skipped if pair[0] not in probed)
        return replace(self, probes=tuple(found.values()), skipped=skipped)

    def _busy_cores(self, probe: Probe) -> float | None:
        """Return what was busy during a probe; files of before 2026-11-29 have one figure for all of them."""
        return self.other_busy_cores if probe.other_busy_cores is None else probe.other_busy_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdowns:
    """How many times as long as in fp32 a small training step takes, by precision.

    Attributes:
        device: `cpu` or `cuda:N`.
        fingerprint: Fingerprint of the machine.
        ratios: Precision and ratio; what could not be probed is not there.
    """

    device: str
    fingerprint: str
    ratios: tuple[tuple[Precision, float], ...]
    schema: int = 1
