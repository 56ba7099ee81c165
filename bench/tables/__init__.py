"""What a record says, in words and figures: columns with their units, and the words of every doubt; no file, no torch.

- `table`: `Column`, and columns to a table that fits its page; `figures`: digits that follow the noise, safe text
- `columns`: what an entry of the catalog is, and how screens show it; `catalog`: the columns of every stored table
- `cells` with `cell_values` and `cell_times`: the columns of cells; `parts`: of phases and layers, and second opinions
- `document`: what is said of a subject, once, for any format; `advice`: the words of every doubt;
  `run`: a whole run on one page, and what it found, in sentences
- `fold`: the layers of a profile to as many rows as matter
- `claims`, `comparison`, `fit`, `gate`, `history`, `machine`, `nominations`, `profile`,
  `scaling`, `scenarios`, `tails`, `training`: one subject each, to columns and sentences

What was not measured is `-`, never 0.
"""
