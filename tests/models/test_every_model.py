"""What holds for every reference model."""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import importlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

MODELS = ("mlp", "walkthrough_cnn", "my_net", "rnn", "lstm", "gru", "transformer", "decoder_lm", "diffusion")

# A hand count for each default configuration, written as the layers are.
PARAMETERS = {
    "mlp": (784 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 10,
    "walkthrough_cnn": 896 + 18_496 + 18_874_880 + 22_059,
    "my_net": 896 + 18_496 + 73_856 + 9_437_696 + 16_416,
    "rnn": 1000 * 128 + 1 * 128 * (128 + 128 + 2) + (128 + 1) * 1000,  # torch has two bias vectors per gate
    "lstm": 1000 * 128 + 4 * 128 * (128 + 128 + 2) + (128 + 1) * 1000,
    "gru": 1000 * 128 + 3 * 128 * (128 + 128 + 2) + (128 + 1) * 1000,
    "transformer": (
        2 * 1000 * 64
        + 2 * (4 * 64 * 65 + 65 * 256 + 257 * 64 + 2 * 2 * 64)  # encoder: one attention, two norms
        + 2 * (8 * 64 * 65 + 65 * 256 + 257 * 64 + 3 * 2 * 64)  # decoder: two attentions, three norms
        + 65 * 1000
    ),
    "decoder_lm": 1000 * 128 + 2 * (4 * 128 * 128 + 3 * 128 * 512 + 2 * 128) + 128 + 128 * 1000,
    "diffusion": (
        (1000 * 64 + 16 * 64 + 2 * 2 * 64 + 4 * 64 * 65 + 65 * 256 + 257 * 64)  # text encoder
        + 2 * 64 * 65  # time
        + (27 + 1) * 32  # conv_in
        + (2 * 32 + (9 * 32 + 1) * 32 + 65 * 32 + 2 * 32 + (9 * 32 + 1) * 32 + 33 * 32)  # down_block
        + (4 * 32 + 1) * 64  # down
        + (2 * 64 + (9 * 64 + 1) * 64 + 65 * 64 + 2 * 64 + (9 * 64 + 1) * 64 + 65 * 64)  # middle_block
        + (2 * 64 + 4 * 64 * 65)  # cross-attention
        + (64 * 4 * 32 + 32)  # up, transposed
        + (2 * 64 + (9 * 64 + 1) * 32 + 65 * 32 + 2 * 32 + (9 * 32 + 1) * 32 + 65 * 32)  # up_block
        + (2 * 32 + (9 * 32 + 1) * 3)  # norm_out, conv_out
    ),
}
OUTPUT_SHAPES = {
    "mlp": (3, 10),
    "walkthrough_cnn": (3, 43),
    "my_net": (3, 32),
    "rnn": (3, 32, 1000),
    "lstm": (3, 32, 1000),
    "gru": (3, 32, 1000),
    "transformer": (3, 16, 1000),
    "decoder_lm": (3, 32, 1000),
    "diffusion": (3, 3, 16, 16),
}
GROWN: dict[str, list[dict[str, Any]]] = {
    "mlp": [{"depth": 1}, {"depth": 5, "width": 33, "activation": "softmax"}],
    "walkthrough_cnn": [{"classes": 10}, {"image_size": 32}, {"pool": False}, {"image_size": 8, "dense": True}],
    "my_net": [{"classes": 10}, {"image_size": 64}, {"pool": False}],
    "rnn": [{"layers": 3, "hidden": 96}, {"cell_by_cell": True}, {"tbptt": 5}],
    "lstm": [{"layers": 3, "hidden": 96}, {"cell_by_cell": True}, {"tbptt": 5}],
    "gru": [{"layers": 3, "hidden": 96}, {"cell_by_cell": True}, {"tbptt": 5}],
    "transformer": [{"layers": 3, "source_length": 7, "target_length": 12, "ffn": 100}],
    "decoder_lm": [
        {"kv_heads": 2, "ffn": 300},
        {"gated": False, "norm": "layer", "positions": "learned", "bias": True, "tied": True},
    ],
    "diffusion": [{"image_size": 32, "channels": 16, "text_length": 5, "heads": 2}],
}


def name_of(file: ModuleType) -> str:
    return file.__name__.rpartition(".")[2]


@pytest.fixture(params=MODELS)
def model_file(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"bench.models.{request.param}")


def small_config(file: ModuleType) -> Any:
    """Return the default options, with smaller images for the two networks that are slow on one core."""
    return file.Config(image_size=16) if name_of(file) in ("walkthrough_cnn", "my_net") else file.Config()


def small_step(file: ModuleType, seed: int = 0) -> list[Tensor]:
    """Take two optimizer steps from a seed; returns loss and parameters after them."""
    torch.manual_seed(seed)
    config = small_config(file)
    model = file.build_model(config)
    inputs, targets = file.make_batch(config, 2, "cpu")
    optimizer = file.make_optimizer(model.parameters())
    loss = torch.tensor(0.0)
    for _ in range(2):
        optimizer.zero_grad()
        loss = file.loss(model(*inputs), targets)
        loss.backward()
        optimizer.step()
    return [loss.detach(), *(parameter.detach() for parameter in model.parameters())]


def test_the_list_of_models_is_that_of_the_folder() -> None:
    folder = Path(__file__).parents[2] / "models"
    assert {path.stem for path in folder.glob("[!_]*.py")} == set(MODELS)


def test_a_model_file_imports_torch_and_the_standard_library_only(model_file: ModuleType) -> None:
    assert model_file.__file__ is not None
    tree = ast.parse(Path(model_file.__file__).read_text(encoding="utf-8"))
    roots = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    allowed = {"__future__", "torch", "math", "dataclasses", "collections", "functools", "itertools"}
    assert {root.partition(".")[0] for root in roots} <= allowed


def test_parameters_equal_the_hand_count(model_file: ModuleType) -> None:
    with torch.device("meta"):
        model = model_file.build_model(model_file.Config())
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name_of(model_file)]


def test_a_model_is_built_in_train_mode_and_wholly_trainable(model_file: ModuleType) -> None:
    with torch.device("meta"):
        model = model_file.build_model(model_file.Config())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_outputs_have_the_documented_shape_and_loss_is_a_finite_scalar(model_file: ModuleType) -> None:
    torch.manual_seed(0)
    config = model_file.Config()
    inputs, targets = model_file.make_batch(config, 3, "cpu")
    outputs = model_file.build_model(config)(*inputs)
    loss = model_file.loss(outputs, targets)
    assert tuple(outputs.shape) == OUTPUT_SHAPES[name_of(model_file)]
    assert loss.shape == ()
    assert torch.isfinite(loss)


def test_steps_are_bitwise_equal_from_one_seed_only(model_file: ModuleType) -> None:
    first, again, other = small_step(model_file), small_step(model_file), small_step(model_file, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_every_parameter_gets_a_gradient(model_file: ModuleType) -> None:
    torch.manual_seed(0)
    config = small_config(model_file)
    model = model_file.build_model(config)
    inputs, targets = model_file.make_batch(config, 2, "cpu")
    model_file.loss(model(*inputs), targets).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def test_a_few_steps_on_one_batch_lower_the_loss(model_file: ModuleType) -> None:
    torch.manual_seed(0)
    config = small_config(model_file)
    model = model_file.build_model(config)
    inputs, targets = model_file.make_batch(config, 4, "cpu")
    optimizer = model_file.make_optimizer(model.parameters())

    def evaluate() -> float:  # without dropout, so that one draw of it decides nothing
        model.eval()
        with torch.no_grad():
            value = model_file.loss(model(*inputs), targets).item()
        model.train()
        return value

    before = evaluate()
    for _ in range(6):
        optimizer.zero_grad()
        model_file.loss(model(*inputs), targets).backward()
        optimizer.step()
    assert evaluate() < before


@contextlib.contextmanager
def unless_this_cpu_cannot() -> Iterator[None]:
    """Skip where oneDNN has no kernel for this processor: a CPU without bf16 instructions has no LSTM in bf16."""
    try:
        yield
    except RuntimeError as error:
        if "could not create a primitive descriptor" not in str(error):
            raise
        pytest.skip(f"this CPU has no such kernel: {error}")


def test_a_step_works_under_bf16_autocast_and_keeps_float32_gradients(model_file: ModuleType) -> None:
    torch.manual_seed(0)
    config = small_config(model_file)
    model = model_file.build_model(config)
    inputs, targets = model_file.make_batch(config, 2, "cpu")
    with unless_this_cpu_cannot(), torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model_file.loss(model(*inputs), targets)
        loss.backward()
    assert torch.isfinite(loss)
    assert {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None} == {torch.float32}


def test_a_step_works_when_model_and_floats_are_cast_to_bf16(model_file: ModuleType) -> None:
    torch.manual_seed(0)
    config = small_config(model_file)
    model = model_file.build_model(config).to(torch.bfloat16)
    inputs, targets = model_file.make_batch(config, 2, "cpu")
    inputs = tuple(value.bfloat16() if value.is_floating_point() else value for value in inputs)
    targets = targets.bfloat16() if targets.is_floating_point() else targets
    with unless_this_cpu_cannot():
        outputs = model(*inputs)
    assert outputs.dtype is torch.bfloat16
    model_file.loss(outputs, targets).backward()


def test_eval_is_deterministic_and_agrees_with_train_sans_dropout(model_file: ModuleType) -> None:
    torch.manual_seed(0)
    has_dropout = "dropout" in {field.name for field in dataclasses.fields(model_file.Config)}
    config = model_file.Config(dropout=0.0) if has_dropout else model_file.Config()
    model = model_file.build_model(config)
    inputs, _ = model_file.make_batch(config, 2, "cpu")
    trained = model(*inputs)
    model.eval()
    with torch.no_grad():
        evaluated, again = model(*inputs), model(*inputs)
    assert torch.equal(evaluated, again)
    torch.testing.assert_close(trained.detach(), evaluated, rtol=1e-4, atol=1e-5)


def test_model_and_batch_are_made_on_meta_without_memory(model_file: ModuleType) -> None:
    config = model_file.Config()
    with torch.device("meta"):
        model = model_file.build_model(config)
    inputs, targets = model_file.make_batch(config, 2, "meta")
    loss = model_file.loss(model(*inputs), targets)
    loss.backward()
    assert loss.device.type == "meta"
    assert {value.device.type for value in (*inputs, targets)} == {"meta"}


def test_a_whole_step_runs_on_fake_tensors(model_file: ModuleType) -> None:
    config = model_file.Config()
    with FakeTensorMode():
        model = model_file.build_model(config)
        inputs, targets = model_file.make_batch(config, 2, "cpu")
        optimizer = model_file.make_optimizer(model.parameters())
        loss = model_file.loss(model(*inputs), targets)
        loss.backward()
        optimizer.step()
    assert isinstance(loss, FakeTensor)


def test_a_model_can_be_copied_and_saved(model_file: ModuleType) -> None:
    torch.manual_seed(0)
    config = small_config(model_file)
    model = model_file.build_model(config).eval()
    inputs, _ = model_file.make_batch(config, 1, "cpu")
    copied = copy.deepcopy(model)
    other = model_file.build_model(config).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = model(*inputs)
        assert torch.equal(copied(*inputs), expected)
        assert torch.equal(other(*inputs), expected)


CASES = [(name, {}) for name in MODELS] + [(name, options) for name, grown in GROWN.items() for options in grown]


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))
def test_closed_form_flops_equal_the_counted_ones(name: str, options: dict[str, Any], batch_size: int = 5) -> None:
    file = importlib.import_module(f"bench.models.{name}")
    config = file.Config(**options)
    with torch.device("meta"):
        model: nn.Module = file.build_model(config)
    inputs, _ = file.make_batch(config, batch_size, "meta")
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    assert file.forward_flops(config, batch_size) == counter.get_total_flops() > 0


def test_config_fields_each_have_a_default_and_a_comment(model_file: ModuleType) -> None:
    assert model_file.__file__ is not None
    lines = Path(model_file.__file__).read_text(encoding="utf-8").splitlines()
    for field in dataclasses.fields(model_file.Config):
        assert field.default is not dataclasses.MISSING
        written = [line for line in lines if line.startswith(f"    {field.name}: ")]
        assert len(written) == 1
        assert "  # " in written[0]


def test_every_size_and_probability_has_bounds(model_file: ModuleType) -> None:
    refused = {"int": (0, -1, 2**31), "float": (-0.5, 1.5, math.nan)}
    for field in dataclasses.fields(model_file.Config):
        for value in refused.get(str(field.type).removesuffix(" | None"), ()):
            with pytest.raises(ValueError, match=f"^{field.name} {re.escape(str(value))} is no .*; take ") as caught:
                model_file.Config(**{field.name: value})
            assert "\n" not in str(caught.value)


def test_language_models_say_how_many_tokens_an_example_has(model_file: ModuleType) -> None:
    tokens = vars(model_file).get("tokens_per_example")
    _, targets = model_file.make_batch(model_file.Config(), 3, "cpu")
    is_language_model = name_of(model_file) in ("rnn", "lstm", "gru", "transformer", "decoder_lm")
    assert (tokens is not None) == is_language_model
    if tokens is not None:
        assert tokens(model_file.Config()) * 3 == targets.numel()
