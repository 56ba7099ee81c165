"""Measured workloads longer than a step: training a model to an accuracy, generating text, making images.

- `training`: the loop with its marks; `evaluation`: what the model knows; `checkpoint`: resuming to the same bits
- `images`: MNIST's files by torchvision, seeded per example, or drawn digits in the same format
- `pipeline`: the loader alone, the step alone, both together
- `generation`: text, token by token; `sampling`: images from a diffusion model; `calls`: what these two share

Called by the runner inside fresh processes. Prints nothing.
"""
