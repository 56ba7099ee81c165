"""Every kind of spec, and every way to get one wrong."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.core.errors import BenchError, ModelError
from bench.core.workload import Workload
from bench.registry import check, resolve


def step(workload: Workload, batch_size: int = 2) -> torch.Tensor:
    """Take one whole training step; returns the loss."""
    torch.manual_seed(0)
    model = workload.build_model()
    inputs, targets = workload.make_batch(batch_size, "cpu")
    optimizer = workload.make_optimizer(model.parameters())
    loss = workload.loss(model(*inputs), targets)
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("name", ["mlp", "rnn", "decoder_lm", "diffusion"])
def test_a_reference_model_takes_a_step(name: str) -> None:
    workload = resolve(name)
    assert workload.name == name
    assert torch.isfinite(step(workload))
    assert str(workload.source_file).endswith(f"{name}.py")
    assert workload.closed_form_flops is not None
    assert workload.closed_form_flops(4) == 4 * workload.closed_form_flops(1)


def test_options_reach_the_config_with_their_types() -> None:
    workload = resolve("decoder_lm@kv_heads=2,gated=false,norm=layer,sequence_length=8,vocabulary=50")
    assert workload.tokens_per_example == 8
    model = workload.build_model()
    assert model.get_submodule("blocks.0.attention.key").weight.shape == (64, 128)
    assert isinstance(model.get_submodule("norm"), nn.LayerNorm)
    assert workload.make_batch(3, "cpu")[1].shape == (3, 8)


def test_a_name_with_options_is_the_workload_s_name() -> None:
    assert resolve("mlp@width=8,depth=2").name == "mlp@width=8,depth=2"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("mlp@widht=3", "has no option 'widht'. Did you mean 'width'"),
        ("mlp@width=a", "option width=a is not an int"),
        ("mlp@activation=swoosh", "activation 'swoosh' is not one of relu"),
        ("decoder_lm@heads=3", "width 128 is not a multiple of heads 3"),
        ("mlp@width", "not key=value"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_built(spec: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        resolve(spec)


def test_a_reference_model_refuses_an_input_shape() -> None:
    with pytest.raises(ModelError, match=r"'mlp' makes its own batches; --input is for a bare nn.Module"):
        resolve("mlp", input_shape=(3,))


@pytest.mark.parametrize(
    "spec",
    ["net:Net", "net.py:Net", "./net.py:Net", "net:make_net", "net:Holder.inner", "sub.deep:Net", "sub/deep.py:Net"],
)
def test_a_bare_module_takes_a_step_with_an_input_shape(folder: Path, spec: str) -> None:
    workload = resolve(spec, input_shape=(6,))
    assert workload.name == spec
    assert torch.isfinite(step(workload))
    assert workload.source_file == str(folder / "net.py")


def test_a_file_is_found_by_its_absolute_path_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert torch.isfinite(step(resolve(f"{folder}/sub/../net.py:Net", input_shape=(6,))))


def test_options_of_a_callable_become_keyword_arguments(folder: Path) -> None:
    model = resolve("net:Net@classes=9,bias=false,rate=1,name=3", input_shape=(6,)).build_model()
    assert model.given == (9, False, 1.0, 3)
    model = resolve("net:make_net@classes=9,bias=false,name=abc", input_shape=(6,)).build_model()
    assert model.given == (9, False, 0.5, "abc")


def test_nothing_is_built_before_it_is_asked_for(folder: Path) -> None:
    workload = resolve("net.py:boom@reason=because", input_shape=(6,))
    with pytest.raises(ModelError) as caught:
        workload.build_model()
    assert str(caught.value) == "building 'net.py:boom@reason=because' raised ValueError: it broke: because"
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_callable_that_raises_without_a_shape_raises_in_resolve(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"building 'net.py:boom' raised ValueError: it broke: no reason"):
        resolve("net.py:boom")


@pytest.mark.parametrize(("name", "error"), [("short_of_memory", MemoryError), ("short_of_torch_memory", RuntimeError)])
def test_lack_of_memory_is_not_disguised(folder: Path, name: str, error: type[Exception]) -> None:
    workload = resolve(f"net:{name}", input_shape=(6,))
    with pytest.raises(error) as caught:
        workload.build_model()
    assert not isinstance(caught.value, BenchError)


@pytest.mark.parametrize("spec", ["net.py:Net", "net.py:make_net", "net.py:instance"])
def test_a_bare_module_without_a_shape_is_told_what_to_add(folder: Path, spec: str) -> None:
    with pytest.raises(ModelError, match=r"is an nn.Module, .* --input 3x224x224"):
        resolve(spec)


def test_a_module_that_is_built_already_is_copied_for_each_build(folder: Path) -> None:
    workload = resolve("net:instance", input_shape=(6,))
    first, second = workload.build_model(), workload.build_model()
    assert first is not second
    assert torch.equal(first.get_parameter("layer.weight"), second.get_parameter("layer.weight"))
    assert torch.isfinite(step(workload))


@pytest.mark.parametrize("spec", ["loads:workload", "loads.py:workload", "loads:made", "loads.py:made"])
def test_a_workload_is_taken_as_it_is(folder: Path, spec: str) -> None:
    workload = resolve(spec)
    assert workload.name == spec
    assert workload.tokens_per_example == 5
    assert workload.make_optimizer(workload.build_model().parameters()).defaults["lr"] == 0.5
    assert workload.source_file == str(folder / "loads.py")
    assert torch.isfinite(step(workload))


def test_options_reach_a_function_that_returns_a_workload(folder: Path) -> None:
    assert resolve("loads:workload@classes=11").build_model().get_submodule("layer").out_features == 11


@pytest.mark.parametrize("spec", ["five.py", "five.py@width=5,rate=none"])
def test_a_file_of_five_names_needs_no_callable(folder: Path, spec: str) -> None:
    workload = resolve(spec)
    assert torch.isfinite(step(workload))
    assert workload.closed_form_flops is None
    assert workload.tokens_per_example is None


def test_a_function_may_import_a_sibling_when_it_is_called(folder: Path) -> None:
    (folder / "sub" / "late.py").write_text("def f():\n    import sibling\n    from net import Net\n    return Net()\n")
    assert torch.isfinite(step(resolve("sub/late.py:f", input_shape=(6,))))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nowhere.py:f", "no file 'nowhere.py' in"),
        ("sub/nowhere.py:f", "no file 'sub/nowhere.py' in"),
        ("sub/:f", "no file"),
        ("broken.py:f", "broken.py, line 1 is not Python: invalid syntax"),
        ("broken:f", "broken.py, line 1 is not Python: invalid syntax"),
        ("notes.txt:f", "notes.txt, line 1 is not Python"),
        ("raises.py:f", r"importing raises.py \(line 2\) raised KeyError: 'lost'"),
        ("raises:f", r"importing raises \(line 2\) raised KeyError: 'lost'"),
        ("needs.py:f", r"importing needs.py \(line 1\) raised ModuleNotFoundError: No module named 'not_installed"),
        ("needs:f", r"importing needs \(line 1\) raised ModuleNotFoundError: No module named 'not_installed"),
        ("exits.py:f", r"importing exits.py \(line 2\) raised SystemExit: 2"),
        ("absent:f", "no module named 'absent' in"),
        ("sub.absent:f", "no module named 'sub.absent' in"),
        ("net.py:Nett", "net.py has no 'Nett'. Did you mean 'Net'"),
        ("net.py:quite_other", "net.py has no 'quite_other'. It defines: "),
        ("net:Nett", "net.py has no 'Nett'. Did you mean 'Net'"),
        ("net:Holder.iner", "net.py has no 'iner'. Did you mean 'inner'"),
        ("net.py", "net.py lacks Config, build_model, make_batch, loss, make_optimizer"),
        ("net.py:text", "is a str; it must be a Workload, an nn.Module, or a callable"),
        ("net.py:number", "returned a int, neither a Workload nor an nn.Module"),
        ("net.py:leave", "building 'net.py:leave' raised SystemExit: 3"),
        ("net.py:Net@classes=x", "option classes=x is not an int"),
        ("net.py:Net@klasses=3", "no option 'klasses'. Did you mean 'classes'"),
        ("net.py:instance@a=1", "takes no options"),
        ("loads:made@a=1", "takes no options"),
        ("loads:workload@a=1", "no option 'a'"),
        ("net.py:Needy", "needs width; write 'net.py:Needy@width=...'"),
    ],
)
def test_what_is_wrong_with_a_user_s_spec_is_said_in_one_line(folder: Path, spec: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        resolve(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("loads:made", "is a Workload, which makes its own batches; leave out --input"),
        ("five.py", "makes its own batches"),
    ],
)
def test_a_shape_where_none_is_wanted_is_refused(folder: Path, spec: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        resolve(spec, input_shape=(6,))


@pytest.mark.parametrize(
    ("spec", "says"),
    [("loads:workload", "returned a Workload, .* leave out --input"), ("net:number", "a int, not")],
)
def test_a_function_that_returns_no_module_is_refused_when_it_is_called(folder: Path, spec: str, says: str) -> None:
    workload = resolve(spec, input_shape=(6,))
    with pytest.raises(ModelError, match=says):
        workload.build_model()


def test_an_import_that_failed_leaves_nothing_behind_and_can_be_repeated(folder: Path) -> None:
    path = folder / "raises.py"
    with pytest.raises(ModelError):
        resolve("raises.py:Net", input_shape=(6,))
    path.write_text("from net import Net\n")
    assert torch.isfinite(step(resolve("raises.py:Net", input_shape=(6,))))


def test_a_file_loaded_twice_is_one_module_that_can_be_pickled(folder: Path) -> None:
    first = resolve("net.py:Net", input_shape=(6,)).build_model()
    second = resolve("net.py:Net", input_shape=(6,)).build_model()
    assert type(first) is type(second)
    assert type(first).__module__ in sys.modules
    assert type(pickle.loads(pickle.dumps(first))) is type(first)
    assert type(copy.deepcopy(first)) is type(first)


def test_an_edited_file_is_loaded_again(folder: Path) -> None:
    before = resolve("net.py:Net", input_shape=(6,)).build_model()
    path = folder / "net.py"
    path.write_text(path.read_text().replace("classes: int = 4", "classes: int = 17"))
    after = resolve("net.py:Net", input_shape=(6,)).build_model()
    assert (before.given[0], after.given[0]) == (4, 17)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("resnet5", ModelError),
        ("torchvision:resnet5", ModelError),
        ("mlp@widht=3", ModelError),
        ("mlp@width=a", ModelError),
        ("nowhere.py:f", ModelError),
        ("broken.py:f", ModelError),
        ("broken:f", ModelError),
        ("notes.txt:f", ModelError),
        ("five.py@heigth=3", ModelError),
        ("net.py:Nett", ModelError),
        ("net.py:nothing_like_it", ModelError),
        ("functions.py:mak@width=3", ModelError),
        ("functions.py:make@widht=3", ModelError),
        ("functions.py:make@width=a", ModelError),
    ],
)
def test_check_finds_without_importing_what_resolve_finds(folder: Path, spec: str, error: type[BenchError]) -> None:
    with pytest.raises(error) as resolved:
        resolve(spec)
    with pytest.raises(error) as checked:
        check(spec)
    assert str(checked.value) == str(resolved.value)


@pytest.mark.parametrize(
    "spec",
    [
        "mlp",
        "my_net@classes=10",
        "torchvision:resnet18@num_classes=10",
        "net.py:Net",
        "net:Net",
        "five.py@width=5",
        "functions.py:make@width=5",
        "functions.py:free@width=5",
        "functions.py:late@width=5",
        "functions.py:torch.nn.Linear@in_features=2,out_features=2",
    ],
)
def test_check_lets_a_good_spec_pass(folder: Path, spec: str) -> None:
    check(spec)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_option_of_0_that_leaves_a_weight_without_elements_is_refused(folder: Path) -> None:
    for spec, shape in (("net.py:Net@classes=0", (6,)), ("five.py@width=0", None)):
        with pytest.raises(ModelError, match=r"weight has no elements \(\w+\); give \w+=0 a larger value$"):
            resolve(spec, input_shape=shape).build_model()
    assert resolve("net.py:Net@classes=2,rate=0,bias=false", input_shape=(6,)).build_model()


def test_a_config_that_divides_by_an_option_is_refused_in_one_line(folder: Path) -> None:
    checked = "rate: float = 1.0\n\n    def __post_init__(self):\n        1 / self.rate"
    Path("five.py").write_text(Path("five.py").read_text().replace("rate: float | None = None", checked))
    with pytest.raises(ModelError, match=r"^model 'five.py@rate=0': its Config raised ZeroDivisionError: "):
        resolve("five.py@rate=0")
