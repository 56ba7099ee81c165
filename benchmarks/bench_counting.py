"""Counting at scale: every torchvision model, a model of 70 billion parameters, and our speed against fvcore's.

Counts are exact and asserted; times are ratios inside one run. Figures go to `extra_info` and to the terminal.
"""

import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import pytest
import torch
import torchvision
from torchvision.models import WeightsEnum, get_model, get_model_weights, list_models

from bench import registry
from bench.core.cell import Mode
from bench.counters.build import on_meta
from bench.counters.flops import count_module, count_workload
from bench.counters.parameters import count_parameters
from bench.registry.torchvision import torchvision_names

ROUNDS = 3
QUICK = ("resnet18", "mobilenet_v2", "vit_b_16")
WITH_AUXILIARY_HEADS = {"googlenet", "inception_v3"}
"""Their auxiliary heads run in train mode only, so train and eval forward differ, and rightly so."""

LARGE_FIRST_LAYER = {"squeezenet1_0", "shufflenet_v2_x0_5"}
"""Their first convolution is over a fifth of the forward, and its input needs no gradient: 1.7953 and 1.7992."""

REAL_BATCH = 2
REAL_FLOPS_LIMIT = 4e9
"""Models whose forward is below this are also counted on real tensors."""

SEVENTY_BILLION = "decoder_lm@layers=80,width=8192,heads=64,kv_heads=8,ffn=28672,vocabulary=128256,sequence_length=4096"
_COUNT_SEVENTY_BILLION = f"""
import json, time
from bench import registry
from bench.core.cell import Mode
from bench.counters.flops import count_workload

def peak():  # of this program alone: ru_maxrss would remember the process that started it
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

imported = peak()
start = time.perf_counter()
workload = registry.resolve({SEVENTY_BILLION!r})
counters, _ = count_workload(workload, mode=Mode.TRAIN, batch_size=1, opinions=False)
print(json.dumps(dict(
    seconds=time.perf_counter() - start,
    peak_resident_bytes=peak(),
    imports_resident_bytes=imported,
    parameters=counters.parameters,
    forward=counters.flops.forward,
    backward=counters.flops.backward,
    closed_form=workload.closed_form_flops(1),
)))
"""


def _say(capsys, text):
    with capsys.disabled():
        print(f"\n{text}", end="")


def bench_resnet50_against_fvcore(benchmark, capsys):
    """Count forward and backward by ours and forward by fvcore, in alternation, both on a model already built."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        real, image = torchvision.models.resnet50().eval(), torch.randn(1, 3, 224, 224)
        model, shape = on_meta(torchvision.models.resnet50), torch.empty(1, 3, 224, 224, device="meta")

        def ours():
            return count_module(model, (shape,), backward=True).flops.forward

        def theirs():
            with torch.no_grad():
                analysis = FlopCountAnalysis(real, (image,))
                analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
                return analysis.by_operator()

        convolutions = theirs()
        assert ours() == 2 * (convolutions["conv"] + convolutions["linear"])
        times: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}

        def alternate():
            for _ in range(ROUNDS):
                for count, seconds in times.items():
                    start = time.perf_counter()
                    count()
                    seconds.append(time.perf_counter() - start)

        benchmark.pedantic(alternate, rounds=1, iterations=1)
    mine, fvcore = (statistics.median(seconds) for seconds in times.values())
    benchmark.extra_info.update(ours_seconds=mine, fvcore_seconds=fvcore, ours_over_fvcore=mine / fvcore)
    _say(
        capsys,
        f"resnet50, batch 1: ours forward + backward {mine:.3f} s, fvcore forward {fvcore:.3f} s: {mine / fvcore:.2f}x",
    )
    assert mine <= fvcore


def bench_a_model_of_70_billion_parameters(benchmark, capsys):
    """In a fresh process: forward and backward, time and peak resident memory."""

    def child():
        command = [sys.executable, "-c", _COUNT_SEVENTY_BILLION]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    figures = benchmark.pedantic(child, rounds=1, iterations=1)
    benchmark.extra_info.update(figures)
    _say(
        capsys,
        f"{figures['parameters']:,} parameters: forward {figures['forward']:,}, backward {figures['backward']:,} FLOPs "
        f"in {figures['seconds']:.1f} s, peak resident {figures['peak_resident_bytes'] / 2**20:.0f} MiB "
        f"(imports alone {figures['imports_resident_bytes'] / 2**20:.0f} MiB)",
    )
    assert figures["forward"] == figures["closed_form"]
    assert figures["peak_resident_bytes"] < 1.5 * 2**30


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.thorough) for name in torchvision_names()]
)
def bench_torchvision_classifier(name, benchmark, capsys):
    """Train and eval forward agree, backward is within 1.8 and 2.0 of forward, meta and real agree where real fits."""
    workload = registry.resolve(f"torchvision:{name}")

    def count(mode, **options):
        return count_workload(workload, mode=mode, batch_size=REAL_BATCH, opinions=False, **options)

    train, advice = benchmark.pedantic(count, (Mode.TRAIN,), rounds=1, iterations=1)
    infer, _ = count(Mode.INFER)
    ratio = train.flops.backward / train.flops.forward
    benchmark.extra_info.update(forward=infer.flops.forward, backward=train.flops.backward, ratio=ratio)
    assert advice == ()
    assert sum(layer.flops_backward for layer in train.layers) == train.flops.backward
    if name in WITH_AUXILIARY_HEADS:
        assert train.flops.forward > infer.flops.forward
    else:
        assert train.flops.forward == infer.flops.forward
    counted = [layer for layer in train.layers if layer.flops_forward]
    real = None
    if infer.flops.forward < REAL_FLOPS_LIMIT * REAL_BATCH:
        real, _ = count(Mode.TRAIN, device="cpu")
        assert (real.flops.forward, real.flops.backward) == (train.flops.forward, train.flops.backward)
        assert real.layers == train.layers
    _say(
        capsys,
        f"{name}: {infer.flops.forward / REAL_BATCH / 2e9:.3f} GMACs, backward / forward {ratio:.4f}"
        f"{', real tensors agree' if real else ''}",
    )
    # Every layer's backward is twice its forward, except of layers that nobody asks for the gradient of their input.
    once = {layer.name for layer in counted if layer.flops_backward == layer.flops_forward}
    assert all(layer.flops_backward == 2 * layer.flops_forward for layer in counted if layer.name not in once)
    assert counted[0].name in once
    assert all(layer.endswith("cpb_mlp.0") for layer in once - {counted[0].name})
    assert (1.79 if name in LARGE_FIRST_LAYER else 1.8) < ratio < 2.0


@pytest.mark.thorough
def bench_parameters_of_every_weights_entry(benchmark, capsys, monkeypatch):
    """Count the parameters of every entry of torchvision on meta against its documented `num_params`.

    Builders make another network when they are given weights (auxiliary heads, frozen normalisation, image size), so
    they are given them; only reading the file is left out, and nothing is downloaded.
    """
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: {})
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: None)

    def every():
        entries = [(name, weights) for name in list_models() for weights in get_model_weights(name)]
        return {str(weights): (_count(name, weights), weights.meta["num_params"]) for name, weights in entries}

    counted = benchmark.pedantic(every, rounds=1, iterations=1)
    wrong = {name: pair for name, pair in counted.items() if pair[0] != pair[1]}
    _say(capsys, f"num_params: {len(counted) - len(wrong)} of {len(counted)} entries; others {wrong}")
    assert not wrong


def _count(name, weights):
    """Count the float model that an entry documents."""
    options = {"weights": weights}
    if name.startswith("quantized_"):  # the entry is of the quantized model, which packs its parameters away
        options = {"weights": None, "quantize": False}
        if name.removeprefix("quantized_") in WITH_AUXILIARY_HEADS:
            options.update(init_weights=False, aux_logits=name.endswith("inception_v3"))
    return count_parameters(on_meta(lambda: get_model(name, **options))).parameters
