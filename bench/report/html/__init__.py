"""Formats runs as one HTML file that needs no server, no network and no library.

- `contract`: the data of a report (`ReportData`, made by `make_data`) and of a section (`Section`)
- `page`: `render(data) -> str`
- `sections/`: one small file per section; `sections.SECTIONS` is their order on the page

A section that only shows its subject's document is two lines of `sections/documents.py`. For another one, write:

1. `sections/name.py` with `SECTION = Section(anchor="name", title="...", build=build)`. `build(data)` returns what
   the template shows, as plain values, or None if there is nothing to show: the section is then left out.
2. `templates/sections/name.html`, which gets these values by name. Everything is escaped there; never write `|safe`.
   `macros.html` has tables, line charts, stacked bars and notes; other sections are examples.
3. its line in `sections/__init__.py`.

Tables and figures come from `bench.tables`, charts from `lines.line_chart` and `bars.bar_group`: these turn values into
positions, so tests need no browser. `store.stored.StoredRun` holds a run. A section shows as much as a person can read,
and says what it left out (`figures.first`).

No `style=` attributes and no event attributes: the page's policy (CSP) lets only its own style sheet and script run, by
their hashes. `css/*.css` and `js/*.js` are inlined whole, in the order of their names.
"""
