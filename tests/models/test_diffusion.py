from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

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
    for sampler in ("ddim", "ddpm"):
        sampled = model.sample(tokens, noise.double(), steps=7, sampler=sampler)
        torch.testing.assert_close(sampled, images, rtol=1e-4, atol=1e-4)


def test_sampling_denoises_once_per_step_and_encodes_once() -> None:
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


@pytest.mark.parametrize("options", [{"channels": 12}, {"image_size": 15}, {"heads": 3}, {"schedule": "sine"}])
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Config(**options)


def test_the_cosine_schedule_is_the_one_of_nichol_and_dhariwal() -> None:
    def curve(time: float) -> float:
        return math.cos((time / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    shares = diffusion.signal_table("cosine", 1000)
    for time in (0, 1, 250, 500, 900):
        assert math.isclose(shares[time], curve(time + 1) / curve(0), rel_tol=1e-5)
    assert 1 - shares[-1] / shares[-2] <= 0.999 + 1e-6  # no single beta exceeds this
    assert all(later < earlier for earlier, later in pairwise(shares))
    assert shares[500] > diffusion.signal_table("linear", 1000)[500]  # the image lasts longer than under the linear one


@pytest.mark.parametrize("schedule", diffusion.SCHEDULES)
def test_noised_images_have_the_mean_and_variance_of_the_schedule(schedule: str) -> None:
    torch.manual_seed(0)
    model = diffusion.build_model(Config(schedule=schedule))
    time, share = 300, diffusion.signal_table(schedule, 1000)[300]
    images = torch.full((64, 3, 16, 16), 2.0)
    noisy = model.add_noise(images, torch.randn_like(images), torch.full((64,), time))
    n = noisy.numel()
    assert abs(noisy.mean() - 2 * math.sqrt(share)) < 5 * math.sqrt((1 - share) / n)
    assert abs(noisy.var() / (1 - share) - 1) < 5 * math.sqrt(2 / n)


def test_a_chain_of_single_noising_steps_has_the_same_share_of_signal() -> None:
    shares = diffusion.signal_table("linear", 1000)
    share = 1.0
    for step in range(1000):
        share *= 1 - (1e-4 + (0.02 - 1e-4) * step / 999)
    assert math.isclose(shares[-1], share, rel_tol=1e-3)


def test_the_ddpm_step_has_the_mean_and_variance_of_the_gaussian_posterior() -> None:
    # By the product of two Gaussians in x_earlier: the prior N(sqrt(e) x0, 1 - e) and the noising N(x; sqrt(a) x_e, b).
    signal, earlier = 0.3, 0.55
    alpha = signal / earlier
    beta = 1 - alpha
    image, noise = 0.7, -1.2
    x = math.sqrt(signal) * image + math.sqrt(1 - signal) * noise
    precision = 1 / (1 - earlier) + alpha / beta
    mean = (math.sqrt(earlier) * image / (1 - earlier) + math.sqrt(alpha) * x / beta) / precision
    tensors = (torch.tensor(x, dtype=torch.float64), torch.tensor(noise, dtype=torch.float64))
    zero, one = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    without = diffusion.ddpm_step(*tensors, signal, earlier, zero)
    with_one = diffusion.ddpm_step(*tensors, signal, earlier, one)
    assert math.isclose(without.item(), mean, rel_tol=1e-12)
    assert math.isclose((with_one - without).item() ** 2, 1 / precision, rel_tol=1e-12)


def test_the_ddim_step_keeps_image_and_noise_and_changes_their_shares() -> None:
    torch.manual_seed(0)
    image, noise = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)

    def mixed(share: float) -> torch.Tensor:
        return math.sqrt(share) * image + math.sqrt(1 - share) * noise

    torch.testing.assert_close(diffusion.ddim_step(mixed(0.2), noise, 0.2, 0.6), mixed(0.6))
    torch.testing.assert_close(diffusion.ddim_step(mixed(0.2), noise, 0.2, 1.0), image)


@pytest.mark.parametrize("steps", [1, 3, 10, 999, 1000])
def test_sampling_times_go_from_the_noisiest_down_each_once(steps: int) -> None:
    times = diffusion.sampling_times(1000, steps)
    assert len(times) == steps
    assert times[0] == 999
    assert times == sorted(set(times), reverse=True)
    assert times[-1] >= 0


def test_guidance_mixes_the_predictions_with_and_without_the_text() -> None:
    torch.manual_seed(0)
    config = Config()
    model = diffusion.build_model(config).double().eval()
    tokens, noise = diffusion.make_noise(config, 2, "cpu")
    noise = noise.double()
    with torch.no_grad():
        times = torch.full((2,), 999)
        text, empty = model.text_encoder(tokens), model.text_encoder(torch.zeros_like(tokens))
        with_text, without = model.denoise(noise, text, times), model.denoise(noise, empty, times)
    share = diffusion.signal_table("linear", 1000)[999]
    expected = diffusion.ddim_step(noise, without + 3 * (with_text - without), share, 1.0)
    torch.testing.assert_close(model.sample(tokens, noise, steps=1, guidance=3.0), expected)
    unguided = diffusion.ddim_step(noise, with_text, share, 1.0)
    torch.testing.assert_close(model.sample(tokens, noise, steps=1), unguided)


def test_ddpm_draws_noise_and_ddim_does_not() -> None:
    torch.manual_seed(0)
    config = Config()
    model = diffusion.build_model(config).eval()
    tokens, noise = diffusion.make_noise(config, 1, "cpu")
    first, again = (model.sample(tokens, noise, steps=3, sampler="ddpm") for _ in range(2))
    assert not torch.equal(first, again)
    assert torch.equal(*(model.sample(tokens, noise, steps=3) for _ in range(2)))
    assert torch.equal(*(model.sample(tokens, noise, steps=1, sampler="ddpm") for _ in range(2)))  # the last draws none


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 0}, "has 1 to 1000"),
        ({"steps": 1001}, "has 1 to 1000"),
        ({"sampler": "euler"}, "'euler' .* ddim, ddpm"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(arguments: dict[str, Any], words: str) -> None:
    config = Config()
    model = diffusion.build_model(config)
    with pytest.raises(ValueError, match=words):
        model.sample(*diffusion.make_noise(config, 1, "cpu"), **arguments)


def test_the_parts_of_a_training_step_are_its_forward_pass() -> None:
    torch.manual_seed(0)
    config = Config()
    model = diffusion.build_model(config)
    inputs, _ = diffusion.make_batch(config, 2, "cpu")
    parts = list(model.parts(*inputs))
    assert [name for name, _ in parts] == ["text encode", "add noise", "denoise"]
    assert torch.equal(parts[-1][1], model(*inputs))
