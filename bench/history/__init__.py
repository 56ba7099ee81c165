"""Runs over time in a database: ingest, show, nominate, prune. It may point at a suspect, never judge (`bench ab` does)."""
