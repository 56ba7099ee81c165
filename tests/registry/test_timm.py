"""`timm:NAME`: timm's own models with random weights, found without importing timm, and its published figures."""

from __future__ import annotations

import pytest
import torch

from bench.claims.files import load, timm_file
from bench.core.claim import ClaimVerdict
from bench.core.errors import ModelError
from bench.registry import check, resolve
from bench.registry import timm as registry_timm
from bench.registry.timm import timm_sources
from bench.runner.claims import check_claims

timm = pytest.importorskip("timm", reason="timm is an extra; it is installed wherever CI runs")


def test_the_names_read_from_source_are_the_librarys_own() -> None:
    assert list(timm_sources()) == sorted(timm.list_models())


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        ("timm:resnet18", 11_689_512),
        ("timm:resnet18@num_classes=10", 11_181_642),
        ("timm:vit_tiny_patch16_224", 5_717_416),
        ("timm:vit_tiny_patch16_224.augreg_in21k", 5_717_416 + 193 * (21_843 - 1_000)),  # the classes of the tag
    ],
)
def test_a_model_has_its_parameters(spec: str, parameters: int) -> None:
    with torch.device("meta"):
        model = resolve(spec).build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_one_example_has_the_size_of_the_configuration_or_of_the_option() -> None:
    assert resolve("timm:efficientnet_b3").make_batch(2, "meta")[0][0].shape == (2, 3, 288, 288)
    larger = resolve("timm:vit_tiny_patch16_224@img_size=96").make_batch(1, "meta")
    assert larger[0][0].shape == (1, 3, 96, 96)


def test_a_training_step_runs_with_random_weights() -> None:
    torch.manual_seed(0)
    workload = resolve("timm:resnet10t", input_shape=(3, 32, 32))
    model = workload.build_model()
    inputs, targets = workload.make_batch(2, "cpu")
    loss = workload.loss(model(*inputs), targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("timm:resnet51", "no model named 'resnet51'"),
        ("timm:resnet18@pretrained=true", "weights are always random here"),
        ("timm:resnet18@checkpoint_path=x.pt", "weights are always random here"),
    ],
)
def test_what_is_not_there_or_would_load_weights_is_refused(spec: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check(spec)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_timm, "timm_sources", dict)
    with pytest.raises(ModelError, match="extra 'timm'"):
        check("timm:resnet18")


@pytest.mark.slow
def test_published_parameters_and_gmacs_are_those_we_count() -> None:
    claims = load(timm_file())
    models = list(dict.fromkeys(claim.model for claim in claims))[:40]
    checked = check_claims([claim for claim in claims if claim.model in models])
    assert len(models) == 40
    wrong = [one for one in checked if one.verdict not in (ClaimVerdict.MATCH, ClaimVerdict.ERRATUM)]
    assert wrong == []
    assert all(one.verdict is ClaimVerdict.MATCH for one in checked if one.claim.quantity == "parameters")


@pytest.mark.thorough
@pytest.mark.timeout(3600)
def test_every_published_figure_is_as_recorded() -> None:
    checked = check_claims(load(timm_file()))
    assert [one for one in checked if one.verdict not in (ClaimVerdict.MATCH, ClaimVerdict.ERRATUM)] == []
