"""Runs over time in a database: ingest, show, nominate, prune. It may name a suspect; only `bench ab` judges.

The records in `results/` are the truth; a history is an index over them that can be built again. It holds medians,
intervals and counters; samples stay in the files, whose paths it keeps.

- `database`: what `--history` may be; opens SQLite or PostgreSQL, upgrades the tables
- `schema`: what the tables are; `migrations`: how they came
- `sources`: runs and files of pytest-benchmark as `Entry` rows
- `ingest`: rows into tables, each measurement once
- `queries`: series and their newest points out of the tables
- `accepted`: `results/accepted.csv`, and what a commit descends from
- `nominate`: prediction intervals, change points, exact counts; `prune`: what may go, and how it goes

Only this package knows SQLAlchemy. Whoever reads gets the values of `bench.core.history`.
"""
