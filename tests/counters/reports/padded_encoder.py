# ruff: noqa: ARG005
"""nn.TransformerEncoder with a padding mask: in eval mode torch takes the nested-tensor fast path."""

import torch
from torch import nn

from bench import Workload


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x, mask):
        return self.encoder(x, src_key_padding_mask=mask)


def net():
    def make_batch(batch_size, device):
        mask = torch.zeros(batch_size, 6, dtype=torch.bool, device=device)
        mask[:, 4:] = True  # 4 of 6 tokens are real
        return (torch.randn(batch_size, 6, 32, device=device), mask), None

    return Workload(
        build_model=Net,
        make_batch=make_batch,
        loss=lambda outputs, targets: outputs.square().mean(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    )
