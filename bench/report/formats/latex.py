r"""The cells table for a paper: LaTeX with booktabs, the machine and the method in its caption, doubts below it.

Needs `\usepackage{booktabs}`, and `longtable` if a page cannot hold all rows. Compiles with pdfLaTeX of 2020 or newer,
XeLaTeX and LuaLaTeX: non-Latin characters are written as code points, because no default font has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.environment import Environment
from bench.core.record import Outcome, Record
from bench.report.formats import Format
from bench.stats.summary import Summary, summarise
from bench.tables.advice import advice_sentences
from bench.tables.cell_values import key_columns, outcome_text
from bench.tables.cells import figure_columns
from bench.tables.figures import plain
from bench.tables.run import caption, machine_facts
from bench.tables.table import Column

LONGEST_TABLE = 40
"""Most rows of a page; more make a `longtable`."""

_MOST_NOTES, _LONGEST_NOTE = 10, 300
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "`": r"\textasciigrave{}",
    "-": r"{-}",  # or -- would become a dash
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
    "–": r"--",
}


def escape(text: str) -> str:
    """Escape a text for LaTeX: no command, no comment, no formula; unknown characters as `<U+6A21>`."""
    return "".join(_SPECIAL.get(c) or (c if _is_latin(c) else escape(f"<U+{ord(c):04X}>")) for c in plain(text))


def _is_latin(char: str) -> bool:
    return char.isascii() or (char.isalpha() and ord(char) < 0x100 and char not in "ÐðÞþ")  # which OT1 fonts lack


def latex_table(
    records: Sequence[Record], environment: Environment | None = None, label: str = "stepbench", view: str = ""
) -> str:
    r"""Write one row per cell, in the units of the terminal's table; the label is for `\ref{tab:...}`.

    Without an environment it is the first record's. The view is the usual one, or `cold`, the start of the cells.
    """
    environment = environment or next((r.environment for r in records if r.environment), None)
    summaries = [summarise(record) for record in records]
    found = [*key_columns(records), *figure_columns(records, summaries, view)] if records else []
    columns = [column for column in found if "latex" not in column.hidden_in]
    rows = [_row(record, summaries[row], columns, row) for row, record in enumerate(records)]
    sentences = [_caption(records, summaries, view)]
    sentences += [f"Measured on {escape(', '.join(machine_facts(environment)))}."] if environment else []
    lines = ["% needs \\usepackage{booktabs}" + (" and \\usepackage{longtable}" if len(rows) > LONGEST_TABLE else "")]
    write = _longtable if len(rows) > LONGEST_TABLE else _table
    return "\n".join([*lines, *write(columns, rows, " ".join(sentences), _label(label), _notes(records)), ""])


def _row(record: Record, summary: Summary, columns: Sequence[Column], row: int) -> str:
    cells = [escape(column.texts[row]) for column in columns]
    if summary.step is None and record.outcome is not Outcome.OK:
        words = escape(record.outcome.value.replace("_", " "))
        keys = sum(column.key for column in columns)
        cells = [*cells[:keys], f"\\multicolumn{{{len(columns) - keys}}}{{l}}{{\\emph{{{words}}}}}"]
    return " & ".join(cells) + r" \\"


def _head(columns: Sequence[Column]) -> str:
    return " & ".join(escape(column.heading) for column in columns) + r" \\"


def _spec(columns: Sequence[Column]) -> str:
    return "".join("r" if column.right else "l" for column in columns) or "l"


def _table(columns: Sequence[Column], rows: Sequence[str], text: str, label: str, notes: Sequence[str]) -> list[str]:
    return [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{text}}}",
        f"\\label{{{label}}}",
        f"\\begin{{tabular}}{{{_spec(columns)}}}",
        r"\toprule",
        *([_head(columns), r"\midrule"] if columns else [r"no cells \\"]),
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip\footnotesize\raggedright", *notes] if notes else []),
        r"\end{table}",
    ]


def _longtable(
    columns: Sequence[Column], rows: Sequence[str], text: str, label: str, notes: Sequence[str]
) -> list[str]:
    return [
        f"\\begin{{longtable}}{{{_spec(columns)}}}",
        f"\\caption{{{text}}}\\label{{{label}}}\\\\",
        r"\toprule",
        _head(columns),
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *rows,
        r"\end{longtable}",
        *([r"{\footnotesize\raggedright\noindent", *notes, r"\par}"] if notes else []),
    ]


def _caption(records: Sequence[Record], summaries: Sequence[Summary], view: str) -> str:
    """Describe the figures and how they were measured."""
    if not records:
        return "No cells."
    counts = sorted({len({sample.process for sample in record.samples}) for record in records if record.samples})
    processes = "" if not counts else f" {'--'.join(dict.fromkeys([str(counts[0]), str(counts[-1])]))}"
    each = f" Each cell in{processes} fresh process{'' if counts == [1] else 'es'} of its own." if counts else ""
    return f"{escape(caption(records, summaries, view))}.{each}"


def _notes(records: Sequence[Record]) -> list[str]:
    """List doubts, and why cells have no figures, each as a paragraph below the table."""
    notes = [f"\\textbf{{{mark}}} {escape(plain(text, _LONGEST_NOTE))}" for mark, text in advice_sentences(records)]
    failed = [f"{plain(r.cell.id)}: {text}" for r in records if (text := outcome_text(r))]
    notes += [escape(plain(text, _LONGEST_NOTE)) for text in failed[:_MOST_NOTES]]
    if len(failed) > _MOST_NOTES:
        notes.append(f"{len(failed) - _MOST_NOTES} more cells have no figures.")
    return [f"{note}\\par" for note in notes]


def _label(label: str) -> str:
    return "tab:" + "".join(c if c.isascii() and (c.isalnum() or c in "-:") else "-" for c in label)


FORMAT = Format(
    write=lambda run, asked: latex_table(run.records, run.environment, run.id, asked.view), holds_failures=True
)
