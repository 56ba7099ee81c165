"""Turns records into words and figures: columns with their units, and the words of every doubt; no file, no torch.

- `table`: `Column`, and columns to a table that fits its page; `figures`: digits that follow the noise, safe text
- `columns`: an entry of the catalog, and how tables show it; `catalog`: the columns of every stored table
- `cells` with `cell_values` and `cell_times`: the columns of cells; `parts`: of phases and layers, and second opinions
- `document`: the text about a subject, once, for any format; `advice`: the words of every doubt;
  `run`: a whole run on one page, and its findings in sentences
- `fold`: groups the layers of a profile into a readable number of rows
- `claims`, `comparison`, `fit`, `gate`, `history`, `machine`, `nominations`, `profile`,
  `scaling`, `scenarios`, `tails`, `training`: one subject each, as columns and sentences

What was not measured is `-`, never 0.
"""
