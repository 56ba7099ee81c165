"""A causal, decoder-only language model, configurable from a toy to 70 billion parameters.

With the default options it is built as Llama is (Touvron et al., 2023): RMS norm before each block, rotary positions
(Su et al., 2021), gated feed-forward network (SwiGLU), no biases, grouped-query heads on request. Llama 3 of 70
billion is `layers=80,width=8192,heads=64,kv_heads=8,ffn=28672,vocabulary=128256`; GPT-2 (Radford et al., 2019) is
made with `norm=layer,positions=learned,gated=false,bias=true,tied=true`.
`DecoderLM.prefill` and `DecoderLM.decode` generate text token by token, with a cache of keys and values.
Left out: dropout, tensor parallelism, prompts of different lengths in one batch, caches that wrap around.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LARGEST = 2**24  # of any size: what is larger is a slip of the finger
DEEPEST = 10_000  # layers


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the language model."""

    vocabulary: int = 1000  # V, token ids
    sequence_length: int = 32  # S, tokens that one example predicts
    layers: int = 2  # blocks of attention and feed-forward network
    width: int = 128  # D, of each token's vector
    heads: int = 4  # N, query heads
    kv_heads: int | None = None  # key and value heads, a divisor of heads; None: as many as heads
    ffn: int | None = None  # hidden width of the feed-forward network; None: 4 * width
    gated: bool = True  # SwiGLU with three matrices, or GELU with two
    norm: str = "rms"  # rms or layer
    positions: str = "rotary"  # rotary or learned
    bias: bool = False  # in every linear layer but the head
    tied: bool = False  # the head uses the embedding's weights
    checkpointing: bool = False  # recompute each block's activations in backward instead of keeping them

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = DEEPEST if name == "layers" else LARGEST
            if type(value) is int and not 1 <= value <= most:
                raise ValueError(f"{name} {value} is no size; take 1 to {most:,}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.heads % self.key_value_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even width per head, not {self.head_width}")
        if self.norm not in ("rms", "layer"):
            raise ValueError(f"norm {self.norm!r} is not one of rms, layer")
        if self.positions not in ("rotary", "learned"):
            raise ValueError(f"positions {self.positions!r} is not one of rotary, learned")

    @property
    def head_width(self) -> int:
        """Width of one head: D/N."""
        return self.width // self.heads

    @property
    def key_value_heads(self) -> int:
        """Key and value heads, the default filled in."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def hidden(self) -> int:
        """Hidden width of the feed-forward network, the default filled in."""
        return 4 * self.width if self.ffn is None else self.ffn


class LayerCache:
    """Keys and values of one block for the tokens read so far; room for all that may come is made at once.

    Appending to tensors that grow would copy them at every token. The tensors have the type of the first keys, which
    autocast decides.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self.keys: Tensor | None = None  # (B, K, capacity, D/N)
        self.values: Tensor | None = None  # (B, K, capacity, D/N)

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values `(B, K, S, D/N)` of S tokens; return those of all tokens, as views."""
        start, self.length = self.length, self.length + keys.shape[2]
        if self.keys is None or self.values is None:
            batch, heads, _, width = keys.shape
            self.keys = keys.new_empty(batch, heads, self.capacity, width)
            self.values = values.new_empty(batch, heads, self.capacity, width)
        self.keys[:, :, start : self.length] = keys
        self.values[:, :, start : self.length] = values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Attention(nn.Module):
    """Causal self-attention; each key and value head serves heads / kv_heads query heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = config.heads, config.key_value_heads, config.head_width
        self.query = nn.Linear(config.width, config.width, bias=config.bias)
        self.key = nn.Linear(config.width, self.kv_heads * self.head_width, bias=config.bias)
        self.value = nn.Linear(config.width, self.kv_heads * self.head_width, bias=config.bias)
        self.out = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None, cache: LayerCache | None = None) -> Tensor:
        """Mix tokens `(B, S, D)` with those before them; with a cache, also with those that it holds."""
        queries = self.query(x).unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # (B, N, S, D/N)
        keys = self.key(x).unflatten(-1, (self.kv_heads, self.head_width)).transpose(1, 2)  # (B, K, S, D/N)
        values = self.value(x).unflatten(-1, (self.kv_heads, self.head_width)).transpose(1, 2)  # (B, K, S, D/N)
        if rotation is not None:
            queries, keys = rotate(queries, *rotation), rotate(keys, *rotation)
        is_causal = cache is None or cache.length == 0
        if cache is not None:
            keys, values = cache.extend(keys, values)  # (B, K, tokens so far, D/N)
        if self.kv_heads != self.heads:  # repeated by hand: not every attention kernel takes fewer key heads
            keys = keys.repeat_interleave(self.heads // self.kv_heads, dim=1)  # (B, N, S, D/N)
            values = values.repeat_interleave(self.heads // self.kv_heads, dim=1)  # (B, N, S, D/N)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=is_causal)  # (B, N, S, D/N)
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, S, D)


def rotation_table(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Tabulate cos and sin of t / 10000^(2i/d) for position t and pair i: two tensors `(length, d/2)`."""
    frequencies = 10000.0 ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)  # (d/2,)
    angles = torch.arange(length, dtype=torch.float32).unsqueeze(1) * frequencies  # (S, d/2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + d/2) of each head by their position's angles; shape `(B, N, S, d)` stays."""
    first, second = x.chunk(2, dim=-1)  # (B, N, S, d/2) each
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)  # float32 tables would turn bf16 heads into float32 ones
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)  # (B, N, S, d)


class FeedForward(nn.Module):
    """`down(silu(gate(x)) * up(x))`, or `down(gelu(up(x)))` where it is not gated."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.hidden, bias=config.bias) if config.gated else None
        self.up = nn.Linear(config.width, config.hidden, bias=config.bias)
        self.down = nn.Linear(config.hidden, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token `(B, S, D)` by itself."""
        if self.gate is None:
            return self.down(F.gelu(self.up(x), approximate="tanh"))  # (B, S, D)
        return self.down(F.silu(self.gate(x)) * self.up(x))  # (B, S, D)


class Block(nn.Module):
    """Attention and feed-forward network, each behind a norm and beside a residual connection."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = Attention(config)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor] | None, cache: LayerCache | None = None) -> Tensor:
        """Transform tokens `(B, S, D)`."""
        x = x + self.attention(self.attention_norm(x), rotation, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))


def make_norm(config: Config) -> nn.Module:
    """Make the norm that the configuration names."""
    return nn.RMSNorm(config.width, eps=1e-5) if config.norm == "rms" else nn.LayerNorm(config.width)


class DecoderLM(nn.Module):
    """Embedding, blocks, norm, linear head without bias."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.context = config.sequence_length
        self.rotary = config.positions == "rotary"
        self.checkpointing = config.checkpointing
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        if self.rotary:
            cos, sin = rotation_table(config.sequence_length, config.head_width)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        else:
            self.positions = nn.Parameter(torch.zeros(config.sequence_length, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = make_norm(config)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        for name, parameter in self.named_parameters():  # GPT-2's: normal, 0.02; norms and biases keep torch's
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02 if not name.endswith("positions") else 0.01)
        if config.tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn token ids `(B, S)` into logits of each next token `(B, S, V)`."""
        x, rotation = self._embed(tokens)  # (B, S, D)
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, rotation, use_reentrant=False)
            else:
                x = block(x, rotation)
        return self.head(self.norm(x))  # (B, S, V)

    @torch.no_grad()
    def prefill(self, tokens: Tensor, capacity: int | None = None) -> tuple[Tensor, list[LayerCache]]:
        """Read prompts of one length; return the logits of the next token and the cache.

        Args:
            tokens: Ids, int64, `(B, P)`.
            capacity: Tokens that the cache has room for; None: as many as the model was built for.

        Returns:
            Logits `(B, V)`, and one cache per block.

        Raises:
            ValueError: The prompt or the capacity exceeds the `sequence_length` that the model was built for.
        """
        cache = [LayerCache(self.context if capacity is None else capacity) for _ in self.blocks]
        if cache[0].capacity > self.context:
            raise ValueError(f"{capacity} tokens were asked for, and the model was built for {self.context}")
        return self.decode(tokens, cache)

    @torch.no_grad()
    def decode(self, tokens: Tensor, cache: list[LayerCache]) -> tuple[Tensor, list[LayerCache]]:
        """Read the next token of each text, `(B, 1)`; return the logits of the one after, `(B, V)`.

        The cache is extended in place, and returned so that callers treat it like one that is not.

        Raises:
            ValueError: The cache is full.
        """
        start = cache[0].length
        if start + tokens.shape[1] > cache[0].capacity:
            raise ValueError(f"the cache has room for {cache[0].capacity} tokens and holds {start} already")
        if start and tokens.shape[1] > 1:
            raise ValueError(f"one token is decoded at a time, found {tokens.shape[1]}")
        x, rotation = self._embed(tokens, start)  # (B, S, D)
        for block, layer_cache in zip(self.blocks, cache, strict=True):
            x = block(x, rotation, layer_cache)
        return self.head(self.norm(x[:, -1])), cache  # (B, V)

    def _embed(self, tokens: Tensor, start: int = 0) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Embed tokens `(B, S)` that stand at `start` and after: vectors `(B, S, D)`, and their rotation."""
        end = start + tokens.shape[1]
        x = self.embedding(tokens)  # (B, S, D)
        if self.rotary:
            return x, (self.cos[start:end], self.sin[start:end])
        return x + self.positions[start:end], None  # (B, S, D)


def build_model(config: Config) -> nn.Module:
    """Build the language model with random weights."""
    return DecoderLM(config)


def make_batch(config: Config, batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor], Tensor]:
    """Draw S + 1 token ids per example: the first S are the input, the last S the targets, both `(B, S)`."""
    tokens = torch.randint(config.vocabulary, (batch_size, config.sequence_length + 1), device=device)
    return (tokens[:, :-1].contiguous(),), tokens[:, 1:].contiguous()


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy of logits `(B, S, V)` against next tokens `(B, S)`."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())  # (B*S, V) against (B*S,)


def make_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make Llama's AdamW: betas 0.9 and 0.95, weight decay 0.1, lr 3e-4 without its schedule."""
    return torch.optim.AdamW(parameters, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)


def tokens_per_example(config: Config) -> int:
    """Count the tokens that one example predicts."""
    return config.sequence_length


def forward_flops(config: Config, batch_size: int) -> int:
    """Count projections, attention, feed-forward network and head (1 MAC = 2), without checkpointing's recomputation.

    Per token and layer: 2 D (2 D + 2 K d) for the projections (K key heads of width d), 4 S D for scores and weighted
    sum, 4 D F for the feed-forward network or 6 D F if gated; then 2 D V for the head. The masked half of causal
    attention is counted, as flop counters do; kernels that skip it execute 2 S D less. Norms, softmax and rotation are
    ignored.
    """
    projections = 2 * config.width * (2 * config.width + 2 * config.key_value_heads * config.head_width)
    attention = 4 * config.sequence_length * config.width
    feed_forward = (6 if config.gated else 4) * config.width * config.hidden
    per_token = config.layers * (projections + attention + feed_forward) + 2 * config.width * config.vocabulary
    return batch_size * config.sequence_length * per_token


def make_prompt(config: Config, batch_size: int, length: int, device: str | torch.device) -> Tensor:
    """Draw prompts of token ids, `(B, length)`."""
    return torch.randint(config.vocabulary, (batch_size, length), device=device)


def cache_bytes(config: Config, batch_size: int, tokens: int, bytes_per_value: int) -> int:
    """Count a key and a value of width D/N per token, key head and layer."""
    return 2 * config.layers * batch_size * config.key_value_heads * config.head_width * tokens * bytes_per_value


def attention_width(config: Config) -> int:
    """Sum the width of the queries over the layers: a token that sees T others costs 4 T of it in FLOPs (1 MAC = 2)."""
    return config.layers * config.width


def context_limit(config: Config) -> int:
    """Return how many tokens a text may have."""
    return config.sequence_length
