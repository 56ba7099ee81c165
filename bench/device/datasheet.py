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
_A100_SOURCE = "NVIDIA A100 datasheet r4, quoted at glennklockwood.com/garden/processors/A100"
_A100_PCIE_SOURCE = f"{_A100_SOURCE}; bandwidth: thundercompute.com/blog/nvidia-a100-specs-full-guide"
_H100_SOURCE = "NVIDIA H100 whitepaper, quoted at glennklockwood.com/garden/processors/h100"
_V100_SXM_SOURCE = (
    "developer.nvidia.com/programming-tensor-cores-cuda-9-0; hmc-tech.com/gpu/nvidia-t4-vs-nvidia-v100-sxm"
)
_V100_PCIE_SOURCE = "NVIDIA's announcement of the V100 PCIe, reported at io-tech.fi"

# Compared on 2026-11-29 with excerpts of the pages named; NVIDIA's own documents could not be opened then. Not on them:
# bf16 of the L4 (taken as its fp16), fp32 and tf32 of the H200 (as the H100's), the V100 SXM2 apart from the SXM3. What
# no page had is left out: the H100 NVL, the GH200, tensor cores of the RTX 3090.
_SHEETS: dict[str, tuple[dict[str, float], float, str]] = {
    "NVIDIA A100-SXM4-40GB": (_A100, 1.555e12, _A100_SOURCE),
    "NVIDIA A100-PCIE-40GB": (_A100, 1.555e12, _A100_PCIE_SOURCE),
    "NVIDIA A100-SXM4-80GB": (_A100, 2.039e12, _A100_SOURCE),
    "NVIDIA A100 80GB PCIe": (_A100, 1.935e12, _A100_PCIE_SOURCE),
    "NVIDIA H100 80GB HBM3": (_H100_SXM, 3.35e12, _H100_SOURCE),
    "NVIDIA H100 PCIe": (
        {"fp32": 51.2e12, "tf32": 378e12, "bf16": 756e12, "fp16": 756e12, "fp64": 51.2e12, "fp8": 1513e12},
        2.0e12,
        "archive-lib.hpctech.co.jp/gpuproduct/nvidia-h100.html, half of the rates with sparsity",
    ),
    "NVIDIA H200": (_H100_SXM, 4.8e12, f"itkb.uw.cz/2026/06/nvidia-h200-vs-b300-precisions-cores.html; {_H100_SOURCE}"),
    "NVIDIA B200": (
        {"fp32": 80e12, "tf32": 1100e12, "bf16": 2250e12, "fp16": 2250e12, "fp64": 40e12, "fp8": 4500e12},
        8.0e12,
        "NVIDIA Blackwell brief (HGX B200, 1000 W), quoted at glennklockwood.com/garden/processors/B200",
    ),
    "NVIDIA L4": (
        {"fp32": 30.3e12, "tf32": 60e12, "bf16": 121e12, "fp16": 121e12, "fp8": 242.5e12},
        0.3e12,
        "NVIDIA L4 datasheet, quoted at grokipedia.com/page/NVIDIA_L4_vs_L40S, half of the rates with sparsity; "
        "tf32: store.sourcecode.com/en-us/bg-bucket-compare/125/9820; fp32: fpsbench.com",
    ),
    "NVIDIA L40S": (
        {"fp32": 91.6e12, "tf32": 183e12, "bf16": 362.05e12, "fp16": 362.05e12, "fp8": 733e12},
        0.864e12,
        "NVIDIA L40S datasheet, quoted at mullet.se/product.html?product_id=355414",
    ),
    "NVIDIA A10": (
        {"fp32": 31.2e12, "fp16": 125e12},
        0.6e12,
        "gist.github.com/kimbochen; fp32: sysrqmts.com/ru/gpus/compare/nvidia-a10-pcie-vs-nvidia-quadro-rtx-4000",
    ),
    "Tesla T4": (
        {"fp32": 8.1e12, "fp16": 65e12},
        0.32e12,
        "NVIDIA's announcement of the T4, reported at geektopia.es; bandwidth: sysrqmts.com/en/gpus/nvidia/tesla/t4",
    ),
    "Tesla V100-SXM2-16GB": (_V100_SXM, 0.9e12, _V100_SXM_SOURCE),
    "Tesla V100-SXM2-32GB": (_V100_SXM, 0.9e12, _V100_SXM_SOURCE),
    "Tesla V100-PCIE-16GB": (_V100_PCIE, 0.9e12, _V100_PCIE_SOURCE),
    "Tesla V100-PCIE-32GB": (_V100_PCIE, 0.9e12, _V100_PCIE_SOURCE),
    "NVIDIA GeForce RTX 3090": (
        {"fp32": 35.6e12},
        0.936e12,
        "digitaltrends.com/?p=2981707; bandwidth: szpamela.com",
    ),
    "NVIDIA GeForce RTX 4090": (
        {"fp32": 82.6e12, "tf32": 82.6e12, "bf16": 165.2e12, "fp16": 165.2e12, "fp8": 330.3e12},
        1.008e12,
        "waredb.com/processor/nvidia-geforce-rtx-4090 (products added up in fp32)",
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
