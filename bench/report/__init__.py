"""Records to eyes: data in, text out; reads no files, runs nothing, prints nothing.

- `terminal`: `cells_table`, `phases_table`, `layers_table`, `counts_table`, `claims_table`, `summary_line`
- `markdown`: the same as Markdown, and `summary` of a whole run
- `advice`, `facts`: the words for every doubt
- `columns`, `details`, `claims`: values to columns of text, shared by both
- `html`: runs to one HTML page (a package of its own)
- `layout`: columns to a table that fits its page; `figures`: digits, units, text that is safe to print

Figures come from `bench.stats.summary`; digits follow the noise; what was not measured is `-`, never 0.
"""
