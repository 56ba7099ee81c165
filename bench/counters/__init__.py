"""Reads a model without a clock."""
