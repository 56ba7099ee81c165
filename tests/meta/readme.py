"""Take the code blocks out of a Markdown text, with what the comment before each asks for.

<!-- not run: takes an hour -->     leave the next block out, with a reason
<!-- file: net.py -->               write the next block to that file, for the blocks that follow
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_MARK = r"(?:<!--[ ]*(?P<mark>[^\n]*?)[ ]*-->[ ]*\n)?"
_BLOCK = re.compile(_MARK + r"^```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block.

    Attributes:
        line: Of its fence, from 1.
        not_run: The reason of a `not run` mark; None where it is to be run.
        file: Name of a `file` mark.
    """

    line: int
    language: str
    text: str
    not_run: str | None = None
    file: str | None = None


def blocks(markdown: str) -> list[Block]:
    """Find all fenced blocks in order.

    Raises:
        ValueError: A `not run` mark gives no reason.
    """
    found = []
    for match in _BLOCK.finditer(markdown):
        kind, _, value = (match["mark"] or "").partition(":")
        line = markdown.count("\n", 0, match.start("language")) + 1
        if kind.strip() == "not run" and not value.strip():
            raise ValueError(f"line {line}: a block is not run without a reason")
        found.append(
            Block(
                line=line,
                language=match["language"],
                text=match["text"],
                not_run=value.strip() if kind.strip() == "not run" else None,
                file=value.strip() if kind.strip() == "file" else None,
            )
        )
    return found


def commands(block: Block) -> list[list[str]]:
    """Split a console block into the words of its `$ bench ...` commands; other programs and output are left out."""
    text = block.text.replace("\\\n", " ")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    words = [shlex.split(line, comments=True) for line in lines]
    return [command[1:] for command in words if command and command[0] in ("bench", "stepbench")]


def made_cheap(command: list[str]) -> list[str] | None:
    """Change a command so that it is done in seconds; None where only its help can be asked for.

    A `run` without a small budget, a training and the like become dry runs, which still check all that was typed.
    """
    name = command[0] if command else "--help"
    if name.startswith("-") or name in ("list", "count", "check") or command == ["machine"]:
        return command
    if name == "run":
        is_small = "--budget" in command and len(command) <= 8
        return command if is_small or "--dry-run" in command else [*command, "--dry-run"]
    if name in ("generate", "images", "train", "pipeline") and not {"--resume", "slurm"} & set(command):
        return [*command, "--dry-run"]
    return None
