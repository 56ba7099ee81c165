"""The only package that knows hardware and torch's global switches.

- `backend`: what a kind of device must be able to do, which kinds there are, and which devices this machine has
- `cpu`, `cuda`, `mps`: one file per kind; `cpu` also reads what the system tells of this process and this machine
- `readings`: what a device tells of itself: meter, allocator, clock and power
- `nvml`: NVIDIA's own counters: clocks, throttling, power, energy, processes
- `driver`: how long a driver is waited for where nothing is timed
- `clocks`: GPUs whose clocks are locked while somebody measures
- `datasheet`: what makers document of their devices
- `environment`: the hard facts of the machine (Environment) and its soft state (MachineState)
- `gradients`: how a forward pass keeps no gradients
- `settings`: torch's switches, set for one cell, read, and put back
- `batch`: a batch of any nesting, on its device and in its type
- `step`: one step, run whole or phase by phase, with marks around these
- `prepare`: builds it on its device, in its precision
- `ranks`: one process of several that train together

Called by `counters`, `measure` and `runner`. Nothing here takes a time; what is printed is a line on stderr of
a driver that refuses or hangs.
"""
