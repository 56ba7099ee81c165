from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import registry
from bench.core.errors import ModelError
from bench.registry import catalog

PLUGINS = f"{__package__}.plugins"  # pytest names this package by how it was started
REFERENCE = {"mlp", "walkthrough_cnn", "my_net", "rnn", "lstm", "gru", "transformer", "decoder_lm", "diffusion"}


def test_every_reference_model_is_listed() -> None:
    assert set(registry.names()) >= REFERENCE


def test_torchvision_s_names_read_from_source_are_those_it_lists_itself() -> None:
    torchvision = pytest.importorskip("torchvision")
    listed = torchvision.models.list_models()
    assert sorted(registry.torchvision_sources()) == sorted(listed)
    assert registry.torchvision_names() == tuple(sorted(listed))
    assert {"resnet50", "quantized_resnet18", "fasterrcnn_resnet50_fpn", "fcn_resnet50", "raft_small"} <= set(listed)


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("resnet5", "torchvision:resnet50"),
        ("resnet50", "torchvision:resnet50"),
        ("torchvision:resnet5", "torchvision:resnet50"),
        ("mynet", "my_net"),
        ("decoder-lm", "decoder_lm"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, suggested: str) -> None:
    assert str(catalog.unknown_name(name)) == (
        f"no model named {name!r}. Did you mean {suggested!r}? Or pass 'package.module:callable'. See 'bench list'."
    )


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    assert "Did you mean" not in str(catalog.unknown_name("qqqqqqqq"))


def test_names_work_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda _name: None)
    catalog.torchvision_sources.cache_clear()
    try:
        assert catalog.torchvision_sources() == {}
        assert "'mlp'" in str(catalog.unknown_name("mlpp"))
    finally:
        catalog.torchvision_sources.cache_clear()


def test_a_folder_of_models_comes_before_the_entry_points(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = folder / "own"
    models.mkdir()
    (folder / "five.py").rename(models / "mlp.py")
    (models / "_private.py").touch()
    (models / "half.py").write_text("def build_model(config): ...\n")
    monkeypatch.setenv("STEPBENCH_MODELS", "own")
    assert {"mlp", "half", "my_net"} <= set(registry.names())
    assert "_private" not in registry.names()
    workload = registry.resolve("mlp@width=9")
    assert workload.source_file == str(models / "mlp.py")
    assert workload.make_batch(2, "cpu")[0][0].shape == (2, 9)
    assert registry.describe("mlp").about == "A file of five names."
    with pytest.raises(ModelError, match=r"half.py lacks Config, make_batch, loss, make_optimizer"):
        registry.resolve("half")
    registry.check("mlp@width=9")
    with pytest.raises(ModelError, match=r"no option 'depth'"):
        registry.check("mlp@depth=9")
    with pytest.raises(ModelError, match="has no option 'sequence_length': it reads images"):
        registry.check("torchvision:resnet18@sequence_length=8")


def test_a_folder_of_models_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPBENCH_MODELS", "/nowhere/at/all")
    with pytest.raises(ModelError, match=r"STEPBENCH_MODELS names '/nowhere/at/all', which is not a folder"):
        registry.names()


def plugin(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint(name="plugged", value=value, group=catalog.GROUP)
    monkeypatch.setattr(catalog, "_entry_points", lambda _: {point.name: point})


@pytest.mark.parametrize("value", ["bench.models.mlp", f"{PLUGINS}:workload", f"{PLUGINS}:make"])
def test_a_plugin_may_point_at_a_module_a_workload_or_a_callable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    plugin(monkeypatch, value)
    workload = registry.resolve("plugged")
    assert workload.name == "plugged"
    (inputs, targets), model = workload.make_batch(2, "cpu"), workload.build_model()
    assert workload.loss(model(*inputs), targets).shape == ()
    assert workload.source_file is not None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (f"{PLUGINS}_nowhere", r"_nowhere' raised ModuleNotFoundError"),
        (f"{PLUGINS}:absent", "raised AttributeError"),
        (f"{PLUGINS}:NUMBER", "is a int; it must be a Workload"),
    ],
)
def test_a_broken_plugin_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    plugin(monkeypatch, value)
    with pytest.raises(ModelError, match=says) as caught:
        registry.resolve("plugged")
    assert "\n" not in str(caught.value)


def test_listing_describing_and_checking_import_no_torch() -> None:
    code = (
        "import sys\n"
        "from bench import registry\n"
        "[registry.describe(name) for name in registry.names()]\n"
        "registry.torchvision_sources(); registry.check('mlp@width=5'); registry.check('torchvision:resnet18')\n"
        "registry.OPTIMIZERS\n"
        "print([name for name in ('torch', 'torchvision', 'numpy', 'pandas') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="no model named 'nothing_of_the_kind'"):
        registry.resolve("nothing_of_the_kind")
