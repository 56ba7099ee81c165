from __future__ import annotations

import math

import torch
from bench.models import transformer
from torch import Tensor, nn


def test_positional_encoding_follows_the_paper() -> None:
    table = transformer.positional_encoding(50, 16)
    for time in (0, 1, 7, 49):
        for pair in range(8):
            angle = time / 10000 ** (2 * pair / 16)
            assert math.isclose(table[time, 2 * pair], math.sin(angle), abs_tol=1e-5)
            assert math.isclose(table[time, 2 * pair + 1], math.cos(angle), abs_tol=1e-5)


def attend(attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, causal: bool) -> Tensor:
    """Compute multi-head attention with an explicit softmax."""
    width, heads = attention.embed_dim, attention.num_heads
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k, v = (
        (x @ w.T + b).unflatten(-1, (heads, width // heads)).transpose(1, 2)
        for x, w, b in zip((queries, keys, keys), weights, biases, strict=True)
    )
    scores = q @ k.transpose(-1, -2) / math.sqrt(width // heads)
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    return attention.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def by_hand(model: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Run the whole model by the paper's equations: post-norm, ReLU, scaled embeddings."""

    def embed(embedding: nn.Module, tokens: Tensor) -> Tensor:
        scale = math.sqrt(embedding.embedding_dim)
        return embedding(tokens) * scale + transformer.positional_encoding(tokens.shape[1], embedding.embedding_dim)

    memory = embed(model.source_embedding, source)
    for layer in model.encoder:
        memory = layer.norm1(memory + attend(layer.self_attn, memory, memory, causal=False))
        memory = layer.norm2(memory + layer.linear2(torch.relu(layer.linear1(memory))))
    x = embed(model.target_embedding, target)
    for layer in model.decoder:
        x = layer.norm1(x + attend(layer.self_attn, x, x, causal=True))
        x = layer.norm2(x + attend(layer.multihead_attn, x, memory, causal=False))
        x = layer.norm3(x + layer.linear2(torch.relu(layer.linear1(x))))
    return model.head(x)


def test_the_model_equals_the_equations_of_the_paper() -> None:
    torch.manual_seed(0)
    config = transformer.Config(dropout=0.0, source_length=9, target_length=6)
    model = transformer.build_model(config)
    inputs, _ = transformer.make_batch(config, 2, "cpu")
    torch.testing.assert_close(model(*inputs), by_hand(model, *inputs), rtol=1e-4, atol=1e-4)


def test_a_target_token_sees_the_whole_source_and_no_later_target() -> None:
    torch.manual_seed(0)
    config = transformer.Config(dropout=0.0)
    model = transformer.build_model(config)
    (source, target), _ = transformer.make_batch(config, 2, "cpu")
    before = model(source, target)
    later = target.clone()
    later[:, 10] = (later[:, 10] + 1) % config.vocabulary
    torch.testing.assert_close(model(source, later)[:, :10], before[:, :10], rtol=0, atol=1e-6)
    assert not torch.allclose(model(source, later)[:, 10:], before[:, 10:])
    last = source.clone()
    last[:, -1] = (last[:, -1] + 1) % config.vocabulary
    assert not torch.allclose(model(last, target)[:, 0], before[:, 0])


def test_the_paper_s_base_size_has_the_count_of_its_layers() -> None:
    config = transformer.Config(layers=6, width=512, heads=8, ffn=2048, vocabulary=37000)
    with torch.device("meta"):
        model = transformer.build_model(config)
    encoder = 6 * (4 * 512 * 513 + 513 * 2048 + 2049 * 512 + 4 * 512)
    decoder = 6 * (8 * 512 * 513 + 513 * 2048 + 2049 * 512 + 6 * 512)
    unshared = 2 * 37000 * 512 + 513 * 37000
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == encoder + decoder + unshared
    shared = encoder + decoder + 37000 * 512  # the paper shares the three matrices and states 65 million, rounded
    assert abs(shared - 65e6) / 65e6 < 0.04


def test_the_model_equals_torch_s_transformer_without_its_extra_norms() -> None:
    torch.manual_seed(0)
    config = transformer.Config(dropout=0.0, source_length=9, target_length=6)
    model = transformer.build_model(config).double()
    theirs = nn.Transformer(64, 4, 2, 2, 256, dropout=0.0, batch_first=True).double()
    for own, layer in zip(
        (*model.encoder, *model.decoder), (*theirs.encoder.layers, *theirs.decoder.layers), strict=True
    ):
        layer.load_state_dict(own.state_dict())
    theirs.encoder.norm, theirs.decoder.norm = None, None
    (source, target), _ = transformer.make_batch(config, 2, "cpu")
    embedded = [
        embedding(tokens) * 8 + model.positions[: tokens.shape[1]]
        for embedding, tokens in ((model.source_embedding, source), (model.target_embedding, target))
    ]
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
    torch.testing.assert_close(model(source, target), model.head(theirs(*embedded, tgt_mask=mask, tgt_is_causal=True)))
