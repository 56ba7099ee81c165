"""A next-token language model on an LSTM (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers et al., 2000).

Tokens are embedded, the recurrent layers run over them in order, a linear head gives the logits of the next token.
`rnn`, `lstm` and `gru` are the same file but for the recurrent layer, so that their costs can be compared.
Left out: carrying the hidden state from batch to batch, gradient clipping, tied embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GATES = 4  # matrices per layer: input, forget and output gate, and the cell's candidate


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the language model."""

    vocabulary: int = 1000  # token ids
    sequence_length: int = 32  # tokens that one example predicts
    embedding: int = 128  # width of a token's vector
    hidden: int = 128  # width of the hidden state
    layers: int = 1  # recurrent layers
    dropout: float = 0.0  # between recurrent layers; needs layers > 1


class LSTMLanguageModel(nn.Module):
    """Embedding, `nn.LSTM`, linear head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        self.recurrent = nn.LSTM(
            config.embedding, config.hidden, num_layers=config.layers, dropout=config.dropout, batch_first=True
        )
        self.head = nn.Linear(config.hidden, config.vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn token ids `(B, S)` into logits of each next token `(B, S, V)`."""
        x = self.embedding(tokens)  # (B, S, embedding)
        x, _ = self.recurrent(x)  # (B, S, hidden)
        return self.head(x)  # (B, S, V)


def build_model(config: Config) -> nn.Module:
    """Build the language model with random weights."""
    return LSTMLanguageModel(config)


def make_batch(config: Config, batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor], Tensor]:
    """Draw S + 1 token ids per example: the first S are the input, the last S the targets, both `(B, S)`."""
    tokens = torch.randint(config.vocabulary, (batch_size, config.sequence_length + 1), device=device)
    return (tokens[:, :-1].contiguous(),), tokens[:, 1:].contiguous()


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy of logits `(B, S, V)` against next tokens `(B, S)`."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())  # (B*S, V) against (B*S,)


def make_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make Adam, lr 1e-3, as the page trains."""
    return torch.optim.Adam(parameters, lr=1e-3)


def tokens_per_example(config: Config) -> int:
    """Count the tokens that one example predicts."""
    return config.sequence_length


def forward_flops(config: Config, batch_size: int) -> int:
    """Count 2 GATES hidden (in + hidden) per layer and 2 hidden V for the head, times B S tokens; the rest is ignored.

    The product with the hidden state is computed at the first step too, where that state is zero.
    """
    inputs = [config.embedding, *[config.hidden] * (config.layers - 1)]
    recurrent = sum(2 * GATES * config.hidden * (fan_in + config.hidden) for fan_in in inputs)
    return batch_size * config.sequence_length * (recurrent + 2 * config.hidden * config.vocabulary)
