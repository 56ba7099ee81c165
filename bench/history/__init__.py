"""Runs over time in a database: ingest, show, nominate, prune. It may name a suspect; only `bench ab` judges."""
