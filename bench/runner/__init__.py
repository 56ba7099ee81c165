"""Runs cells: plan, execute, store; prints and formats nothing.

- `plan`: options -> cells, checked against this machine by a preflight in a fresh process.
- `scheduler`: for every cell: emit, execute, append, emit.
- `executor`: one cell -> one Record, whatever happens; `processes`: a call in a fresh process and how it ended.
- `resume`: which cells a stored run still lacks. `oom_kills`: the kernel's count. `overhead`: what isolation costs.
- `worker`: what happens inside those processes (the only file here that imports torch); `answers`: what they return.
- `events`: what observers hear. `results`: tables and summary of a finished run. `checking`: claims against counts.

Called by the doors: `cli`, `pytest_plugin` and `bench.run()`. The parent process never imports torch.
"""
