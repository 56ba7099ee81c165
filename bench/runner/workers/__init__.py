"""What runs inside worker processes; the parent names these modules and never imports them, but `answers`.

- `preloaded`: what the server that forks the processes imports, once
- `cells`: preflight, counting, timing, memory and profiles of a cell; `ranks`: a cell of several processes
- `cold`: how a cell begins where nothing was loaded before
- `machine`: a look at the machine, which imports torch and little else; a model that does nothing
- `launch`: a function on several ranks; `nodes`: on those of several nodes
- `training`: a training, or one point of an input pipeline
- `arm`: one worker of an A/B session, a freshly started interpreter
- `answers`: the values that cross the process border; no torch
"""
