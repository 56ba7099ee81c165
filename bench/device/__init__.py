"""The only room that knows hardware and torch's global switches.

- `step.prepare(workload, cell)`: everything one step needs, on its device, in its precision; global state is restored.
- `batch`: a batch as models take it, its calls, casts and layouts.
- `capabilities`: which devices are there, and which precisions they can do, with the reason where they cannot.
- `environment`: the hard facts of the machine (Environment) and its soft state (MachineState).
- `accelerator`: synchronise and record events without naming CUDA elsewhere.
- `nvml`: the GPU's own counters, or None with a reason.

Entered by `measure`, `counters` and `run`. Nothing here takes a time or prints.
"""
