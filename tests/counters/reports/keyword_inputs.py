# ruff: noqa: ARG005
"""A batch as tokenizers give it: a mapping of keywords, the model's own loss in the outputs."""

import torch
from torch import nn

from bench import Workload


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(100, 8), nn.Linear(8, 4)

    def forward(self, input_ids, *, attention_mask, labels=None):
        logits = self.head(self.embedding(input_ids)) * attention_mask[..., None]
        loss = None if labels is None else nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return {"loss": loss, "logits": logits}


def net():
    def make_batch(batch_size, device):
        inputs = {
            "input_ids": torch.randint(100, (batch_size, 6), device=device),
            "attention_mask": torch.ones(batch_size, 6, device=device),
            "labels": torch.randint(4, (batch_size, 6), device=device),
        }
        return inputs, None

    return Workload(
        build_model=Net,
        make_batch=make_batch,
        loss=lambda outputs, targets: outputs["loss"],
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    )
