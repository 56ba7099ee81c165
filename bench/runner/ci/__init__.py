"""What `bench ci` and `bench gate` do.

- `steps`: runs one step and keeps its answer, then reads all answers for one verdict
- `gate`: counts the cells of a suite and compares them with the counters on record
- `annotations`: each finding with the file and line that it is about

The words are in `bench.report.verdict`.
"""
