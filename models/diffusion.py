"""A text-conditioned denoiser for diffusion: text encoder, noise schedule, small U-Net.

After Ho et al., 2020 (DDPM) and Rombach et al., 2022 (latent diffusion). One training step encodes the text, mixes
images and noise by the schedule at each example's time, predicts the noise with cross-attention to the text, and
compares it with the true noise by mean squared error. The batch carries times and noise, so that a step depends on
nothing that is drawn inside it. `Denoiser.denoising` is the reverse process, one denoising step at a time: DDPM's
random one (Ho et al.) or DDIM's deterministic one (Song et al., 2021), with classifier-free guidance (Ho and Salimans,
2022).
Left out: the autoencoder of latent diffusion, so images come out as they are; dropping texts while training, which
guidance needs to be of use; averaged weights, a pretrained text encoder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIME_WIDTH = 64  # of the sinusoidal embedding of a time
GROUPS = 8  # of every group norm
SCHEDULES = ("linear", "cosine")
SAMPLERS = ("ddim", "ddpm")
LARGEST = 2**24  # of any size: what is larger is a slip of the finger


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the denoiser."""

    image_size: int = 16  # H and W in pixels; even
    image_channels: int = 3  # 3 for RGB
    channels: int = 32  # C, of the feature maps at full resolution, twice as many at half; a multiple of 8
    vocabulary: int = 1000  # token ids of the text
    text_length: int = 16  # L, tokens of a text
    text_width: int = 64  # D, of a token's vector
    heads: int = 4  # N, of both attentions
    times: int = 1000  # steps of the noise schedule
    schedule: str = "linear"  # of the noise: linear (Ho et al., 2020) or cosine (Nichol and Dhariwal, 2021)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is int and not 1 <= value <= LARGEST:
                raise ValueError(f"{name} {value} is no size; take 1 to {LARGEST:,}")
        if self.channels % GROUPS:
            raise ValueError(f"channels {self.channels} must be a multiple of {GROUPS}")
        if self.image_size % 2:
            raise ValueError(f"image_size {self.image_size} must be even")
        if self.text_width % self.heads or 2 * self.channels % self.heads:
            raise ValueError(f"heads {self.heads} must divide text_width {self.text_width} and twice the channels")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule {self.schedule!r} is not one of {', '.join(SCHEDULES)}")


def signal_shares(schedule: str, times: int) -> Tensor:
    """Tabulate alpha-bar, the share of the image's variance that is left after each time: `(times,)`, falling.

    Linear: the product of 1 - beta, beta from 1e-4 to 0.02. Cosine: f(t + 1) / f(0), f(t) = cos^2 of pi/2 times
    (t / times + 0.008) / 1.008, where no single beta exceeds 0.999.
    """
    if schedule == "linear":
        return torch.cumprod(1 - torch.linspace(1e-4, 0.02, times), dim=0)
    angles = (torch.arange(times + 1, dtype=torch.float64) / times + 0.008) / 1.008 * (math.pi / 2)  # (times + 1,)
    curve = angles.cos() ** 2
    betas = (1 - curve[1:] / curve[:-1]).clamp(max=0.999)  # (times,)
    return torch.cumprod(1 - betas, dim=0).float()


@functools.cache
def signal_table(schedule: str, times: int) -> tuple[float, ...]:
    """Return `signal_shares` as numbers: sampling needs them on the host, unrounded by the precision of the model."""
    return tuple(signal_shares(schedule, times).tolist())


def sampling_times(times: int, steps: int) -> list[int]:
    """Choose the times of `steps` denoising steps, from the noisiest, `times - 1`, down in equal strides."""
    return [round(times * (steps - step) / steps) - 1 for step in range(steps)]


def ddim_step(x: Tensor, noise: Tensor, signal: float, earlier: float) -> Tensor:
    """Go from one time to an earlier one without chance: predict the image, then mix it with the same noise again.

    Args:
        x: Noisy images, `(B, 3, H, W)`.
        noise: The noise predicted in them, of the same shape.
        signal: Share of the image's variance in `x` (alpha-bar).
        earlier: The share at the earlier time; 1 gives the predicted image itself.
    """
    image = (x - math.sqrt(1 - signal) * noise) / math.sqrt(signal)
    return math.sqrt(earlier) * image + math.sqrt(1 - earlier) * noise


def ddpm_step(x: Tensor, noise: Tensor, signal: float, earlier: float, fresh: Tensor) -> Tensor:
    """Go from one time to an earlier one as Ho et al. do: draw from the posterior, given the predicted image.

    With alpha = signal / earlier and beta = 1 - alpha, its variance is beta (1 - earlier) / (1 - signal), its mean
    (sqrt(earlier) beta image + sqrt(alpha) (1 - earlier) x) / (1 - signal).

    Args:
        x: Noisy images, `(B, 3, H, W)`.
        noise: The noise predicted in them.
        signal: Share of the image's variance in `x` (alpha-bar).
        earlier: The share at the earlier time; 1 gives the predicted image itself.
        fresh: Standard normal, of the images' shape.
    """
    image = (x - math.sqrt(1 - signal) * noise) / math.sqrt(signal)
    alpha = signal / earlier
    weight_image = math.sqrt(earlier) * (1 - alpha) / (1 - signal)
    weight_x = math.sqrt(alpha) * (1 - earlier) / (1 - signal)
    variance = (1 - alpha) * (1 - earlier) / (1 - signal)
    return weight_image * image + weight_x * x + math.sqrt(variance) * fresh


class Attention(nn.Module):
    """Multi-head attention of queries `(B, Q, width)` over a context `(B, L, context_width)`."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width, width)
        self.value = nn.Linear(context_width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Mix the context into each query; the shape of `x` stays."""
        queries = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, N, Q, width/N)
        keys = self.key(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, N, L, width/N)
        values = self.value(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, N, L, width/N)
        mixed = F.scaled_dot_product_attention(queries, keys, values)  # (B, N, Q, width/N)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, Q, width)


class TextEncoder(nn.Module):
    """Token and position embeddings, and one pre-norm transformer layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.text_width
        self.embedding = nn.Embedding(config.vocabulary, width)
        self.positions = nn.Parameter(torch.randn(config.text_length, width) * 0.02)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, config.heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn token ids `(B, L)` into vectors `(B, L, D)`."""
        x = self.embedding(tokens) + self.positions  # (B, L, D)
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed)
        return x + self.feed_forward(self.feed_forward_norm(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; the time is added to each channel between them."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
        self.time = nn.Linear(TIME_WIDTH, channels_out)
        self.norm2 = nn.GroupNorm(GROUPS, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, kernel_size=3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels_out, kernel_size=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Turn maps `(B, channels_in, H, W)` into `(B, channels_out, H, W)`."""
        hidden = self.conv1(F.silu(self.norm1(x)))  # (B, channels_out, H, W)
        hidden = hidden + self.time(time)[:, :, None, None]  # (B, channels_out, H, W)
        return self.skip(x) + self.conv2(F.silu(self.norm2(hidden)))  # (B, channels_out, H, W)


class Denoiser(nn.Module):
    """Text encoder and U-Net of two resolutions; holds the noise schedule as buffers."""

    signal_rate: Tensor
    noise_rate: Tensor
    frequencies: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        channels = config.channels
        self.schedule, self.times = config.schedule, config.times
        signal = signal_shares(config.schedule, config.times)  # (times,)
        self.register_buffer("signal_rate", signal.sqrt())
        self.register_buffer("noise_rate", (1 - signal).sqrt())
        half = TIME_WIDTH // 2
        self.register_buffer(
            "frequencies", torch.exp(torch.arange(half) * (-math.log(10000.0) / half)), persistent=False
        )
        self.text_encoder = TextEncoder(config)
        self.time_mlp = nn.Sequential(nn.Linear(TIME_WIDTH, TIME_WIDTH), nn.SiLU(), nn.Linear(TIME_WIDTH, TIME_WIDTH))
        self.conv_in = nn.Conv2d(config.image_channels, channels, kernel_size=3, padding=1)
        self.down_block = ResidualBlock(channels, channels)
        self.down = nn.Conv2d(channels, 2 * channels, kernel_size=2, stride=2)
        self.middle_block = ResidualBlock(2 * channels, 2 * channels)
        self.cross_norm = nn.GroupNorm(GROUPS, 2 * channels)
        self.cross_attention = Attention(2 * channels, config.text_width, config.heads)
        self.up = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.up_block = ResidualBlock(2 * channels, channels)
        self.norm_out = nn.GroupNorm(GROUPS, channels)
        self.conv_out = nn.Conv2d(channels, config.image_channels, kernel_size=3, padding=1)

    def forward(self, images: Tensor, tokens: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Predict the noise of one training step.

        Args:
            images: Clean images, float, `(B, 3, H, W)`.
            tokens: Texts, int64, `(B, L)`.
            times: Step of the schedule of each example, int64, `(B,)`.
            noise: Standard normal, of the images' shape.
        """
        noisy = self.add_noise(images, noise, times)  # (B, 3, H, W)
        return self.denoise(noisy, self.text_encoder(tokens), times)

    def parts(self, images: Tensor, tokens: Tensor, times: Tensor, noise: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Do what `forward` does, part by part: each is yielded with its name; the last is the prediction."""
        text = self.text_encoder(tokens)  # (B, L, D)
        yield "text encode", text
        noisy = self.add_noise(images, noise, times)  # (B, 3, H, W)
        yield "add noise", noisy
        yield "denoise", self.denoise(noisy, text, times)  # (B, 3, H, W)

    def add_noise(self, images: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Mix images and noise, both `(B, 3, H, W)`, by the schedule at each example's time `(B,)`."""
        signal_rate, noise_rate = self.signal_rate[times], self.noise_rate[times]  # (B,) each
        return signal_rate[:, None, None, None] * images + noise_rate[:, None, None, None] * noise  # (B, 3, H, W)

    def denoise(self, noisy: Tensor, text: Tensor, times: Tensor) -> Tensor:
        """Predict the noise in `noisy` `(B, 3, H, W)`, given encoded text `(B, L, D)` and times `(B,)`."""
        angles = times[:, None].float() * self.frequencies  # (B, TIME_WIDTH/2)
        time = torch.cat((angles.sin(), angles.cos()), dim=1)  # (B, TIME_WIDTH)
        time = F.silu(self.time_mlp(time.to(self.time_mlp[0].weight.dtype)))  # (B, TIME_WIDTH)
        full = self.down_block(self.conv_in(noisy), time)  # (B, C, H, W)
        x = self.middle_block(self.down(full), time)  # (B, 2C, H/2, W/2)
        pixels = self.cross_norm(x).flatten(2).transpose(1, 2)  # (B, H*W/4, 2C)
        x = x + self.cross_attention(pixels, text).transpose(1, 2).unflatten(2, x.shape[2:])  # (B, 2C, H/2, W/2)
        x = torch.cat((full, self.up(x)), dim=1)  # (B, 2C, H, W)
        x = self.up_block(x, time)  # (B, C, H, W)
        return self.conv_out(F.silu(self.norm_out(x)))  # (B, 3, H, W)

    @torch.no_grad()
    def encode(self, tokens: Tensor, guidance: float = 1.0) -> Tensor:
        """Encode texts `(B, L)` for `denoising`; for guidance also as many empty ones: `(B, L, D)` or `(2B, L, D)`."""
        if guidance != 1.0:
            tokens = torch.cat((tokens, torch.zeros_like(tokens)))  # token 0 fills the empty text
        return self.text_encoder(tokens)

    @torch.no_grad()
    def denoising(
        self, text: Tensor, noise: Tensor, steps: int = 10, guidance: float = 1.0, sampler: str = "ddim"
    ) -> Iterator[Tensor]:
        """Turn noise into images, and yield them, `(B, 3, H, W)`, after every denoising step; the last are the result.

        With guidance the prediction is empty + guidance (text - empty), from one pass over twice the batch; at 1 that
        is the text's own prediction, from one pass over the batch.

        Args:
            text: Text from `encode`, for the same guidance.
            noise: Standard normal, `(B, 3, H, W)`.
            steps: Denoising steps, from 1 to as many as the schedule has.
            guidance: Weight of the text.
            sampler: `ddim`, or `ddpm`, which draws noise at every step.

        Raises:
            ValueError: No such sampler, or more steps than the schedule has.
        """
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler {sampler!r} is not one of {', '.join(SAMPLERS)}")
        if not 1 <= steps <= self.times:
            raise ValueError(f"{steps} steps asked for, the schedule has 1 to {self.times}; set times={steps} for more")
        signals = signal_table(self.schedule, self.times)
        x, times = noise, sampling_times(self.times, steps)
        for step, time in enumerate(times):
            signal = signals[time]
            earlier = signals[times[step + 1]] if step + 1 < steps else 1.0
            predicted = self._guided(x, text, time, guidance)  # (B, 3, H, W)
            if sampler == "ddim":
                x = ddim_step(x, predicted, signal, earlier)
            else:
                x = ddpm_step(x, predicted, signal, earlier, torch.randn_like(x))  # the last one's noise weighs 0
            yield x

    def _guided(self, x: Tensor, text: Tensor, time: int, guidance: float) -> Tensor:
        times = torch.full((text.shape[0],), time, device=x.device)  # (B,) or (2B,)
        if guidance == 1.0:
            return self.denoise(x, text, times)  # (B, 3, H, W)
        with_text, empty = self.denoise(torch.cat((x, x)), text, times).chunk(2)  # (B, 3, H, W) each
        return empty + guidance * (with_text - empty)

    def sample(
        self, tokens: Tensor, noise: Tensor, steps: int = 10, guidance: float = 1.0, sampler: str = "ddim"
    ) -> Tensor:
        """Turn noise `(B, 3, H, W)` into images of these texts; arguments as of `denoising`."""
        *_, images = self.denoising(self.encode(tokens, guidance), noise, steps, guidance, sampler)
        return images


def build_model(config: Config) -> nn.Module:
    """Build text encoder and denoiser with random weights."""
    return Denoiser(config)


def make_batch(config: Config, batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
    """Draw images, token ids, times and noise; the targets are the noise."""
    shape = (batch_size, config.image_channels, config.image_size, config.image_size)
    images = torch.randn(shape, device=device)
    tokens = torch.randint(config.vocabulary, (batch_size, config.text_length), device=device)
    times = torch.randint(config.times, (batch_size,), device=device)
    noise = torch.randn(shape, device=device)
    return (images, tokens, times, noise), noise


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean squared error of predicted against true noise, both `(B, 3, H, W)`."""
    return F.mse_loss(outputs, targets)


def make_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make AdamW, lr 1e-4, as latent diffusion trains."""
    return torch.optim.AdamW(parameters, lr=1e-4)


def forward_flops(config: Config, batch_size: int) -> int:
    """Count convolutions, linear layers and attention (1 MAC = 2); norms, softmax and elementwise work are ignored."""
    full, quarter = config.image_size**2, config.image_size**2 // 4  # pixels at the two resolutions
    channels, length, width = config.channels, config.text_length, config.text_width

    def residual_block(pixels: int, channels_in: int, channels_out: int) -> int:
        maps = 2 * pixels * channels_out * (9 * channels_in + 9 * channels_out + channels_in)
        return maps + 2 * TIME_WIDTH * channels_out

    def attention(queries: int, own: int, context: int) -> int:
        return 4 * queries * own * own + 4 * length * context * own + 4 * queries * length * own

    text = attention(length, width, width) + 2 * length * 2 * width * 4 * width
    time = 2 * 2 * TIME_WIDTH**2
    edges = 2 * 2 * full * 9 * config.image_channels * channels  # conv_in and conv_out
    resample = 2 * 2 * quarter * 4 * channels * 2 * channels  # down and up, both 2x2
    blocks = (
        residual_block(full, channels, channels)
        + residual_block(quarter, 2 * channels, 2 * channels)
        + residual_block(full, 2 * channels, channels)
    )
    cross = attention(quarter, 2 * channels, width)
    return batch_size * (text + time + edges + resample + blocks + cross)


def max_steps(config: Config) -> int:
    """Return how many denoising steps the noise schedule has."""
    return config.times


def make_noise(config: Config, batch_size: int, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Draw what sampling starts from: token ids `(B, L)` and standard normal noise `(B, 3, H, W)`."""
    tokens = torch.randint(config.vocabulary, (batch_size, config.text_length), device=device)
    noise = torch.randn(batch_size, config.image_channels, config.image_size, config.image_size, device=device)
    return tokens, noise
