"""Formats stored runs as text, for people and programs; runs nothing and prints nothing.

- `formats`: terminal, Markdown, LaTeX and the formats of other tools
- `html`: the page of one or several runs
- `verdict`: gate, check and ab joined into one comment, the verdict first
- `comment`: folded sections, never longer than GitHub takes
- `files`: the tables of a run as CSV and Parquet; the only module that imports pandas at its top

Columns and words come from `bench.tables`.
"""
