"""An encoder-decoder transformer for translation, with sinusoidal positional encoding (Vaswani et al., 2017).

The layers are torch's own (`nn.TransformerEncoderLayer`, `nn.TransformerDecoderLayer`): post-norm, multi-head
attention, ReLU, as in the paper, whose "base" size is `layers=6,width=512,heads=8,ffn=2048`. `nn.Transformer` is not
used: it adds a norm that the paper has not, and copies its layers, which fake tensors do not like.
Left out: padding masks (all sentences are equally long), label smoothing, the schedule of the learning rate, weights
shared between the embeddings and the head, beam search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 2**24  # of any size: what is larger is a slip of the finger
DEEPEST = 10_000  # layers


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the translation model."""

    vocabulary: int = 1000  # token ids, the same number for source and target
    source_length: int = 16  # tokens of a source sentence
    target_length: int = 16  # tokens that one example predicts
    layers: int = 2  # of the encoder, and as many of the decoder
    width: int = 64  # D, of each token's vector; even
    heads: int = 4  # N, of every attention
    ffn: int = 256  # hidden width of the feed-forward networks
    dropout: float = 0.1  # probability

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = DEEPEST if name == "layers" else LARGEST
            if type(value) is int and not 1 <= value <= most:
                raise ValueError(f"{name} {value} is no size; take 1 to {most:,}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout {self.dropout} is no probability; take 0 to 1")
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and a multiple of heads {self.heads}")


def positional_encoding(length: int, width: int) -> Tensor:
    """Tabulate sin(t / 10000^(2i/D)) in column 2i and cos of the same angle in column 2i + 1: `(length, width)`."""
    times = torch.arange(length, dtype=torch.float32).unsqueeze(1)  # (T, 1)
    frequencies = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))  # (D/2,)
    angles = times * frequencies  # (T, D/2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # (T, D)


class Transformer(nn.Module):
    """Two embeddings, encoder layers, decoder layers, linear head."""

    positions: Tensor
    mask: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(config.vocabulary, config.width)
        self.target_embedding = nn.Embedding(config.vocabulary, config.width)
        longest = max(config.source_length, config.target_length)
        self.register_buffer("positions", positional_encoding(longest, config.width), persistent=False)
        mask = torch.full((config.target_length, config.target_length), float("-inf")).triu(1)  # (T, T), -inf above
        self.register_buffer("mask", mask, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        shape = {
            "d_model": config.width,
            "nhead": config.heads,
            "dim_feedforward": config.ffn,
            "dropout": config.dropout,
        }
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(**shape, batch_first=True) for _ in range(config.layers)
        )
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(**shape, batch_first=True) for _ in range(config.layers)
        )
        self.head = nn.Linear(config.width, config.vocabulary)
        self.scale = math.sqrt(config.width)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Turn source ids `(B, S)` and target ids `(B, T)` into logits of each next target token `(B, T, V)`."""
        memory = self._embed(self.source_embedding, source)  # (B, S, D)
        for layer in self.encoder:
            memory = layer(memory)
        x = self._embed(self.target_embedding, target)  # (B, T, D)
        mask = self.mask[: target.shape[1], : target.shape[1]]  # (T, T)
        for layer in self.decoder:
            x = layer(x, memory, tgt_mask=mask, tgt_is_causal=True)
        return self.head(x)  # (B, T, V)

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        return self.dropout(embedding(tokens) * self.scale + self.positions[: tokens.shape[1]])  # (B, length, D)


def build_model(config: Config) -> nn.Module:
    """Build the translation model with random weights."""
    return Transformer(config)


def make_batch(config: Config, batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Draw source ids `(B, S)` and T + 1 target ids: the first T are fed, the last T are predicted."""
    source = torch.randint(config.vocabulary, (batch_size, config.source_length), device=device)
    target = torch.randint(config.vocabulary, (batch_size, config.target_length + 1), device=device)
    return (source, target[:, :-1].contiguous()), target[:, 1:].contiguous()


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy of logits `(B, T, V)` against next tokens `(B, T)`."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())  # (B*T, V) against (B*T,)


def make_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make the paper's Adam (betas 0.9 and 0.98, eps 1e-9) at a constant rate."""
    return torch.optim.Adam(parameters, lr=1e-4, betas=(0.9, 0.98), eps=1e-9)


def tokens_per_example(config: Config) -> int:
    """Count target tokens only, as translation throughput is usually stated."""
    return config.target_length


def forward_flops(config: Config, batch_size: int) -> int:
    """Count projections, attention and head (1 MAC = 2); the masked half of causal attention is counted, as executed.

    Per layer, with T queries over S keys: 2 D^2 (2 T + 2 S) for the four projections, 4 T S D for scores and weighted
    sum, 4 T D F for the feed-forward network. The decoder has two attentions. Norms, softmax and biases are ignored.
    """
    source, target, width = config.source_length, config.target_length, config.width

    def attention(queries: int, keys: int) -> int:
        return 2 * width * width * (2 * queries + 2 * keys) + 4 * queries * keys * width

    encoder = attention(source, source) + 4 * source * width * config.ffn
    decoder = attention(target, target) + attention(target, source) + 4 * target * width * config.ffn
    return batch_size * (config.layers * (encoder + decoder) + 2 * target * width * config.vocabulary)
