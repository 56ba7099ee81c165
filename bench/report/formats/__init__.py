"""A stored run in the formats of other tools: data in, text out; reads no files, runs nothing.

Enters: `Run`, a few fields of a run folder. Leaves: text. One file per format; `formats` lists them.

- `pytest_benchmark`: JSON that `pytest-benchmark compare` reads
- `github_action`: `customSmallerIsBetter` and `customBiggerIsBetter` of github-action-benchmark
- `bencher`: Bencher Metric Format
- `openmetrics`: OpenMetrics text, for Prometheus
- `junit`: JUnit XML, for the test pages of CI servers

A cell without a figure is left out where the format has no word for it, and never becomes a zero; units stand in the
names, or where the format wants them; every doubt about a figure goes with it.
"""
