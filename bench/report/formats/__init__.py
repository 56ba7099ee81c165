"""A stored run as text: data in, text out; reads no files, runs nothing. One file per format.

- `terminal`: tables of 80 columns and more; `markdown`: the same for pull requests; `latex`: for a paper
- `markdown_subjects`: comparisons, gates and trainings as Markdown
- `pytest_benchmark`: JSON that `pytest-benchmark compare` reads
- `github_action`: `customSmallerIsBetter` and `customBiggerIsBetter` of github-action-benchmark
- `bencher`: Bencher Metric Format
- `openmetrics`: OpenMetrics text, for Prometheus
- `junit`: JUnit XML, for the test pages of CI servers
- `catalog`: the formats of other tools by name

A cell without a figure is left out where the format has no word for it, and never becomes a zero; units stand in the
names, or where the format wants them; every doubt about a figure goes with it.
"""
