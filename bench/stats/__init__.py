"""What numbers mean: pure functions on floats.

Enter: seconds, session shifts, ratios, as plain sequences of floats. Leave: estimates, intervals, p-values, verdicts.
Nothing here measures, reads a file, prints or knows torch. numpy is the only library; scipy only checks us in tests.

- `estimate`: median with its interval, within one process and over several; how many independent values a series holds
- `stopping`: when the warm-up has settled, when enough steps were timed
- `shift`: visits of an A/B session -> two log-ratios; Hodges-Lehmann shift with its Walsh interval
- `signflip`: exact tests over sessions by flipping or counting signs; `looks`: when to look at them, what may be said
- `power`: what a plan of looks would have seen; `verdict`: one cell's sessions -> its judgement
- `bisection`: which commit made a cell slower, one noisy session at a time
- `changepoint`: where a history bends, and what it says of its next value
- `distributions`: input checks, and the distribution functions we need

Conventions: NaN and infinity are errors, never data. None is "cannot be said", for example from too few values. A shift
is a log-ratio head / base: 0.05 is 5 % slower. Randomness only with a seed. Names are imported from their module
(`from bench.stats.estimate import estimate_median`), so that a command pays only for what it uses.
"""
