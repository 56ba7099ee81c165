"""Test cases for the authors of plugins; they import torch.

- `conformance`: `WorkloadConformance`, what every model must be able to do; inherit it
- `backend`: `BackendConformance`, what every kind of device must answer; inherit it
"""
