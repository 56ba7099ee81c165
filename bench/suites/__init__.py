"""Benchmark suites: `*.toml` for `bench run NAME`, `bench_*.py` for `pytest --benchmark-only`.

Plain `pytest` collects none of them. A suite is a few declarative lines; the engine stands elsewhere.
"""
