"""Stored runs as text, for people and for machines; runs nothing and prints nothing.

- `formats`: terminal, Markdown, LaTeX and the formats of other tools
- `html`: runs to one page
- `ci`: the verdict of a CI run, its comment and its annotations
- `files`: the tables of a run as CSV and Parquet; the only module that imports pandas at its top

Columns and words come from `bench.tables`.
"""
