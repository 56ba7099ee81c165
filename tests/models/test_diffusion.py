from __future__ import annotations

import math

import pytest
import torch
from bench.models import diffusion
from bench.models.diffusion import Attention, Config
from torch import nn


def test_the_schedule_is_the_linear_one_of_the_paper() -> None:
    model = diffusion.build_model(Config())
    signal = 1.0
    for step in range(1000):
        signal *= 1 - (1e-4 + (0.02 - 1e-4) * step / 999)
        if step in (0, 1, 500, 999):
            assert math.isclose(model.signal_rate[step].item() ** 2, signal, rel_tol=1e-3)
    variance = model.signal_rate**2 + model.noise_rate**2
    torch.testing.assert_close(variance, torch.ones(1000))
    assert model.signal_rate[-1] < 0.01  # nothing of the image is left at the end


def test_attention_equals_torch_s_multihead_attention_over_another_width() -> None:
    torch.manual_seed(0)
    own = Attention(16, 24, 4)
    theirs = nn.MultiheadAttention(16, 4, kdim=24, vdim=24, batch_first=True)
    with torch.no_grad():
        theirs.q_proj_weight.copy_(own.query.weight)
        theirs.k_proj_weight.copy_(own.key.weight)
        theirs.v_proj_weight.copy_(own.value.weight)
        theirs.in_proj_bias.copy_(torch.cat((own.query.bias, own.key.bias, own.value.bias)))
        theirs.out_proj.load_state_dict(own.out.state_dict())
    x, context = torch.randn(2, 5, 16), torch.randn(2, 7, 24)
    expected, _ = theirs(x, context, context, need_weights=True)
    torch.testing.assert_close(own(x, context), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changed", ["images", "tokens", "times", "noise"])
def test_the_prediction_depends_on_every_input(changed: str) -> None:
    torch.manual_seed(0)
    config = Config()
    model = diffusion.build_model(config).eval()
    (images, tokens, _, noise), _ = diffusion.make_batch(config, 2, "cpu")
    inputs = {"images": images, "tokens": tokens, "times": torch.tensor([300, 400]), "noise": noise}
    other = dict(inputs)
    other[changed] = inputs[changed] + 1 if changed != "tokens" else (tokens + 1) % config.vocabulary
    with torch.no_grad():
        assert not torch.allclose(model(**inputs), model(**other))


def test_training_mixes_image_and_noise_by_the_schedule() -> None:
    torch.manual_seed(0)
    config = Config()
    model = diffusion.build_model(config)
    (images, tokens, times, noise), targets = diffusion.make_batch(config, 3, "cpu")
    assert targets is noise
    mixed = torch.stack(
        [
            model.signal_rate[t] * image + model.noise_rate[t] * eps
            for t, image, eps in zip(times, images, noise, strict=True)
        ]
    )
    expected = model.denoise(mixed, model.text_encoder(tokens), times)
    torch.testing.assert_close(model(images, tokens, times, noise), expected)


def test_sampling_with_a_perfect_denoiser_recovers_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = Config()
    model = diffusion.build_model(config)
    (images, tokens, _, noise), _ = diffusion.make_batch(config, 2, "cpu")
    images = images.double()
    model = model.double()

    def perfect(noisy: torch.Tensor, text: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        signal, rate = (table[times][:, None, None, None] for table in (model.signal_rate, model.noise_rate))
        return (noisy - signal * images) / rate

    monkeypatch.setattr(model, "denoise", perfect)
    sampled = model.sample(tokens, noise.double(), steps=7)
    # The last step ends at time 0, where sqrt(1e-4) = 1 % of the standard deviation is still noise.
    first_noise = (sampled - model.signal_rate[0] * images) / model.noise_rate[0]
    expected_noise = perfect(noise.double(), tokens, torch.tensor([999, 999]))
    torch.testing.assert_close(first_noise, expected_noise, rtol=1e-4, atol=1e-6)
    assert (sampled - images).abs().max() < 0.1


def test_sampling_takes_one_denoising_pass_per_step_and_encodes_the_text_once() -> None:
    torch.manual_seed(0)
    config = Config()
    model = diffusion.build_model(config).eval()
    calls = {"conv_in": 0, "text_encoder": 0}
    for name in calls:
        model.get_submodule(name).register_forward_hook(lambda *_args, name=name: calls.update({name: calls[name] + 1}))
    (_, tokens, _, noise), _ = diffusion.make_batch(config, 2, "cpu")
    first, again = model.sample(tokens, noise, steps=5), model.sample(tokens, noise, steps=5)
    assert calls == {"conv_in": 10, "text_encoder": 2}
    assert torch.equal(first, again)
    assert first.shape == noise.shape
    assert not first.requires_grad


@pytest.mark.parametrize("options", [{"channels": 12}, {"image_size": 15}, {"heads": 3}])
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Config(**options)
