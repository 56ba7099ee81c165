"""Test cases for the authors of plugins; it imports torch.

- `conformance`: `WorkloadConformance`, what every model must be able to do; inherit it
"""
