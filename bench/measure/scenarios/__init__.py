"""Measured workloads longer than a step: training a model to an accuracy, generating text, sampling images.

- `training`: the loop with its marks; `evaluation`: what the model knows; `checkpoint`: going on to the same bits.
- `images`: MNIST's files by torchvision, seeded per example; `idx`, `digits`: drawn digits in the same format.
- `feeding`: a loader's batch into a step; `pipeline`: the loader alone, the step alone, both together.

Called by the runner inside fresh processes. Prints nothing.
"""
