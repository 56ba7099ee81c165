"""Published counts: every verdict recomputed with torch's own counter, and the reason of every erratum as well."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.claims.check import check
from bench.claims.files import load
from bench.core.claim import Claim, ClaimVerdict
from tests.lists import parts

from .conftest import count_flops, count_parameters, model_of

CLAIMS = load(Path(__file__).parents[2] / "bench" / "claims" / "published.toml")
ERRATA = {claim.id: claim for claim in CLAIMS if claim.erratum is not None}


@cache
def built(spec: str) -> nn.Module:
    return model_of(spec)[0]


@cache
def macs(spec: str, shape: tuple[int, ...]) -> int:
    return count_flops(built(spec), torch.empty(1, *shape, device="meta")).get_total_flops() // 2


def measure(claim: Claim) -> int:
    if claim.quantity == "parameters":
        return count_parameters(built(claim.model))
    assert claim.input_shape is not None
    return macs(claim.model, claim.input_shape)


@pytest.mark.parametrize("claim", parts(CLAIMS, quick=12, ids=lambda claim: claim.id))
def test_the_verdict_is_the_one_on_file(claim: Claim) -> None:
    checked = check(claim, measure(claim))
    assert checked.verdict is (ClaimVerdict.ERRATUM if claim.erratum else ClaimVerdict.MATCH), checked.reason


def test_at_least_ten_architectures_of_other_people_are_claimed() -> None:
    assert len({claim.model for claim in CLAIMS}) >= 10


def test_every_claim_has_a_source_of_its_own() -> None:
    assert all(claim.source and claim.source != "published counts" for claim in CLAIMS)


def test_a_printed_figure_has_the_tolerance_of_its_last_digit() -> None:
    tolerances = {
        claim.id: claim.tolerance * float(claim.value) for claim in CLAIMS if not isinstance(claim.value, tuple)
    }
    assert tolerances["resnet18.macs"] == pytest.approx(0.05e9)
    assert tolerances["vgg16.parameters"] == pytest.approx(0.5e6)
    assert tolerances["squeezenet1_0.parameters"] == 0


def reason(claim_id: str) -> str:
    erratum = ERRATA[claim_id].erratum
    assert erratum is not None
    return erratum.reason


def test_every_erratum_is_recomputed_below() -> None:
    bottlenecks = {f"resnet{depth}.macs" for depth in (50, 101, 152)}
    others = {"resnet34.macs", "mobilenet_v2.parameters", "vit_b_16.parameters"}
    documented_twice = {"swin_t.parameters", "gpt2_small.parameters.paper"}
    assert set(ERRATA) == bottlenecks | others | documented_twice


@pytest.mark.parametrize(("depth", "billions"), [(50, 3.8), (101, 7.6), (152, 11.3)])
def test_resnet_with_the_papers_stride_has_the_papers_count(depth: int, billions: float) -> None:
    model = model_of(f"torchvision:resnet{depth}")[0]
    for stage in (model.layer2, model.layer3, model.layer4):
        assert stage[0].conv2.stride == (2, 2)
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    moved = count_flops(model, torch.empty(1, 3, 224, 224, device="meta")).get_total_flops() // 2
    assert f"{moved:,}" in reason(f"resnet{depth}.macs")
    assert ("only if cut" in reason(f"resnet{depth}.macs")) == (round(moved / 1e9, 1) != billions)
    assert int(moved / 1e8) / 10 == billions or round(moved / 1e9, 1) == billions


def test_resnet34_without_projections_has_the_papers_count() -> None:
    sizes = ((64, 128, 28), (128, 256, 14), (256, 512, 7))
    projections = sum(inputs * outputs * size * size for inputs, outputs, size in sizes)
    without = macs("torchvision:resnet34", (3, 224, 224)) - projections
    assert f"{projections:,}" in reason("resnet34.macs")
    assert f"{without:,}" in reason("resnet34.macs")
    assert round(without / 1e9, 1) == 3.6


def test_mobilenet_without_batch_normalisation_has_the_papers_count() -> None:
    model = built("torchvision:mobilenet_v2")
    norms = sum(count_parameters(module) for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    without = count_parameters(model) - norms
    assert f"{norms:,}" in reason("mobilenet_v2.parameters")
    assert f"{without:,}" in reason("mobilenet_v2.parameters")
    assert round(without / 1e6, 2) == 3.47


def test_vit_without_its_head_has_the_papers_count() -> None:
    model = built("torchvision:vit_b_16")
    without = count_parameters(model) - count_parameters(model.heads)
    assert f"{without:,}" in reason("vit_b_16.parameters")
    assert round(without / 1e6) == 86


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("swin_t.parameters", "swin_t.parameters.repository"), ("gpt2_small.parameters.paper", "gpt2_small.parameters")],
)
def test_the_authors_own_repository_has_the_measured_count(wrong: str, right: str) -> None:
    (repository,) = [claim for claim in CLAIMS if claim.id == right]
    assert repository.model == ERRATA[wrong].model
    assert check(repository, measure(repository)).verdict is ClaimVerdict.MATCH


def test_alexnets_own_layer_sizes_give_the_count_named_in_the_scope() -> None:
    """Krizhevsky's network: groups of two in the second, fourth and fifth convolution."""
    convolutions = ((96, 3, 11), (256, 48, 5), (384, 256, 3), (384, 192, 3), (256, 192, 3))
    linears = ((256 * 6 * 6, 4096), (4096, 4096), (4096, 1000))
    total = sum((channels * kernel**2 + 1) * out for out, channels, kernel in convolutions)
    total += sum((inputs + 1) * out for inputs, out in linears)
    (claim,) = [claim for claim in CLAIMS if claim.id == "alexnet.parameters"]
    assert f"{total:,}" in claim.scope


def test_gpt2_small_has_its_closed_form() -> None:
    vocabulary, context, width, layers = 50_257, 1024, 768, 12
    block = 12 * width**2 + 13 * width  # 4 + 8 matrices of width^2; biases 4 + 4 + 1, two norms of 2
    assert measure(next(c for c in CLAIMS if c.id == "gpt2_small.parameters")) == (
        (vocabulary + context) * width + layers * block + 2 * width
    )
