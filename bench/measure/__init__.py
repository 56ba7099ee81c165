"""Times a step: a step goes in, raw seconds per phase come out; so do longer workloads and profiles.

- `clock`: host and device clocks with one interface, `mark` and `collect`
- `blocks`: the timed loops; every line in them is paid by every measurement
- `timing`: warm-up, alternating blocks of whole and split steps, stopping
- `window`: the state of the machine while it is timed
- `energy`: a pass of its own; `peaks`: what the device can do at most, and how slow a precision is
- `scenarios`: trainings, generation, images; `profile`: where the time of a step goes

Called by `bench.runner.workers`. Prints nothing.
"""
