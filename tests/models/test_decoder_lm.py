from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from bench.models import decoder_lm
from bench.models.decoder_lm import Attention, Config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

# Published sizes: parameters of the released checkpoints, as their model cards' tensors add up.
GPT2 = {"norm": "layer", "positions": "learned", "gated": False, "bias": True, "tied": True}
PUBLISHED = [
    (
        "gpt2",
        124_439_808,
        {"layers": 12, "width": 768, "heads": 12, "vocabulary": 50257, "sequence_length": 1024} | GPT2,
    ),
    (
        "gpt2-medium",
        354_823_168,
        {"layers": 24, "width": 1024, "heads": 16, "vocabulary": 50257, "sequence_length": 1024} | GPT2,
    ),
    ("llama-2-7b", 6_738_415_616, {"layers": 32, "width": 4096, "heads": 32, "ffn": 11008, "vocabulary": 32000}),
    (
        "mistral-7b",
        7_241_732_096,
        {"layers": 32, "width": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336, "vocabulary": 32000},
    ),
    (
        "llama-3-8b",
        8_030_261_248,
        {"layers": 32, "width": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336, "vocabulary": 128256},
    ),
    (
        "llama-3-70b",
        70_553_706_496,
        {"layers": 80, "width": 8192, "heads": 64, "kv_heads": 8, "ffn": 28672, "vocabulary": 128256},
    ),
]


@pytest.mark.parametrize(("name", "parameters", "options"), PUBLISHED, ids=[name for name, _, _ in PUBLISHED])
def test_a_published_model_has_its_published_parameters(name: str, parameters: int, options: dict[str, object]) -> None:
    with torch.device("meta"):
        model = decoder_lm.build_model(Config(**options))  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def explicit(attention: Attention, x: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
    """Attend head by head and query by query, without any of torch's attention functions."""
    d, group = attention.head_width, attention.heads // attention.kv_heads
    q, k, v = attention.query(x), attention.key(x), attention.value(x)
    mixed = torch.zeros_like(x)
    for head in range(attention.heads):
        shared = head // group
        queries = q[..., head * d : (head + 1) * d]
        keys, values = k[..., shared * d : (shared + 1) * d], v[..., shared * d : (shared + 1) * d]
        if rotation is not None:
            queries, keys = turned(queries, *rotation), turned(keys, *rotation)
        for time in range(x.shape[1]):
            scores = (queries[:, time, None] * keys[:, : time + 1]).sum(-1) / math.sqrt(d)
            weights = scores.softmax(-1)
            mixed[:, time, head * d : (head + 1) * d] = (weights[..., None] * values[:, : time + 1]).sum(1)
    return attention.out(mixed)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate by multiplying complex numbers: pair i is x[i] + 1j x[i + d/2]."""
    first, second = x.chunk(2, -1)
    product = torch.complex(first, second) * torch.complex(cos, sin)
    return torch.cat((product.real, product.imag), -1)


@pytest.mark.parametrize("kv_heads", [None, 2, 1])
@pytest.mark.parametrize("rotary", [True, False])
def test_attention_equals_an_explicit_softmax(kv_heads: int | None, rotary: bool) -> None:
    torch.manual_seed(0)
    config = Config(width=32, heads=4, kv_heads=kv_heads, bias=True)
    attention = Attention(config).double()
    x = torch.randn(2, 7, 32, dtype=torch.float64)
    rotation = None
    if rotary:
        cos, sin = decoder_lm.rotation_table(7, 8)
        rotation = (cos.double(), sin.double())
    torch.testing.assert_close(attention(x, rotation), explicit(attention, x, rotation))


def test_attention_equals_torch_s_multihead_attention() -> None:
    torch.manual_seed(0)
    own = Attention(Config(width=32, heads=4, bias=True))
    theirs = nn.MultiheadAttention(32, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat((own.query.weight, own.key.weight, own.value.weight)))
        theirs.in_proj_bias.copy_(torch.cat((own.query.bias, own.key.bias, own.value.bias)))
        theirs.out_proj.load_state_dict(own.out.state_dict())
    x = torch.randn(2, 9, 32)
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    expected, _ = theirs(x, x, x, attn_mask=mask, need_weights=True)
    torch.testing.assert_close(own(x, None), expected, rtol=1e-4, atol=1e-5)


def test_rotary_scores_depend_on_the_distance_only() -> None:
    torch.manual_seed(0)
    cos, sin = decoder_lm.rotation_table(40, 16)
    query, key = torch.randn(16), torch.randn(16)

    def score(at: int, of: int) -> float:
        q = decoder_lm.rotate(query[None, None, None], cos[at, None], sin[at, None])
        k = decoder_lm.rotate(key[None, None, None], cos[of, None], sin[of, None])
        return float((q * k).sum())

    assert math.isclose(score(9, 4), score(35, 30), abs_tol=1e-4)
    assert math.isclose(score(0, 0), float(query @ key), abs_tol=1e-5)
    assert not math.isclose(score(9, 4), score(9, 5), abs_tol=1e-3)


@pytest.mark.parametrize("options", [{}, {"kv_heads": 1}, {"positions": "learned", "norm": "layer", "gated": False}])
def test_future_tokens_do_not_influence_earlier_predictions(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    config = Config(**options)  # type: ignore[arg-type]
    model = decoder_lm.build_model(config)
    (tokens,), _ = decoder_lm.make_batch(config, 2, "cpu")
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % config.vocabulary
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :20], after[:, :20], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, 20:], after[:, 20:])


def test_checkpointing_changes_what_is_kept_and_not_what_comes_out() -> None:
    saved, gradients = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        config = Config(checkpointing=checkpointing)
        model = decoder_lm.build_model(config)
        inputs, targets = decoder_lm.make_batch(config, 2, "cpu")
        kept: list[int] = []

        def keep(tensor: Tensor, kept: list[int] = kept) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = decoder_lm.loss(model(*inputs), targets)
        loss.backward()
        saved.append(sum(kept))
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert saved[1] < saved[0] / 2
    assert all(torch.equal(plain, again) for plain, again in zip(*gradients, strict=True))


def test_tied_weights_are_one_tensor() -> None:
    model = decoder_lm.build_model(Config(tied=True))
    assert model.get_parameter("head.weight") is model.get_parameter("embedding.weight")


@pytest.mark.parametrize(
    "options", [{"heads": 3}, {"kv_heads": 3}, {"width": 20, "heads": 4}, {"norm": "batch"}, {"positions": "none"}]
)
def test_a_config_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"heads|even width|norm|positions"):
        Config(**options)  # type: ignore[arg-type]


LEARNED = {"norm": "layer", "positions": "learned", "gated": False, "bias": True, "tied": True}


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("options", [{}, {"kv_heads": 2}, {"kv_heads": 1, "layers": 1}, LEARNED], ids=str)
def test_decoding_with_a_cache_gives_the_logits_of_the_whole_text(options: dict[str, object], batch_size: int) -> None:
    torch.manual_seed(0)
    config = Config(vocabulary=50, sequence_length=12, width=32, **options)  # type: ignore[arg-type]
    model = decoder_lm.build_model(config).double().eval()
    tokens = torch.randint(50, (batch_size, 12))
    expected = model(tokens)
    for prompt in (1, 5, 12):
        logits, cache = model.prefill(tokens[:, :prompt])
        torch.testing.assert_close(logits, expected[:, prompt - 1])
        for place in range(prompt, 12):
            logits, cache = model.decode(tokens[:, place : place + 1], cache)
            torch.testing.assert_close(logits, expected[:, place])


def test_a_text_ends_where_the_model_or_the_cache_does() -> None:
    model = decoder_lm.build_model(Config(vocabulary=50, sequence_length=8, width=32))
    tokens = torch.randint(50, (1, 9))
    with pytest.raises(ValueError, match="built for 8"):
        model.prefill(tokens[:, :2], capacity=9)
    with pytest.raises(ValueError, match="room for 8 tokens and holds 0"):
        model.prefill(tokens)
    _, cache = model.prefill(tokens[:, :3], capacity=4)
    model.decode(tokens[:, 3:4], cache)
    with pytest.raises(ValueError, match="room for 4 tokens and holds 4"):
        model.decode(tokens[:, 4:5], cache)
    _, cache = model.prefill(tokens[:, :3])
    with pytest.raises(ValueError, match="one token is decoded at a time"):
        model.decode(tokens[:, 3:5], cache)


@pytest.mark.parametrize("kv_heads", [None, 2])
def test_the_formula_of_the_cache_is_what_its_tensors_hold(kv_heads: int | None) -> None:
    config = Config(vocabulary=50, sequence_length=10, layers=3, width=32, kv_heads=kv_heads)
    _, cache = decoder_lm.build_model(config).prefill(decoder_lm.make_prompt(config, 2, 4, "cpu"), capacity=7)
    held = [tensor for layer in cache for tensor in (layer.keys, layer.values)]
    assert sum(tensor.nbytes for tensor in held if tensor is not None) == decoder_lm.cache_bytes(config, 2, 7, 4)


def test_a_decoded_token_costs_two_flops_per_weight_and_its_attention() -> None:
    config = Config(vocabulary=50, sequence_length=20, layers=3, width=32, norm="layer", gated=False)
    with torch.device("meta"):
        model = decoder_lm.build_model(config)
    _, cache = model.prefill(decoder_lm.make_prompt(config, 1, 14, "meta"))
    with FlopCounterMode(display=False) as counter:
        model.decode(decoder_lm.make_prompt(config, 1, 1, "meta"), cache)
    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    assert counter.get_total_flops() == 2 * weights + 4 * 15 * decoder_lm.attention_width(config)


def test_a_block_equals_torch_s_layer_of_the_same_weights() -> None:
    torch.manual_seed(0)
    block = decoder_lm.Block(Config(width=32, heads=4, norm="layer", gated=False, bias=True)).double()
    theirs = nn.TransformerEncoderLayer(
        32, 4, 128, dropout=0.0, activation=lambda x: F.gelu(x, approximate="tanh"), batch_first=True, norm_first=True
    ).double()
    attention, feed_forward = block.attention, block.feed_forward
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(
            torch.cat((attention.query.weight, attention.key.weight, attention.value.weight))
        )
        theirs.self_attn.in_proj_bias.copy_(torch.cat((attention.query.bias, attention.key.bias, attention.value.bias)))
        theirs.self_attn.out_proj.load_state_dict(attention.out.state_dict())
        theirs.linear1.load_state_dict(feed_forward.up.state_dict())
        theirs.linear2.load_state_dict(feed_forward.down.state_dict())
        theirs.norm1.load_state_dict(block.attention_norm.state_dict())
        theirs.norm2.load_state_dict(block.feed_forward_norm.state_dict())
    x = torch.randn(2, 9, 32, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
    torch.testing.assert_close(block(x, None), theirs(x, src_mask=mask, is_causal=True))
