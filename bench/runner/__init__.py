"""Runs cells, each in fresh processes, and stores what came of them; formats nothing.

- `session`: one run, from targets to a finished folder; `plan`: cells as typed to cells of this machine
- `executor`: one cell to one `Record`, whatever happens; `processes`: a call in a fresh process, and how it ended
- `records`: opens a run's folder; `resume`: which cells a run still lacks; `events`: what observers hear
- `slowdown`: precisions that a suite leaves out because a probe finds them far slower here
- `recorder`: cells one at a time, for pytest; `tracing`: where traces lie
- `counting`, `fitting`, `profiling`, `training`, `scenarios`, `peaks`, `doctor`, `claims`: the other commands
  that start processes
- `compare`: two stored runs side by side; `reporting`: stored runs to the HTML page
- `ab`: two revisions compared; `slurm`: runs on a cluster; `ci`: the steps of CI
- `workers`: what runs inside the processes, the only part that imports torch

Called by `cli`, `pytest_plugin` and `bench.run()`. The parent process never imports torch.
"""
