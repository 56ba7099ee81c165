"""A working directory of the user's own, with model files in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = {
    "net.py": '''
        """The user's nets."""
        import torch
        from torch import nn


        class Net(nn.Module):
            """A small net."""

            def __init__(self, classes: int = 4, bias: bool = True, rate: float = 0.5, name="x"):
                super().__init__()
                self.layer = nn.Linear(6, classes, bias=bias)
                self.given = (classes, bias, rate, name)

            def forward(self, x):
                return self.layer(x)


        class Needy(Net):
            def __init__(self, width):
                super().__init__(width)


        class Holder:
            inner = Net


        def make_net(**options):
            return Net(**options)


        def boom(reason: str = "no reason"):
            raise ValueError(f"it\\nbroke: {reason}")


        def leave():
            raise SystemExit(3)


        def number():
            return 7


        def short_of_memory():
            raise MemoryError("none left")


        def short_of_torch_memory():
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")


        instance = Net()
        text = "a text"
        ''',
    "loads.py": '''
        from torch import nn
        import torch
        import bench.core.workload as core
        from net import Net


        def workload(classes: int = 4):
            """Make the user's workload."""
            return core.Workload(
                build_model=lambda: Net(classes),
                make_batch=lambda batch_size, device: ((torch.randn(batch_size, 6, device=device),), None),
                loss=lambda outputs, targets: outputs.sum(),
                make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5),
                tokens_per_example=5,
            )


        def lazy():
            import sibling

            return Net()


        made = workload()
        ''',
    "functions.py": """
import torch


def make(width: int = 4) -> torch.nn.Module:
    return torch.nn.Linear(width, 2)


def free(**options: int) -> torch.nn.Module:
    return torch.nn.Linear(options["width"], 2)


late = make if torch else None
""",
    "five.py": '''
        """A file of five names."""
        from dataclasses import dataclass
        import torch


        @dataclass(frozen=True)
        class Config:
            width: int = 3  # of the layer
            rate: float | None = None


        def build_model(config):
            return torch.nn.Linear(config.width, 1)


        def make_batch(config, batch_size, device):
            return (torch.randn(batch_size, config.width, device=device),), None


        def loss(outputs, targets):
            return outputs.sum()


        def make_optimizer(parameters):
            return torch.optim.SGD(parameters, lr=0.1)
        ''',
    "sub/__init__.py": "",
    "sub/deep.py": "from net import Net\n",
    "sub/sibling.py": "",
    "broken.py": "def f(:\n    pass\n",
    "raises.py": "x = 1\nraise KeyError('lost')\n",
    "needs.py": "import not_installed_anywhere\n",
    "exits.py": "import sys\nsys.exit(2)\n",
    "notes.txt": "These are not Python, but words.\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the files into a new folder and work there; whatever they import is forgotten afterwards."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = text.splitlines(keepends=True)
        path.write_text("".join(line[8:] if line.startswith("        ") else line for line in lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    path_before = list(sys.path)
    yield tmp_path
    assert sys.path == path_before
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
