"""What makers document of their devices, by the exact name the driver gives; an unknown device is None.

Dense figures only: data sheets that print tensor-core rates "with sparsity" are halved here. FP32 is the rate without
tensor cores, FP64 the rate with them. A relative's value never stands in: `NVIDIA L4` is no `NVIDIA L40S`.
"""

from __future__ import annotations

from bench.core.peaks import Datasheet
from bench.core.precision import Arithmetic

_A100 = {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12, "fp16": 312e12, "fp64": 19.5e12}
_H100_SXM = {"fp32": 66.9e12, "tf32": 494.7e12, "bf16": 989.4e12, "fp16": 989.4e12, "fp64": 66.9e12, "fp8": 1978.9e12}
_V100_SXM = {"fp32": 15.7e12, "fp16": 125e12, "fp64": 7.8e12}
_V100_PCIE = {"fp32": 14e12, "fp16": 112e12, "fp64": 7e12}
_A100_SOURCE = "NVIDIA A100 Tensor Core GPU datasheet, r4"
_H100_SOURCE = "NVIDIA H100 Tensor Core GPU architecture whitepaper"
_V100_SOURCE = "NVIDIA V100 Tensor Core GPU datasheet"

_SHEETS: dict[str, tuple[dict[str, float], float, str]] = {
    "NVIDIA A100-SXM4-40GB": (_A100, 1.555e12, _A100_SOURCE),
    "NVIDIA A100-PCIE-40GB": (_A100, 1.555e12, _A100_SOURCE),
    "NVIDIA A100-SXM4-80GB": (_A100, 2.039e12, _A100_SOURCE),
    "NVIDIA A100 80GB PCIe": (_A100, 1.935e12, _A100_SOURCE),
    "NVIDIA H100 80GB HBM3": (_H100_SXM, 3.35e12, _H100_SOURCE),
    "NVIDIA H100 PCIe": (
        {"fp32": 51.2e12, "tf32": 378e12, "bf16": 756e12, "fp16": 756e12, "fp64": 51.2e12, "fp8": 1513e12},
        2.0e12,
        _H100_SOURCE,
    ),
    "NVIDIA H100 NVL": (
        {"fp32": 60e12, "tf32": 417.5e12, "bf16": 835.5e12, "fp16": 835.5e12, "fp64": 60e12, "fp8": 1670.5e12},
        3.9e12,
        "NVIDIA H100 Tensor Core GPU datasheet",
    ),
    "NVIDIA H200": (_H100_SXM, 4.8e12, "NVIDIA H200 Tensor Core GPU datasheet (rates of the H100 SXM)"),
    "NVIDIA GH200 480GB": (_H100_SXM, 4.0e12, "NVIDIA GH200 Grace Hopper datasheet (rates of the H100 SXM)"),
    "NVIDIA B200": (
        {"fp32": 80e12, "tf32": 1100e12, "bf16": 2250e12, "fp16": 2250e12, "fp64": 40e12, "fp8": 4500e12},
        8.0e12,
        "NVIDIA Blackwell architecture technical brief (HGX B200, 1000 W)",
    ),
    "NVIDIA L4": (
        {"fp32": 30.3e12, "tf32": 60e12, "bf16": 121e12, "fp16": 121e12, "fp8": 242.5e12},
        0.3e12,
        "NVIDIA L4 Tensor Core GPU datasheet",
    ),
    "NVIDIA L40S": (
        {"fp32": 91.6e12, "tf32": 183e12, "bf16": 362.05e12, "fp16": 362.05e12, "fp8": 733e12},
        0.864e12,
        "NVIDIA L40S datasheet",
    ),
    "NVIDIA A10": (
        {"fp32": 31.2e12, "tf32": 62.5e12, "bf16": 125e12, "fp16": 125e12},
        0.6e12,
        "NVIDIA A10 Tensor Core GPU datasheet",
    ),
    "Tesla T4": ({"fp32": 8.1e12, "fp16": 65e12}, 0.32e12, "NVIDIA T4 Tensor Core GPU datasheet"),
    "Tesla V100-SXM2-16GB": (_V100_SXM, 0.9e12, _V100_SOURCE),
    "Tesla V100-SXM2-32GB": (_V100_SXM, 0.9e12, _V100_SOURCE),
    "Tesla V100-PCIE-16GB": (_V100_PCIE, 0.9e12, _V100_SOURCE),
    "Tesla V100-PCIE-32GB": (_V100_PCIE, 0.9e12, _V100_SOURCE),
    "NVIDIA GeForce RTX 3090": (
        {"fp32": 35.6e12, "tf32": 35.6e12, "bf16": 71e12, "fp16": 71e12},
        0.936e12,
        "NVIDIA Ampere GA102 architecture whitepaper (products added up in fp32)",
    ),
    "NVIDIA GeForce RTX 4090": (
        {"fp32": 82.6e12, "tf32": 82.6e12, "bf16": 165.2e12, "fp16": 165.2e12, "fp8": 330.3e12},
        1.008e12,
        "NVIDIA Ada GPU architecture whitepaper (products added up in fp32)",
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
        flops_per_second=tuple((Arithmetic(kind), rate) for kind, rate in rates.items()),
        bytes_per_second=bandwidth,
        source=source,
    )
