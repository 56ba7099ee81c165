"""Fakes and conformance test cases."""
