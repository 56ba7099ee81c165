"""stepbench measured by itself: `bench_*.py` for `pytest --benchmark-only benchmarks`, and the seed page measured.

Not part of the wheel. Plain `pytest` collects none of these files.
"""
