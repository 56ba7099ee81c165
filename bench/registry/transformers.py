"""`transformers:TYPE`: a Hugging Face model built from its config class with random weights; nothing is downloaded.

The type is a model type of the library, such as `gpt2`, `llama`, `bert`, `vit`; options are fields of its config class
(`transformers:gpt2@n_layer=2,n_embd=64`), checked by its types, and two of ours:

- `task`: `causal`, `masked` or `image`, where a type has several; the first of image, masked, causal otherwise.
- `sequence_length`: tokens of an example; 128, or as many as the model takes.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import inspect
import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.core.errors import ModelError
from bench.core.text import did_you_mean, one_line
from bench.core.workload import Batch, TextGenerator, Workload
from bench.registry.build import annotation_text, building
from bench.registry.spec import Spec, convert_options

if TYPE_CHECKING:
    import torch

_MAPPINGS = {
    "image": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
}
_CLASSES = {
    "image": "AutoModelForImageClassification",
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
}
_OWN_OPTIONS = {"task": "str", "sequence_length": "int"}
_SEQUENCE_LENGTH = 128
_IMAGE_SIZE = 224  # of convolutional models, whose config names no size
_IGNORED = -100  # cross entropy leaves these targets out
_MASKED_SHARE = 0.15  # of the tokens are to be predicted, as in BERT (Devlin et al., 2019)
_LEARNING_RATE = 5e-5  # of the library's own Trainer


@functools.cache
def transformers_tasks() -> dict[str, tuple[str, ...]]:
    """Find each model type that can be built here, with its tasks; {} where the library is not installed.

    Read from the library's source, because importing it takes seconds (a test compares them with what it says itself).
    """
    package = importlib.util.find_spec("transformers")
    if package is None or not package.submodule_search_locations:
        return {}
    path = Path(package.submodule_search_locations[0]) / "models" / "auto" / "modeling_auto.py"
    tree = ast.parse(path.read_bytes())
    listed = {
        target.id: {pair.elts[0].value for pair in _pairs(node.value)}
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in _MAPPINGS.values()
    }
    types = sorted(set().union(*listed.values()))
    return {name: tuple(task for task, mapping in _MAPPINGS.items() if name in listed[mapping]) for name in types}


def _pairs(value: ast.expr) -> list[Any]:
    """Return the pairs of `OrderedDict([("gpt2", "GPT2LMHeadModel"), ...])`; a value may be a tuple itself."""
    listed = value.args[0] if isinstance(value, ast.Call) and value.args else value
    return list(listed.elts) if isinstance(listed, ast.List) else []


def check_transformers(spec: Spec) -> None:
    """Refuse a type that is not there, without importing the library.

    Raises:
        ModelError: The library is not installed; it has no such type, or none that can be built here.
    """
    known = transformers_tasks()
    if not known:
        raise ModelError(
            f"model {spec.text!r} needs the package transformers, which is not installed; "
            "install it, or stepbench with its extra 'transformers'"
        )
    if spec.place not in known:
        raise ModelError(
            f"transformers has no language model or image classifier of type {spec.place!r}."
            f"{did_you_mean(spec.place, known)} See 'bench list transformers'."
        )
    task = dict(spec.options).get("task")
    if task is not None and task not in known[spec.place]:
        raise ModelError(
            f"model {spec.text!r}: {spec.place} has no task {task!r}; it has {', '.join(known[spec.place])}"
        )


def transformers_workload(spec: Spec) -> Workload:
    """Make the Workload of a Hugging Face model.

    Language models are fed random token ids and trained by cross entropy, of the next token or of the masked ones;
    image classifiers random images. The optimizer is AdamW as the library's Trainer makes it. The cache of keys and
    values is switched off in training steps (`use_cache=False`, unless the option says otherwise), where nothing reads
    it; generation uses it.

    Raises:
        ModelError: No such type; the library is not installed, or an option is unknown or of a wrong type.
    """
    check_transformers(spec)
    library = import_transformers()
    typed = dict(spec.options)
    task = typed.get("task", transformers_tasks()[spec.place][0])
    config_type = library.CONFIG_MAPPING[spec.place]
    values = convert_options(spec.text, spec.options, {**_fields(config_type), **_OWN_OPTIONS})
    length = values.pop("sequence_length", None)
    values.pop("task", None)
    config = _make_config(config_type, values, spec)
    if task != "image" and "use_cache" not in values and _field(config, "use_cache") is not None:
        config.use_cache = False
    if task == "causal" and _field(config, "is_encoder_decoder"):
        raise ModelError(f"model {spec.text!r} is an encoder-decoder, which is not built here; name a decoder")
    build = functools.partial(_build, getattr(library, _CLASSES[task]), config)
    common = functools.partial(
        Workload,
        name=spec.text,
        build_model=building(build, spec),
        make_optimizer=make_optimizer,
        source_file=inspect.getsourcefile(config_type),
    )
    if task == "image":
        return common(make_batch=functools.partial(_image_batch, config), loss=class_loss)
    limit = _field(config, "max_position_embeddings")
    tokens = length or min(_SEQUENCE_LENGTH, limit or _SEQUENCE_LENGTH)
    if limit is not None and tokens > limit:
        raise ModelError(f"model {spec.text!r} takes {limit} tokens, and sequence_length is {tokens}; make it smaller")
    make_batch = _masked_batch if task == "masked" else _causal_batch
    return common(
        make_batch=functools.partial(make_batch, config.vocab_size, tokens),
        loss=token_loss,
        tokens_per_example=tokens,
        generator=_generator(config, limit) if task == "causal" else None,
    )


def import_transformers() -> Any:
    """Import the library with its downloads switched off: a config class and random weights need none.

    Raises:
        ModelError: It cannot be imported.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    try:
        import transformers
    except (ImportError, RuntimeError, OSError) as error:
        raise ModelError(f"transformers cannot be imported ({one_line(error)})") from error
    return transformers


def make_optimizer(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Make AdamW as the library's Trainer does: lr 5e-5, no weight decay."""
    import torch

    return torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=0.0)


def token_loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
    """Compute the cross entropy of logits `(B, S, V)` against token ids `(B, S)`; targets of -100 are left out."""
    import torch

    return torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), targets.flatten(), ignore_index=_IGNORED)


def class_loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
    """Compute the cross entropy of logits `(B, classes)` against class ids `(B,)`."""
    import torch

    return torch.nn.functional.cross_entropy(outputs.logits, targets)


def _fields(config_type: Any) -> dict[str, str]:
    """Return the options of a config class with their types as source text, standard names (`hidden_size`) included."""
    own = {field.name: annotation_text(field.type) for field in dataclasses.fields(config_type) if field.name[0] != "_"}
    renamed = getattr(config_type, "attribute_map", {})
    return own | {name: own.get(target, "") for name, target in renamed.items()}


def _make_config(config_type: Any, values: dict[str, Any], spec: Spec) -> Any:
    try:
        return config_type(**values)
    except Exception as error:  # its own checks raise classes of their own
        raise ModelError(f"model {spec.text!r}: {one_line(error)}") from error


def _field(config: Any, name: str) -> Any:
    """Read a field that not every config has; None where it has not."""
    return getattr(config, name, None)


def _build(auto_class: Any, config: Any) -> torch.nn.Module:
    model: torch.nn.Module = auto_class.from_config(config)
    return model.train()


def _causal_batch(vocabulary: int, length: int, batch_size: int, device: str | torch.device) -> Batch:
    import torch

    tokens = torch.randint(vocabulary, (batch_size, length + 1), device=device)
    return (tokens[:, :-1].contiguous(),), tokens[:, 1:].contiguous()


def _masked_batch(vocabulary: int, length: int, batch_size: int, device: str | torch.device) -> Batch:
    """Draw token ids, 15 % of them (and the first of each text) to be predicted."""
    import torch

    tokens = torch.randint(vocabulary, (batch_size, length), device=device)
    is_asked = torch.rand(batch_size, length, device=device) < _MASKED_SHARE
    is_asked[:, 0] = True  # a batch without any would have no loss
    return (tokens,), torch.where(is_asked, tokens, torch.full_like(tokens, _IGNORED))


def _image_batch(config: Any, batch_size: int, device: str | torch.device) -> Batch:
    import torch

    size = _field(config, "image_size") or _IMAGE_SIZE
    height, width = (size, size) if isinstance(size, int) else size
    images = torch.randn(batch_size, _field(config, "num_channels") or 3, height, width, device=device)
    return (images,), torch.randint(config.num_labels, (batch_size,), device=device)


def _generator(config: Any, limit: int | None) -> TextGenerator:
    """Generate through the library's own cache, as its `generate` does: only the last position gets logits."""

    def make_prompt(batch_size: int, length: int, device: str | torch.device) -> torch.Tensor:
        import torch

        return torch.randint(config.vocab_size, (batch_size, length), device=device)

    def read(model: Any, ids: torch.Tensor, cache: Any = None) -> tuple[torch.Tensor, Any]:
        last = {"logits_to_keep": 1} if "logits_to_keep" in _forward_arguments(cast("Hashable", type(model))) else {}
        outputs = model(ids, past_key_values=cache, use_cache=True, **last)
        return outputs.logits[:, -1], outputs.past_key_values

    def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(ids, use_cache=False).logits
        return found

    layers, heads = _field(config, "num_hidden_layers"), _field(config, "num_attention_heads")
    hidden = _field(config, "hidden_size")
    is_known = all(isinstance(value, int) for value in (layers, heads, hidden))
    head_width = _field(config, "head_dim") or (hidden // heads if is_known else None)
    key_heads = _field(config, "num_key_value_heads") or heads

    def cache_bytes(batch_size: int, tokens: int, bytes_per_value: int) -> int:
        return int(2 * layers * batch_size * key_heads * head_width * tokens * bytes_per_value)

    return TextGenerator(
        make_prompt=make_prompt,
        prefill=lambda model, ids, _: read(model, ids),
        decode=read,
        logits=logits,
        context_limit=limit,
        cache_bytes=cache_bytes if is_known else None,
        attention_width=layers * heads * head_width if is_known else None,
    )


@functools.cache
def _forward_arguments(model_type: Any) -> frozenset[str]:
    return frozenset(inspect.signature(model_type.forward).parameters)
