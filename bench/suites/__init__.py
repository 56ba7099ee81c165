"""Benchmark suites that pytest collects."""
