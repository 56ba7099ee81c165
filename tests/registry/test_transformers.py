"""Hugging Face models by type: random weights, no network."""

from __future__ import annotations

import socket
import warnings
from typing import Any

import pytest
import torch

from bench import registry
from bench.core.cell import Cell, Mode
from bench.core.errors import ModelError
from bench.core.generation import GenerationCase
from bench.counters.build import on_meta
from bench.counters.parameters import count_parameters
from bench.registry.code import code_hash
from bench.registry.transformers import transformers_tasks

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other projects' imports
    transformers = pytest.importorskip("transformers")
    from transformers import AutoModelForCausalLM  # noqa: F401 - imported for its warnings, here

pytestmark = pytest.mark.filterwarnings("default")  # what another project warns of is not ours to mend

GPT2 = "transformers:gpt2@n_layer=2,n_embd=32,n_head=2,vocab_size=60,n_positions=24"
LLAMA = (
    "transformers:llama@num_hidden_layers=2,hidden_size=32,num_attention_heads=4,num_key_value_heads=2,"
    "intermediate_size=48,vocab_size=60,max_position_embeddings=24,rms_norm_eps=1e-5"
)
BERT = "transformers:bert@num_hidden_layers=1,hidden_size=32,num_attention_heads=2,intermediate_size=64,vocab_size=60"
VIT = (
    "transformers:vit@num_hidden_layers=1,hidden_size=32,num_attention_heads=2,intermediate_size=64,image_size=32,"
    "patch_size=16"
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_types_and_tasks_read_from_source_are_the_library_s_own() -> None:
    from transformers.models.auto import modeling_auto

    tasks = transformers_tasks()
    for task, names in (
        ("causal", modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        ("masked", modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
        ("image", modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
    ):
        assert {name for name, found in tasks.items() if task in found} == set(names)


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        ("transformers:gpt2", 124_439_808),
        ("transformers:llama", 6_738_415_616),
        ("transformers:bert", 109_514_298),
    ],
)
def test_a_default_config_has_its_documented_parameters_on_meta(spec: str, parameters: int) -> None:
    assert count_parameters(on_meta(registry.resolve(spec).build_model)).parameters == parameters


@pytest.mark.parametrize("spec", [GPT2, LLAMA, BERT, VIT])
def test_a_training_step_runs_and_lowers_the_loss(spec: str) -> None:
    torch.manual_seed(0)
    workload = registry.resolve(spec if spec == VIT else f"{spec},sequence_length=12")
    model = workload.build_model()
    assert model.training
    (inputs, targets), optimizer = workload.make_batch(3, "cpu"), workload.make_optimizer(model.parameters())
    losses = []
    for _ in range(8):
        loss = workload.loss(model(*inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert workload.tokens_per_example == (None if spec == VIT else 12)


@pytest.mark.parametrize("spec", [GPT2, LLAMA])
def test_generation_by_its_own_cache_writes_the_text_of_the_uncached_model(spec: str) -> None:
    from bench.measure.scenarios import generation

    texts = []
    for uses_cache in (True, False):
        cell = Cell(model=spec, mode=Mode.INFER, batch_size=2)
        case = GenerationCase(cell=cell, prompt_tokens=5, new_tokens=6, uses_cache=uses_cache)
        with generation._prepared(case) as (model, generator, prompt):
            texts.append(generation.generate(case, generator, model, prompt)[0])
            if uses_cache:
                cache = generation.read_cache(case, generator, model, prompt)
                assert cache.predicted_bytes == cache.held_bytes
    assert torch.equal(*texts)


def test_a_cache_is_not_filled_in_training_steps() -> None:
    model = registry.resolve(GPT2).build_model()
    assert model(torch.zeros(1, 3, dtype=torch.long)).past_key_values is None


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("transformers:gtp2", ModelError, "of type 'gtp2'. Did you mean 'gpt2'"),
        ("transformers:gpt2@n_layr=2", ModelError, "has no option 'n_layr'. Did you mean 'n_layer'"),
        ("transformers:gpt2@n_layer=two", ModelError, "n_layer=two is not an int"),
        ("transformers:gpt2@task=image", ModelError, "gpt2 has no task 'image'; it has causal"),
        ("transformers:llama@hidden_size=65", ModelError, "multiple of the number of attention"),
        (f"{GPT2},sequence_length=25", ModelError, "takes 24 tokens, and sequence_length is 25"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        registry.resolve(spec)
    assert "\n" not in str(raised.value)


def test_a_wrong_type_is_found_without_importing_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.registry import transformers as transformers_models

    monkeypatch.setattr(transformers_models, "import_transformers", lambda: pytest.fail("it was imported"))
    registry.check(GPT2)
    with pytest.raises(ModelError):
        registry.check("transformers:gtp2")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.registry import transformers as transformers_models

    monkeypatch.setattr(transformers_models, "transformers_tasks", dict)
    with pytest.raises(ModelError, match="extra 'transformers'"):
        registry.check("transformers:gpt2")


def test_its_code_is_named_by_the_version() -> None:
    assert code_hash(GPT2) == f"transformers {transformers.__version__}"


def test_our_decoder_with_its_weights_is_llama() -> None:
    torch.manual_seed(0)
    theirs = registry.resolve(LLAMA).build_model().eval()
    options = "layers=2,width=32,heads=4,kv_heads=2,ffn=48,vocabulary=60,sequence_length=24"
    own = registry.resolve(f"decoder_lm@{options}").build_model().eval()
    weights = {"embedding.weight": theirs.model.embed_tokens.weight, "head.weight": theirs.lm_head.weight}
    weights["norm.weight"] = theirs.model.norm.weight
    for index, layer in enumerate(theirs.model.layers):
        names = {
            "attention_norm": layer.input_layernorm,
            "attention.query": layer.self_attn.q_proj,
            "attention.key": layer.self_attn.k_proj,
            "attention.value": layer.self_attn.v_proj,
            "attention.out": layer.self_attn.o_proj,
            "feed_forward_norm": layer.post_attention_layernorm,
            "feed_forward.gate": layer.mlp.gate_proj,
            "feed_forward.up": layer.mlp.up_proj,
            "feed_forward.down": layer.mlp.down_proj,
        }
        weights |= {f"blocks.{index}.{name}.weight": module.weight for name, module in names.items()}
    own.load_state_dict(weights)
    ids = torch.randint(60, (2, 20))
    with torch.no_grad():
        torch.testing.assert_close(own(ids), theirs(ids).logits, rtol=1e-4, atol=1e-5)
