"""Formats stored runs as text, for people and programs; runs nothing and prints nothing.

- `formats`: terminal, Markdown, LaTeX and the formats of other tools
- `html`: the page of one or several runs
- `ci`: the verdict of a CI run, its comment and its annotations
- `files`: the tables of a run as CSV and Parquet; the only module that imports pandas at its top

Columns and words come from `bench.tables`.
"""
