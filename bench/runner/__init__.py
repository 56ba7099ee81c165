"""Runs cells, each in fresh processes, and stores what came of them; formats nothing.

- `session`: one run, from targets to a finished folder
- `plan`: cells as typed to cells of this machine, and which of them a run still lacks
- `executor`: one cell to one `Record`, whatever happens
- `processes`: a call in a fresh process; `endings`: how it ended
- `records`: opens a run's folder, and that of traces; `events`: what observers hear
- `recorder`: cells one at a time, for pytest
- `counting`, `profiling`, `training`, `scenarios`, `peaks`, `doctor`, `claims`: the other commands
  that start processes
- `compare`: two stored runs side by side; `reporting`: stored runs to the HTML page
- `ab`: two revisions compared; `slurm`: runs on a cluster; `ci`: the steps of CI
- `workers`: what runs inside the processes, the only part that imports torch

Called by `cli`, `pytest_plugin` and `bench.run()`. The parent process never imports torch.
"""
