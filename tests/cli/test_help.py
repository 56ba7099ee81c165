"""What `bench --help` and the help of every command promise, and that old names still work."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from bench import cli
from bench.cli import OLD_NAMES, PANELS, app, entries, load, run_command
from bench.cli.output import default_words, parameter_name
from bench.core.errors import ExitCode

FOLDER = Path(cli.__file__).parent
TREE = {
    "Measure": {"run", "train", "pipeline", "generate", "images"},
    "Understand a model": {"count", "fit", "profile", "check"},
    "Compare": {"ab", "bisect", "compare", "gate", "history", "ci"},
    "Results": {"show", "report", "export", "list"},
    "This machine": {"machine", "slurm"},
}


def walk(commands: Any, above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for name, command in commands.items():
        found.append(((*above, name), command))
        found += walk(getattr(command, "commands", {}), (*above, name))
    return found


EVERY = walk(typer.main.get_command(app).commands)
NAMED = pytest.mark.parametrize("names", [names for names, _ in EVERY], ids=" ".join)


def help_of(capsys: Any, monkeypatch: Any, *names: str) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command([*names, "--help"]) == ExitCode.FINE
    return capsys.readouterr().out


def test_the_commands_stand_in_five_panels(capsys, monkeypatch) -> None:
    sections = re.split(r"\n(\S.*):\n", help_of(capsys, monkeypatch))
    shown = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert [title for title in shown if title not in ("Options", "Examples")] == list(PANELS)
    for panel, names in TREE.items():
        assert {line.split()[0] for line in shown[panel].splitlines() if line.strip()} == names


def test_every_description_is_whole_and_what_the_module_says(capsys, monkeypatch) -> None:
    text = help_of(capsys, monkeypatch)
    for name, entry in entries().items():
        module = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        assert entry.summary == (ast.get_docstring(module) or "").splitlines()[0]
        assert len(entry.summary) <= 60
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", text, re.MULTILINE)


@NAMED
def test_help_fits_80_columns_and_names_values_in_words(names, capsys, monkeypatch) -> None:
    text = help_of(capsys, monkeypatch, *names)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"<(list|float|int|str|path)", text), text


@pytest.mark.parametrize("name", list(entries()))
def test_every_command_ends_with_examples_that_can_be_parsed(name, capsys, monkeypatch) -> None:
    command = load(name)
    examples = command.epilog.splitlines()
    assert 1 <= len(examples) <= 3
    assert help_of(capsys, monkeypatch, name).rstrip().endswith(examples[-1])
    for example in examples:
        program, *words = shlex.split(example)
        assert (program, words[0]) == ("bench", name)
        inner, rest = command, words[1:]
        if hasattr(command, "commands") and rest and rest[0] in command.commands:
            inner, rest = command.commands[rest[0]], rest[1:]
        context = inner.make_context(name, rest)
        if context.params.get("arguments"):  # `bench ci` passes them on, unread
            load(context.params["step"]).make_context(name, list(context.params["arguments"]))


@pytest.mark.parametrize("names", [names for names, command in EVERY if not hasattr(command, "commands")], ids=" ".join)
def test_every_command_that_answers_takes_format_json(names) -> None:
    command = dict(EVERY)[names]
    assert any("--format" in parameter.opts for parameter in command.params)


READS = {"compare", "show", "report", "export", "list", "history", "slurm", "ci"}
"""Commands that start no process for a model: they read, ask Slurm, or hand their options on."""


@pytest.mark.parametrize(
    "names",
    [names for names, command in EVERY if names[0] not in READS and not hasattr(command, "commands")],
    ids=" ".join,
)
def test_every_command_that_waits_for_a_model_takes_a_time_limit(names) -> None:
    (limit,) = [one for one in dict(EVERY)[names].params if "--timeout" in one.opts]
    assert "10min" in default_words(limit)


WITHOUT = {
    *("--partition", "--gpus", "--max-parallel", "--setup", "--extra-sbatch", "--prefetch", "--threads"),
    *("--target-accuracy", "--limit-examples", "--resume", "--trace", "--name", "--output", "--older-than"),
    *("--keep", "--with"),
}
"""Options that do nothing unless they are typed."""


@NAMED
def test_every_option_shows_its_default(names) -> None:
    silent = [
        parameter_name(one)
        for one in dict(EVERY)[names].params
        if not (one.hidden or one.required or one.param_type_name == "argument" or one.is_flag)
        and default_words(one) is None
        and not WITHOUT.intersection(one.opts)
    ]
    assert not silent


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_an_old_name_works_and_says_the_new_one(old, new, capsys, monkeypatch) -> None:
    text = help_of(capsys, monkeypatch, *new.split())
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command([old, "--help"]) == ExitCode.FINE
    out, err = capsys.readouterr()
    assert err == f"bench: `bench {old}` is now `bench {new}`\n"
    assert out.splitlines()[2:] == text.splitlines()[2:]
    assert old not in entries()


def test_a_typo_is_met_with_a_suggestion(capsys) -> None:
    assert run_command(["profil"]) == ExitCode.USAGE
    assert "Did you mean 'profile'" in capsys.readouterr().err


def test_a_choice_that_is_not_there_is_one_clean_sentence(capsys) -> None:
    assert run_command(["count", "mlp", "--format", "yaml"]) == ExitCode.USAGE
    assert (
        capsys.readouterr().err
        == "bench: Invalid value for '--format': 'yaml' is not one of 'table', 'markdown', 'json'.\n"
    )


def test_help_of_all_commands_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom bench.cli import run_command\nassert run_command(['--help']) == 0\n"
        "print(*[name for name in sys.modules if name.startswith('bench.cli.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["bench.cli.output"]


NEW = '''"""Say hello to a model.

Examples:
    bench hello my_net
"""

PANEL = "Results"


def command(model: str) -> int:
    print(f"hello {model}")
    return 0
'''


def test_a_command_is_one_file(tmp_path) -> None:
    copy = tmp_path / "bench"
    shutil.copytree(FOLDER.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "cli" / "hello.py").write_text(NEW)

    def bench(*arguments: str) -> str:
        code = "import sys; sys.path.insert(0, sys.argv[1]); from bench.cli import main; main(sys.argv[2:])"
        command = [sys.executable, "-c", code, str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert re.search(r"\nResults:\n[^:]*  hello +Say hello to a model.\n", bench("--help"))
    assert bench("hello", "my_net") == "hello my_net\n"
    assert "bench hello my_net" in bench("hello", "--help")


def test_completion_is_offered(capsys, monkeypatch) -> None:
    monkeypatch.setenv("_BENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "bench pro")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        run_command([])
    assert capsys.readouterr().out.split() == ["profile"]


def test_every_command_that_prints_a_table_takes_its_width() -> None:
    for name in ("run", "compare", "generate", "count", "show", "list"):
        command = load(name)
        printers = command.commands.values() if hasattr(command, "commands") else [command]
        assert any("--width" in one.opts for printer in printers for one in printer.params), name
