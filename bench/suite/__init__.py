"""What to measure: options or a suite file become a Sweep, a Sweep becomes Cells.

- `sweep`: the axes, their product, include and exclude.
- `commands`: planned cells, back to the command that measures them.
- `axes`: one axis value from what people type, or a one-line error.
- `file`: TOML suite files; `builtin`: those that come with stepbench.

Pure: knows no hardware and no models, so a cell made here may still end as SKIPPED.
"""
