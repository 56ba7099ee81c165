"""What bounds a piece of work: the roofline model (S. Williams, A. Waterman, D. Patterson, CACM 52(4), 2009).

    attainable FLOP/s = min(peak FLOP/s, intensity * peak bytes/s)

intensity is FLOPs per byte. The bytes are those that operations read and write, each operation by itself: a lower bound
of the true intensity where a compiler fuses operations or a cache keeps what the next one reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.peaks import Peak


class Bound(StrEnum):
    """The roof that a point meets first."""

    COMPUTE = "compute"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One point under the roof.

    Attributes:
        intensity: FLOPs per byte.
        flops_per_second: Reached; None where no time is known.
        attainable_flops_per_second: The roof above the point.
        fraction: Reached over attainable; may exceed 1 where caches save the memory from what operations read.
    """

    intensity: float
    flops_per_second: float | None
    attainable_flops_per_second: float
    bound: Bound
    fraction: float | None


def place(flops: int | None, bytes_touched: int | None, seconds: float | None, peak: Peak | None) -> Placement | None:
    """Place work under the roof of its device; None where FLOPs, bytes or the peaks are unknown or zero."""
    if not flops or not bytes_touched or peak is None or not peak.flops_per_second or not peak.bytes_per_second:
        return None
    intensity = flops / bytes_touched
    attainable = min(peak.flops_per_second, intensity * peak.bytes_per_second)
    reached = flops / seconds if seconds else None
    return Placement(
        intensity=intensity,
        flops_per_second=reached,
        attainable_flops_per_second=attainable,
        bound=Bound.COMPUTE if attainable == peak.flops_per_second else Bound.MEMORY,
        fraction=None if reached is None else reached / attainable,
    )


def model_flops_utilization(flops_per_second: float | None, peak_flops_per_second: float | None) -> float | None:
    """Divide the model's FLOP/s by the device's peak (MFU; A. Chowdhery et al., PaLM, 2022, appendix B).

    The model's FLOPs are those of its definition, forward and backward; recomputation does not raise the utilization.
    """
    if flops_per_second is None or not peak_flops_per_second:
        return None
    return flops_per_second / peak_flops_per_second
