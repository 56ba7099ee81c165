"""torchvision's documented counts: the claims made of them, and the networks' own counts."""

from __future__ import annotations

import pytest
import torch

from bench.claims.check import BATCH_SIZE, check, check_counters, needed
from bench.claims.torchvision import torchvision_claims
from bench.core.claim import Claim, ClaimVerdict
from bench.core.record import Counters, FlopCount
from bench.registry.torchvision import torchvision_documents
from tests.lists import parts

from .conftest import count_flops, count_parameters, model_of

DOCUMENTS = torchvision_documents()
CLAIMS = {claim.id: claim for claim in torchvision_claims(DOCUMENTS)}
PARAMETERS = {claim.model: claim for claim in CLAIMS.values() if claim.quantity == "parameters"}
SMALL = [  # one of each family, quick to run on meta; all 115 entries: see test_every_entry_is_claimed
    "alexnet.IMAGENET1K_V1",
    "convnext_tiny.IMAGENET1K_V1",
    "densenet121.IMAGENET1K_V1",
    "efficientnet_b0.IMAGENET1K_V1",
    "googlenet.IMAGENET1K_V1",
    "inception_v3.IMAGENET1K_V1",
    "maxvit_t.IMAGENET1K_V1",
    "mnasnet0_5.IMAGENET1K_V1",
    "mobilenet_v3_small.IMAGENET1K_V1",
    "regnet_y_400mf.IMAGENET1K_V1",
    "regnet_y_16gf.IMAGENET1K_SWAG_E2E_V1",
    "resnet18.IMAGENET1K_V1",
    "resnext50_32x4d.IMAGENET1K_V1",
    "shufflenet_v2_x0_5.IMAGENET1K_V1",
    "squeezenet1_1.IMAGENET1K_V1",
    "swin_t.IMAGENET1K_V1",
    "swin_v2_t.IMAGENET1K_V1",
    "vgg11.IMAGENET1K_V1",
    "vit_b_16.IMAGENET1K_SWAG_E2E_V1",
    "vit_b_32.IMAGENET1K_V1",
]


def macs(claim: Claim) -> int:
    assert claim.input_shape is not None
    return (
        count_flops(model_of(claim.model)[0], torch.empty(1, *claim.input_shape, device="meta")).get_total_flops() // 2
    )


def test_entries_are_claimed_twice_unless_work_depends_on_images() -> None:
    import torchvision

    names = torchvision.models.list_models()
    entries = [f"{name}.{weights.name}" for name in names for weights in torchvision.models.get_model_weights(name)]
    assert len(entries) > 160
    without_macs = {f"{name}.{weights}.macs" for name, weights, meta in DOCUMENTS if meta["_ops"] is None}
    assert len(without_macs) == 8  # the two-stage detectors
    assert set(CLAIMS) | without_macs == {f"{entry}.{what}" for entry in entries for what in ("parameters", "macs")}


def test_documents_are_plain_data() -> None:
    for builder, weights, meta in DOCUMENTS:
        assert (type(builder), type(weights)) == (str, str)
        assert meta["_ops"] is None or type(meta["_ops"]) is float
        assert {key: type(value) for key, value in meta.items()} == {
            "num_params": int,
            "_ops": type(meta["_ops"]),
            "input_shape": tuple,
            "options": dict,
        }


@pytest.mark.parametrize("claim", parts(PARAMETERS.values(), quick=12, ids=lambda claim: claim.model, rest="thorough"))
def test_num_params_of_every_network_is_exact(claim: Claim) -> None:
    assert claim.tolerance == 0
    verdict = check(claim, count_parameters(model_of(claim.model)[0])).verdict
    assert verdict is (ClaimVerdict.ERRATUM if claim.erratum else ClaimVerdict.MATCH), claim.id


@pytest.mark.parametrize("entry", parts(SMALL, quick=4))
def test_documented_gmacs_agree_to_their_last_digit(entry: str) -> None:
    claim = CLAIMS[f"{entry}.macs"]
    measured = macs(claim)
    assert check(claim, measured).verdict is ClaimVerdict.MATCH
    assert check(claim, measured + 1_000_000).verdict is ClaimVerdict.MISMATCH


def test_the_tolerance_is_half_of_the_last_printed_digit() -> None:
    for claim in CLAIMS.values():
        if claim.quantity == "macs_forward":
            assert isinstance(claim.value, int)
            assert claim.tolerance * claim.value == pytest.approx(500_000)


def test_sizes_and_options_are_the_documents_own() -> None:
    claims = {key: CLAIMS[f"{key}.macs"] for key in ("vit_b_16.IMAGENET1K_SWAG_E2E_V1", "googlenet.IMAGENET1K_V1")}
    vit, googlenet = claims.values()
    assert (vit.model, vit.input_shape) == ("torchvision:vit_b_16@image_size=384", (3, 384, 384))
    assert (googlenet.model, googlenet.input_shape) == ("torchvision:googlenet@aux_logits=false", (3, 224, 224))


def test_auxiliary_heads_of_inception_count_in_train_mode_only() -> None:
    claim = CLAIMS["inception_v3.IMAGENET1K_V1.macs"]
    model = model_of(claim.model)[0]
    assert claim.input_shape is not None
    heads = count_flops(model.AuxLogits, torch.empty(1, 768, 17, 17, device="meta")).get_total_flops() // 2
    assert check(claim, macs(claim)).verdict is ClaimVerdict.MATCH
    assert check(claim, macs(claim) + heads).verdict is ClaimVerdict.MISMATCH


def test_the_documented_operations_are_those_of_a_batch_of_one() -> None:
    """swin_v2 computes its position bias once per batch: two examples, halved, miss the document."""
    claim = CLAIMS["swin_v2_t.IMAGENET1K_V1.macs"]
    model = model_of(claim.model)[0]
    verdicts = []
    for batch_size in (BATCH_SIZE, 2 * BATCH_SIZE):
        flops = count_flops(model, torch.empty(batch_size, 3, 256, 256, device="meta")).get_total_flops()
        verdicts.append(check_counters(claim, Counters(flops=FlopCount(forward=flops)), batch_size).verdict)
    assert verdicts == [ClaimVerdict.MATCH, ClaimVerdict.MISMATCH]


def test_a_network_is_counted_once_however_many_entries_document_it() -> None:
    subjects = needed(CLAIMS.values())
    assert len(subjects) < len(DOCUMENTS)
    assert all((None, "parameters") in wanted for wanted in subjects.values())
