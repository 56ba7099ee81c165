"""The only room with a timer: a step goes in, raw seconds per phase come out.

- `clock`: host and device clocks with one interface, `mark` and `collect`.
- `team`: the other ranks of a cell, asked between blocks.
- `blocks`: the timed loops, a few lines each; whatever stands in them is paid by every measurement.
- `timing`: warm-up, alternating blocks of whole and split steps, stopping.

Called by `run.worker`. It reads no memory, counts nothing and prints nothing.
"""
