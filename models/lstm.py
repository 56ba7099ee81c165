"""A next-token language model on an LSTM (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers et al., 2000).

Tokens are embedded, the recurrent layers run over them in order, a linear head gives the logits of the next token.
`rnn`, `lstm` and `gru` are the same file but for the recurrent layer, so that their costs can be compared.
With `tbptt=K` the gradient is cut every K tokens (truncated backpropagation through time, Williams and Peng, 1990): the
state is carried on, the loss still covers every token, and one optimizer step follows the whole sequence.
`prefill` and `decode` generate text; what an attention model keeps in a cache is here the state, which does not grow.
Left out: carrying the hidden state from batch to batch, gradient clipping, tied embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GATES = 4  # matrices per layer: input, forget and output gate, and the cell's candidate
STATES = 2  # the hidden state and the cell's
LARGEST = 2**24  # of any size: what is larger is a slip of the finger
DEEPEST = 10_000  # layers

State = tuple[Tensor, ...]
"""What the layers hand on from token to token: STATES tensors `(layers, B, hidden)`, the hidden state first."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the language model."""

    vocabulary: int = 1000  # token ids
    sequence_length: int = 32  # tokens that one example predicts
    embedding: int = 128  # width of a token's vector
    hidden: int = 128  # width of the hidden state
    layers: int = 1  # recurrent layers
    dropout: float = 0.0  # between recurrent layers; needs layers > 1
    cell_by_cell: bool = False  # one call per layer and token instead of the fused kernel; same weights and outputs
    tbptt: int | None = None  # gradients flow back this many tokens at most (truncated backpropagation); None: all

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = DEEPEST if name == "layers" else LARGEST
            if type(value) is int and not 1 <= value <= most:
                raise ValueError(f"{name} {value} is no size; take 1 to {most:,}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout {self.dropout} is no probability; take 0 to 1")


def cell(token: Tensor, state: State, weights: list[Tensor]) -> State:
    """Advance one layer's state, `(B, hidden)` each, by one token `(B, fan_in)`."""
    return torch.lstm_cell(token, state, *weights)


class LSTMLanguageModel(nn.Module):
    """Embedding, `nn.LSTM`, linear head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        self.recurrent = nn.LSTM(
            config.embedding, config.hidden, num_layers=config.layers, dropout=config.dropout, batch_first=True
        )
        self.head = nn.Linear(config.hidden, config.vocabulary)
        self.cell_by_cell, self.tbptt = config.cell_by_cell, config.tbptt

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn token ids `(B, S)` into logits of each next token `(B, S, V)`."""
        x = self.embedding(tokens)  # (B, S, embedding)
        if self.tbptt is None:
            x, _ = self.run(x)  # (B, S, hidden)
            return self.head(x)  # (B, S, V)
        state, outputs = None, []
        for chunk in x.split(self.tbptt, dim=1):
            y, state = self.run(chunk, state)  # (B, tbptt, hidden)
            state = tuple(part.detach() for part in state)  # the next chunk starts from these values, as constants
            outputs.append(y)
        return self.head(torch.cat(outputs, dim=1))  # (B, S, V)

    def run(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run the recurrent layers over vectors `(B, S, embedding)`, from a state or from zeros.

        Returns:
            Hidden states of the last layer, `(B, S, hidden)`, and the state after the last token.
        """
        if self.cell_by_cell:
            return self._run_cells(x, state)
        x, last = self.recurrent(x, state if state is None or STATES > 1 else state[0])
        return x, last if STATES > 1 else (last,)

    def _run_cells(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Do what `nn.LSTM` does, with its weights, by one call of its cell per layer and token."""
        if state is None:
            state = (x.new_zeros(self.recurrent.num_layers, x.shape[0], self.recurrent.hidden_size),) * STATES
        lasts = []
        for layer, weights in enumerate(self.recurrent.all_weights):
            if layer:
                x = F.dropout(x, self.recurrent.dropout, self.training)
            own, outputs = tuple(part[layer] for part in state), []  # (B, hidden) each
            for token in x.unbind(1):
                own = cell(token, own, weights)
                outputs.append(own[0])
            x = torch.stack(outputs, dim=1)  # (B, S, hidden)
            lasts.append(own)
        return x, tuple(torch.stack(parts) for parts in zip(*lasts, strict=True))

    @torch.no_grad()
    def prefill(self, tokens: Tensor, capacity: int | None = None) -> tuple[Tensor, State]:
        """Read prompts `(B, P)`; return the logits of the next token `(B, V)` and the state.

        `capacity`, the tokens that the text may have, has no effect here: the state does not grow.
        """
        del capacity
        x, state = self.run(self.embedding(tokens))  # (B, P, hidden)
        return self.head(x[:, -1]), state  # (B, V)

    @torch.no_grad()
    def decode(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Read the next token of each text, `(B, 1)`; return the logits of the one after, `(B, V)`, and the state."""
        x, state = self.run(self.embedding(tokens), state)  # (B, 1, hidden)
        return self.head(x[:, -1]), state  # (B, V)


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


def make_prompt(config: Config, batch_size: int, length: int, device: str | torch.device) -> Tensor:
    """Draw prompts of token ids, `(B, length)`."""
    return torch.randint(config.vocabulary, (batch_size, length), device=device)


def cache_bytes(config: Config, batch_size: int, tokens: int, bytes_per_value: int) -> int:
    """Count the state of every layer; it is the same after any number of tokens."""
    del tokens
    return STATES * config.layers * batch_size * config.hidden * bytes_per_value


def attention_width(config: Config) -> int:
    """There is no attention: no part of a token's cost grows with those before it."""
    del config
    return 0
