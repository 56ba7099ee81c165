"""Where the time of a step goes: which layer, which operation, which phase, and what the profiler itself costs.

- `profile`: a prepared step to a `Profile`; everything below in order
- `collect`: whole steps without the profiler and marked steps under it, in alternation; a trace
- `spans`: the marks, and torch's profiler events to plain values; nothing below `spans` knows torch's profiler
- `attribution`: spans to frames that know their layer; backward by autograd's sequence numbers
- `times`: frames to seconds per phase, layer and operation; gaps of the device and their cause
- `rows`: those seconds, without the profiler's own cost, beside FLOPs and bytes (`work`)
- `passes`: what needs a pass of its own: lines that wait, memory, what torch.compile did
- `advice`: what the figures suggest, and what it brings when it is tried

Enters: a Workload and a Cell. Leaves: `bench.core.profile.Profile`. Call it in a fresh process.
"""
