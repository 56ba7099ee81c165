"""What makers document of their devices, by the exact name the driver gives; an unknown device is None.

Dense figures only: data sheets that print tensor-core rates "with sparsity" are halved here. FP32 is the rate without
tensor cores, FP64 the rate with them. A relative's value never stands in: `NVIDIA L4` is no `NVIDIA L40S`.
"""

from __future__ import annotations

from bench.core.peaks import Datasheet
from bench.core.precision import Arithmetic

_A100 = (("fp32", 19.5e12), ("tf32", 156e12), ("bf16", 312e12), ("fp16", 312e12), ("fp64", 19.5e12))
_H100_SXM = (("fp32", 66.9e12), ("tf32", 494.7e12), ("bf16", 989.4e12), ("fp16", 989.4e12), ("fp64", 66.9e12))
_A100_SOURCE = "NVIDIA A100 Tensor Core GPU datasheet, r4"
_H100_SOURCE = "NVIDIA H100 Tensor Core GPU architecture whitepaper"

_SHEETS: dict[str, tuple[tuple[tuple[str, float], ...], float, str]] = {
    "NVIDIA A100-SXM4-40GB": (_A100, 1.555e12, _A100_SOURCE),
    "NVIDIA A100-PCIE-40GB": (_A100, 1.555e12, _A100_SOURCE),
    "NVIDIA A100-SXM4-80GB": (_A100, 2.039e12, _A100_SOURCE),
    "NVIDIA A100 80GB PCIe": (_A100, 1.935e12, _A100_SOURCE),
    "NVIDIA H100 80GB HBM3": (_H100_SXM, 3.35e12, _H100_SOURCE),
    "NVIDIA H200": (_H100_SXM, 4.8e12, "NVIDIA H200 Tensor Core GPU datasheet (rates of the H100 SXM)"),
    "NVIDIA L4": (
        (("fp32", 30.3e12), ("tf32", 60e12), ("bf16", 121e12), ("fp16", 121e12)),
        0.3e12,
        "NVIDIA L4 Tensor Core GPU datasheet",
    ),
    "NVIDIA L40S": (
        (("fp32", 91.6e12), ("tf32", 183e12), ("bf16", 362.05e12), ("fp16", 362.05e12)),
        0.864e12,
        "NVIDIA L40S datasheet",
    ),
}


def datasheet(name: str) -> Datasheet | None:
    """Return what is documented of a device; None for every name that does not stand in the table exactly."""
    found = _SHEETS.get(name)
    if found is None:
        return None
    rates, bandwidth, source = found
    return Datasheet(
        device=name,
        flops_per_second=tuple((Arithmetic(kind), rate) for kind, rate in rates),
        bytes_per_second=bandwidth,
        source=source,
    )
