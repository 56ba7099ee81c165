"""Measured workloads longer than a step: training a model to an accuracy, generating text, sampling images."""
