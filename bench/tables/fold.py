"""Fold a model's layers into a readable table: expensive modules are expanded, the rest is summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.core.profile import ProfiledLayer

LIMIT = 22
SMALL_SHARE = 0.005
OPEN_SHARE = 0.02
DEAR_SHARE = 0.1
MODEL = "(the model itself)"


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that are summed in one row; its label says how many they are."""

    label: str
    layers: tuple[ProfiledLayer, ...]

    @property
    def seconds(self) -> float:
        """Of all phases."""
        return sum(layer.seconds for layer in self.layers)


@dataclass(slots=True)
class Node:
    """A module with the modules below it, by dotted names."""

    name: str
    own: ProfiledLayer | None = None
    children: dict[str, Node] = field(default_factory=dict)

    def layers(self) -> list[ProfiledLayer]:
        """Return this module and all below it that cost anything."""
        own = [self.own] if self.own is not None and self.own.costs else []
        return own + [layer for child in self.children.values() for layer in child.layers()]

    @property
    def seconds(self) -> float:
        """Of the whole subtree."""
        return sum(layer.seconds for layer in self.layers())


def tree(layers: Sequence[ProfiledLayer]) -> Node:
    """Arrange layers by their dotted names; the root is the model itself."""
    root = Node("")
    for layer in layers:
        node = root
        for part in layer.name.split(".") if layer.name else ():
            name = f"{node.name}.{part}" if node.name else part
            node = node.children.setdefault(part, Node(name))
        node.own = layer
    return root


def fold(layers: Sequence[ProfiledLayer], limit: int | None = LIMIT) -> list[Group]:
    """Group layers into at most `limit` rows, in the model's order; rows in parentheses come last, ungrouped.

    Without a limit nothing is grouped.
    """
    modules = [layer for layer in layers if not layer.name.startswith("(")]
    rest = [Group(layer.name, (layer,)) for layer in layers if layer.name.startswith("(")]
    total = sum(layer.seconds for layer in layers) or 1.0
    if limit is None:
        return [Group(layer.name or MODEL, (layer,)) for layer in modules if layer.costs] + rest
    rows: list[Node] = [tree(modules)]
    while True:
        openable = [row for row in rows if _may_open(row, rows, total, limit)]
        if not openable:
            break
        dearest = max(openable, key=lambda row: row.seconds)
        index = rows.index(dearest)
        rows[index : index + 1] = _opened(dearest)
    groups = [_group(row) for row in rows if row.layers()]
    small = [group for group in groups if group.seconds < SMALL_SHARE * total]
    if len(small) > 1:
        kept = [group for group in groups if group not in small]
        summed = tuple(layer for group in small for layer in group.layers)
        groups = [*kept, Group(f"{len(summed)} small layers", summed)]
    return groups + rest


def _may_open(node: Node, rows: Sequence[Node], total: float, limit: int) -> bool:
    """Whether to expand a module: expensive ones; of similar siblings all or none, so that a stack looks even."""
    if not node.children or node.seconds < OPEN_SHARE * total:
        return False
    alike = [row for row in rows if row.children and _parent(row) == _parent(node) and row.seconds > node.seconds / 2]
    together = [node] if node.seconds >= DEAR_SHARE * total else alike
    return len(rows) == 1 or len(rows) + sum(len(_opened(row)) - 1 for row in together) <= limit


def _parent(node: Node) -> str:
    return node.name.rpartition(".")[0]


def _opened(node: Node) -> list[Node]:
    """Split a node into itself and its children; those that cost nothing are left out."""
    own = [Node(node.name, node.own)] if node.own is not None and node.own.costs else []
    return own + [child for child in node.children.values() if child.layers()]


def _group(node: Node) -> Group:
    layers = tuple(node.layers())
    label = node.name or MODEL
    return Group(f"{label} ({len(layers)} layers)" if len(layers) > 1 else label, layers)
