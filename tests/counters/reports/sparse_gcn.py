# ruff: noqa: ARG005
"""A graph convolution with a sparse adjacency: 1,000 nodes, 3,000 stored entries, 16 -> 8."""

import torch
from torch import nn

from bench import Workload


class GCN(nn.Module):
    def __init__(self, nodes=1000, layout="coo"):
        super().__init__()
        self.weight = nn.Linear(16, 8, bias=False)
        i = torch.arange(nodes)
        places = torch.stack([i.repeat(3), torch.cat([i, (i + 1) % nodes, (i + 7) % nodes])])
        adjacency = torch.sparse_coo_tensor(places, torch.ones(3 * nodes), (nodes, nodes)).coalesce()
        self.adjacency = adjacency.to_sparse_csr() if layout == "csr" else adjacency

    def forward(self, x):
        return self.adjacency @ self.weight(x)


def gcn(layout="coo"):
    return Workload(
        build_model=lambda: GCN(layout=layout),
        make_batch=lambda batch_size, device: ((torch.randn(1000, 16, device=device),), None),
        loss=lambda outputs, targets: outputs.square().mean(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    )
