"""What a pruning takes out of a history, in words."""

from __future__ import annotations

from bench.core.history import Pruned
from bench.report.figures import plain
from bench.report.layout import Page

_NAMED = 10


def pruned_text(pruned: Pruned, *, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Say what went, or would go, and what stays although it was reached."""
    page = Page(width=width, color=color, unicode=unicode)
    verb = "went" if pruned.is_done else "would go"
    span = f", measured {pruned.oldest[:10]} to {pruned.newest[:10]}" if pruned.oldest and pruned.newest else ""
    cells = "cell" if pruned.cells == 1 else "cells"
    lines = [page.wrap(f"{pruned.records:,} of {pruned.of:,} records {verb}, of {pruned.cells:,} {cells}{span}")]
    if pruned.kept_accepted:
        lines.append(page.wrap(f"{pruned.kept_accepted:,} more are as old, but stay: a change was accepted there"))
    if pruned.runs:
        lines.append(page.wrap(f"runs of which nothing is left: {_named(pruned.runs)}", "  ", ""))
    if pruned.folders:
        lines.append(page.wrap(f"raw folders that {'went' if pruned.is_done else 'would go'}:"))
        lines += [f"  {plain(folder)}" for folder in pruned.folders]
    lines += [page.paint(page.wrap(plain(problem), "  ", ""), "yellow") for problem in pruned.problems]
    if not pruned.is_done and pruned.records:
        lines.append("Nothing was changed; --yes does it.")
    return "\n".join(lines)


def _named(names: tuple[str, ...]) -> str:
    some = ", ".join(plain(name) for name in names[:_NAMED])
    return some if len(names) <= _NAMED else f"{some} and {len(names) - _NAMED:,} more"
