"""Compares two revisions: both run in live worker processes that take turns, in many sessions.

- `run`: one comparison, from two revisions to a finished folder; `sides`, `worktrees`: each side's code and interpreter
- `scout`: looks before anything is timed; `session`: one pair of fresh workers; `arm`: the parent's end of one worker;
  `servers`: what workers are forked from
- `stages`: which sessions are run, and when that ends; `judging`: sessions to verdicts
- `ratios`: two cells instead of two revisions, two models or two settings; for claims of time, too
- `bisect`: which commit made a cell slower, as questions; `bisect_run`: their answers, kept and resumed;
  `commits`: which commits can be asked about
- `calibration`: this machine's own noise, and whether unchanged code passes and a slowdown is found

The workers run `bench.runner.workers.arm`. The statistics are in `bench.stats`.
"""
