"""Runs the cells of a sweep as tasks of a Slurm job array, and collects what they leave; nothing has to wait for it.

- `run`: submit, and later status, collect, resume or cancel
- `work`: the items of a run and their results, cells or cases
- `script`: what the cluster is asked for; `commands`: Slurm's own commands
- `task`: one task of the array, in the job; `files`: what it leaves beside its records
- `status`: every task by what Slurm says and by what it wrote; `collect`: complete tables of what there is so far
"""
