"""The same complex product twice: as a linear layer, and as a convolution of width 1."""

import torch
from torch import nn


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 32, bias=False, dtype=torch.cfloat)

    def forward(self, x):
        return self.layer(torch.complex(x, x)).abs()


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(16, 32, 1, bias=False, dtype=torch.cfloat)

    def forward(self, x):
        return self.layer(torch.complex(x, x).unsqueeze(-1)).squeeze(-1).abs()
