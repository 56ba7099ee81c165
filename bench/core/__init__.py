"""What things are: frozen value types, units and errors. Standard library only; every other package imports this one.

- `cell`: Cell and its axes
- `environment`: Environment (hard facts, fingerprint) and MachineState (soft)
- `record`: Record, Sample, Phase, Outcome, Counters, Advice
- `advice`: doubts about figures
- `claim`: Claim and what came of checking it; a limit that the steps must keep
- `comparison`: two sides compared, and a history searched
- `training`, `pipeline`: a whole training, and an input pipeline beside its step
- `estimate`: a number with its interval
- `inputs`: what a bare module is fed
- `workload`: what a model brings (the only type that is not JSON), and one walk through nested values
- `jsonio`, `units`, `errors`, `text`, `files`, `git`
"""

__version__ = "0.1.0"
