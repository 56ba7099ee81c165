"""What tests of stepbench and of its plugins stand on: no GPU, no sleeping, no luck.

- `clock.FakeClock`, `step.ScriptedStep`: a step whose phases take the seconds that were written down.
- `accelerator.FakeAccelerator`: a device timeline beside the host's, behind the real `DeviceClock`.
- `executor.MockExecutor`: a cell takes the time, or ends in the way, that its model's name says.
- `conformance.WorkloadConformance`: what every model must be able to do; plugin authors inherit it.

Import what you need from its own module; only `conformance` imports torch.
"""
