from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from bench.models import mlp

REFERENCES = {
    "relu": lambda x: x.clamp(min=0),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x)),
    "softmax": lambda x: torch.exp(x) / torch.exp(x).sum(-1, keepdim=True),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
}


def test_there_is_a_reference_for_every_activation() -> None:
    assert set(REFERENCES) == set(mlp.ACTIVATIONS)


@pytest.mark.parametrize("activation", REFERENCES)
def test_the_network_is_z_equals_wx_plus_b_and_the_named_activation(activation: str) -> None:
    torch.manual_seed(0)
    config = mlp.Config(inputs=6, width=5, depth=3, classes=4, activation=activation)
    model = mlp.build_model(config).double()
    x = torch.randn(7, 6, dtype=torch.float64)
    expected = x
    weights = dict(model.named_parameters())
    for index in range(3):
        expected = expected @ weights[f"layers.{index}.weight"].T + weights[f"layers.{index}.bias"]
        expected = REFERENCES[activation](expected) if index < 2 else expected
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("cross_entropy", lambda z, y: -torch.log_softmax(z, -1).gather(1, y[:, None]).mean()),
        ("bce", lambda z, y: -torch.where(y, F.logsigmoid(z), F.logsigmoid(-z)).mean()),
        ("mse", lambda z, y: ((z - y) ** 2).mean()),
    ],
)
def test_the_loss_follows_the_targets(kind: str, reference: object) -> None:
    torch.manual_seed(0)
    config = mlp.Config(loss=kind)
    inputs, targets = mlp.make_batch(config, 5, "cpu")
    outputs = mlp.build_model(config)(*inputs)
    assert callable(reference)
    torch.testing.assert_close(mlp.loss(outputs, targets), reference(outputs, targets))


@pytest.mark.parametrize("options", [{"activation": "swoosh"}, {"loss": "hinge"}, {"depth": 0}])
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        mlp.Config(**options)  # type: ignore[arg-type]
