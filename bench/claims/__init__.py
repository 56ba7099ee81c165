"""Documented values and their check."""
