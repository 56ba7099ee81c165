"""Suite files: what is right is read, what is wrong is named in one line with the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.cell import Cell, Mode, Precision
from bench.core.errors import UsageError
from bench.core.record import Sampling
from bench.suite import file as module
from bench.suite.file import Suite, read_suite
from bench.suite.sweep import expand

SUITES = sorted((Path(__file__).parents[2] / "bench" / "suite" / "builtin").glob("*.toml"))

FULL = """
title = "All of it"

[sampling]
budget_seconds = 2
target = 0.05
processes = 3

[[sweep]]
model = ["a", "b"]
batch_size = [8, 32]
precision = ["fp32", "bf16"]

[[sweep.exclude]]
model = "a"
precision = ["bf16"]

[[sweep.include]]
model = "a"
batch_size = 256
mode = "infer"

[[sweep]]
model = "net.py:Net"
input_shape = "3x8x8"
"""


def read(tmp_path: Path, text: str) -> Suite:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return read_suite(path)


def test_a_full_suite_is_read(tmp_path: Path) -> None:
    suite = read(tmp_path, FULL)
    assert suite.title == "All of it"
    assert suite.sampling == Sampling(budget_seconds=2.0, target=0.05, processes=3)
    assert expand(suite.sweeps) == (
        Cell(model="a", batch_size=8),
        Cell(model="a", batch_size=32),
        Cell(model="b", batch_size=8),
        Cell(model="b", batch_size=8, precision=Precision.BF16),
        Cell(model="b", batch_size=32),
        Cell(model="b", batch_size=32, precision=Precision.BF16),
        Cell(model="a", batch_size=256, mode=Mode.INFER),
        Cell(model="net.py:Net", batch_size=8, input_shape=(3, 8, 8)),
    )


def test_numbers_of_sampling_get_their_fields_types(tmp_path: Path) -> None:
    sampling = read(tmp_path, FULL).sampling
    assert type(sampling.budget_seconds) is float
    assert type(sampling.processes) is int


def test_the_title_is_the_files_name_where_none_is_given(tmp_path: Path) -> None:
    assert read(tmp_path, "[[sweep]]\nmodel = 'a'").title == "mine"


def test_the_example_in_the_modules_docstring_is_a_suite(tmp_path: Path) -> None:
    example = (module.__doc__ or "").partition("\n\n")[2]
    cells = expand(read(tmp_path, example).sweeps)
    assert len(cells) == 2 * 2 * 2 - 2 + 1
    assert cells[-1] == Cell(model="my_net", batch_size=256)


S = "[[sweep]]\nmodel = 'a'\n"
WRONG = {
    "not TOML": ("model = [", "not a TOML suite file"),
    "empty": ("", "needs at least one [[sweep]]"),
    "no sweep": ("title = 'x'", "needs at least one [[sweep]]"),
    "a sweep that is no table": ("sweep = 3", "[[sweep]]"),
    "a sweep in single brackets": ("[sweep]\nmodel = 'a'", "[[sweep]]"),
    "a list of no tables": ("sweep = [3]", "[[sweep]]"),
    "an unknown key of the suite": (f"titel = 'x'\n{S}", "unknown key 'titel'. Did you mean 'title'?"),
    "an unknown key of a sweep": (f"{S}batchsize = 8", "unknown key 'batchsize'. Did you mean 'batch_size'?"),
    "an unknown key of sampling": (f"[sampling]\nbudget = 1\n{S}", "[sampling] has an unknown key 'budget'"),
    "an unknown key of an exclude": (f"{S}[[sweep.exclude]]\nmodell = 'a'", "Did you mean 'model'?"),
    "an unknown key of an include": (f"{S}[[sweep.include]]\nmodell = 'a'", "Did you mean 'model'?"),
    "a sweep without a model": ("[[sweep]]\nbatch_size = 8", "needs `model`"),
    "an include without a batch size": (f"{S}[[sweep.include]]\nmodel = 'a'", "needs `batch_size`"),
    "an empty exclude": (f"{S}[[sweep.exclude]]", "empty [[sweep.exclude]]"),
    "an exclude that is no table": (f"{S}exclude = 3", "[[sweep.exclude]]"),
    "an include that is no table": (f"{S}include = ['a']", "[[sweep.include]]"),
    "an empty list": (f"{S}batch_size = []", "empty list"),
    "an empty list of models": ("[[sweep]]\nmodel = []", "empty list"),
    "nodes without several processes": (f"{S}nodes = 2", "nodes 2 needs --world-size 2 or more"),
    "an optimizer of an inference": (
        f"{S}[[sweep.include]]\nmodel = 'a'\nbatch_size = 1\nmode = 'infer'\noptimizer = 'sgd'",
        "optimizer sgd needs --mode train",
    ),
    "a batch size of zero": (f"{S}batch_size = [8, 0]", "batch size must be at least 1, found 0"),
    "a batch size that is text": (f"{S}batch_size = 'abc'", "whole number, found 'abc'"),
    "a batch size that is a float": (f"{S}batch_size = 8.5", "whole number, found 8.5"),
    "a batch size that is a bool": (f"{S}batch_size = true", "whole number, found True"),
    "an unknown precision": (f"{S}precision = 'fp9'", "precision 'fp9' is unknown"),
    "a precision for peaks only": (f"{S}precision = 'fp8'", "`bench machine peaks` measures what a GPU reaches"),
    "a precision that is a number": (f"{S}precision = 32", "precision 32 is unknown"),
    "a model that is a number": ("[[sweep]]\nmodel = 3", "model must be a name, found 3"),
    "a shape that is none": (f"{S}input_shape = '3,8'", "3x224x224"),
    "a shape that is a number": (f"{S}input_shape = 3", "3x224x224"),
    "a shape of text": (f"{S}input_shape = ['a']", "3x224x224"),
    "a shape with a zero": (f"{S}input_shape = [3, 0]", "3x224x224"),
    "sampling that is no table": (f"sampling = 3\n{S}", "[sampling]"),
    "a target that is text": (f"[sampling]\ntarget = 'x'\n{S}", "sampling.target must be a number, found 'x'"),
    "a target that is a bool": (f"[sampling]\ntarget = true\n{S}", "sampling.target must be a number"),
    "steps that are no whole number": (f"[sampling]\nmin_steps = 2.5\n{S}", "sampling.min_steps"),
    "more steps at least than at most": (
        f"[sampling]\nmin_steps = 50\nmax_steps = 5\n{S}",
        "min_steps is 50, and max_steps",
    ),
    "more steps than anybody can take": (
        f"[sampling]\nmin_steps = {10**20}\n{S}",
        "sampling.min_steps must be at most",
    ),
    "a batch that no machine can hold": (f"{S}batch_size = {10**23}", "batch size must be at most"),
    "thousands of brackets": (f"x = {'[' * 5000}", "nested too deeply"),
    "thousands of digits": (f"x = {'9' * 5000}", "thousands of digits"),
    "a key twice": (f"{S}batch_size = 8\nbatch_size = 9", "not a TOML suite file"),
    "a negative budget": (f"[sampling]\nbudget_seconds = -1\n{S}", "sampling.budget_seconds"),
    "a budget that is not finite": (f"[sampling]\nbudget_seconds = nan\n{S}", "sampling.budget_seconds"),
    "no warm-up": (f"[sampling]\nmax_warmup_steps = 0\n{S}", "sampling.max_warmup_steps must be more than 0"),
    "no process": (f"[sampling]\nprocesses = 0\n{S}", "sampling.processes"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_in_one_line_with_the_file(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"{tmp_path / 'mine.toml'}")
    assert "\n" not in message


def test_a_suite_is_read_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf[[sweep]]\r\nmodel = 'mlp'\r\n")
    (sweep,) = read_suite(tmp_path / "mine.toml").sweeps
    assert [cell.model for cell in sweep.cells()] == ["mlp"]


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the suite file .*none\.toml: No such file"):
        read_suite(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot read the suite file"):
        read_suite(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a TOML suite file"):
        read_suite(tmp_path / "binary.toml")


def test_there_are_built_in_suites() -> None:
    assert "quick.toml" in [path.name for path in SUITES]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_built_in_suite_loads_and_holds_cells(path: Path) -> None:
    suite = read_suite(path)
    assert suite.title != path.stem, "a built-in suite has a title"
    assert expand(suite.sweeps)
