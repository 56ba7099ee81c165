from __future__ import annotations

import pytest
import torch

from bench.core.errors import UsageError
from bench.registry import OPTIMIZERS, make_optimizer

CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_listed_optimizer_is_of_its_class_and_takes_a_step(name: str) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = make_optimizer(name, [parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    kind, _, variant = name.partition("-")
    assert type(optimizer) is CLASSES[kind]
    assert optimizer.defaults["lr"] == 1e-3
    assert (parameter < 1).all()
    if variant:
        assert optimizer.defaults[variant] is True


@pytest.mark.parametrize("kind", CLASSES)
def test_the_variants_compute_the_same_step(kind: str) -> None:
    results = []
    for name in [known for known in OPTIMIZERS if known.partition("-")[0] == kind]:
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.randn(50))
        optimizer = make_optimizer(name, [parameter])
        for _ in range(3):
            parameter.grad = torch.randn(50)
            optimizer.step()
        results.append(parameter.detach())
    assert len(results) == (2 if kind == "rmsprop" else 3)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_an_unknown_optimizer_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no optimizer named 'adamv'. Did you mean 'adam"):
        make_optimizer("adamv", [])


def test_torch_has_still_no_fused_rmsprop() -> None:
    with pytest.raises(TypeError, match=r"fused"):
        torch.optim.RMSprop([torch.nn.Parameter(torch.ones(1))], fused=True)  # type: ignore[call-arg]
