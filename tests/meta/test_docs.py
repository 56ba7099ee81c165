"""Every command is explained, and what the README shows works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.cli import app, entries
from tests.meta.readme import Block, blocks, commands, made_cheap

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): blocks(path.read_text(encoding="utf-8"))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
README = PAGES["README.md"]

# On a busy machine threads wait for each other: steps of 40 ms instead of 2, 196 s for four small cells.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}

# Runs all commands in one process with one fork server, so that torch is imported once.
DRIVER = """
import contextlib, io, json, sys
from bench.cli import run_command
for arguments in json.loads(sys.argv[1]):
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = run_command(arguments)
    print(json.dumps({"code": code, "output": output.getvalue(), "errors": errors.getvalue()}))
"""


def write_files(folder: Path, found: list[Block]) -> None:
    for block in found:
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def run_all(arguments: list[list[str]], folder: Path) -> list[dict]:
    command = [sys.executable, "-c", DRIVER, json.dumps(arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def cheap_commands(found: list[Block]) -> list[list[str]]:
    """List the commands of all console blocks that are to be run; of unknown length, the command's help."""
    typed = [
        command
        for block in found
        if block.language == "console" and block.not_run is None
        for command in commands(block)
    ]
    cheap = [made_cheap(command) or [command[0], "--help"] for command in typed]
    return [json.loads(text) for text in dict.fromkeys(map(json.dumps, cheap))]


@pytest.mark.slow
def test_the_commands_of_readme_and_docs_end_well(tmp_path: Path) -> None:
    for page in PAGES.values():
        write_files(tmp_path, page)
    asked = cheap_commands([block for page in PAGES.values() for block in page])
    for arguments, result in zip(asked, run_all(asked, tmp_path), strict=True):
        assert result["code"] == 0, f"bench {' '.join(arguments)}: {result['errors'] or result['output']}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [block for block in README if block.language == "python" and block.not_run is None and block.file is None],
    ids=lambda block: f"line-{block.line}",
)
def test_a_python_block_of_the_readme_runs(block: Block, tmp_path: Path) -> None:
    write_files(tmp_path, README)
    (tmp_path / "readme_block.py").write_text(block.text)
    command = [sys.executable, "readme_block.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ONE_THREAD)
    assert done.returncode == 0, f"README.md:{block.line}\n{done.stderr}"


def every_command(commands: dict, above: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through commands and those below them, by what is typed: `history show`."""
    for name, command in commands.items():
        yield f"{above}{name}", command
        yield from every_command(getattr(command, "commands", {}), f"{above}{name} ")


def test_every_command_and_every_option_is_explained() -> None:
    commands_by_name = dict(every_command(typer.main.get_command(app).commands))
    assert set(entries()) <= set(commands_by_name)
    for name, command in commands_by_name.items():
        assert (command.help or "").strip().splitlines()[0].endswith("."), f"bench {name} has no sentence of help"
        bare = [parameter.name for parameter in command.params if not (getattr(parameter, "help", None) or "").strip()]
        assert not bare, f"bench {name}: no help for {bare}"


SAMPLE = """
# Title

```console
$ bench list
my_net
$ bench run my_net \\
    -b 8   # a comment
$ pip install stepbench
```

<!-- not run: needs two commits -->
```console
$ bench ab main HEAD
```

<!-- table: of another kind -->

Text between.

<!-- file: net.py -->
```python
X = 1
```

```python title="x"
print("$ bench")
```
"""


def test_blocks_are_found_with_their_marks() -> None:
    first, second, third, fourth = blocks(SAMPLE)
    assert commands(first) == [["list"], ["run", "my_net", "-b", "8"]]
    assert (first.line, first.not_run) == (4, None)
    assert second.not_run == "needs two commits"
    assert (third.file, third.text) == ("net.py", "X = 1\n")
    assert (fourth.language, fourth.file, fourth.text) == ("python", None, 'print("$ bench")\n')


def test_a_block_is_not_run_only_with_a_reason() -> None:
    with pytest.raises(ValueError, match="line 2"):
        blocks("<!-- not run: -->\n```console\n$ bench list\n```\n")


def test_long_commands_are_made_cheap() -> None:
    assert made_cheap(["run", "my_net"]) == ["run", "my_net", "--dry-run"]
    assert made_cheap(["run", "mlp", "-b", "8", "--budget", "0.1s"]) == ["run", "mlp", "-b", "8", "--budget", "0.1s"]
    assert made_cheap(["ab", "main", "HEAD"]) is None
    assert made_cheap(["train", "my_net"]) == ["train", "my_net", "--dry-run"]
    assert made_cheap(["train", "--resume", "latest"]) is None
    assert made_cheap([]) == []


def test_a_wrong_command_in_a_readme_is_found(tmp_path: Path) -> None:
    asked = cheap_commands(blocks("```console\n$ bench run mlp --batchsize 8\n$ bench lisst\n$ bench --version\n```\n"))
    assert [result["code"] for result in run_all(asked, tmp_path)] == [2, 2, 0]
