"""The whole page: sections in order, one style sheet, one script, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from bench.report.html.contract import ReportData, Section
from bench.report.html.embed import Html, embedded, verbatim, with_code
from bench.tables.figures import name

if TYPE_CHECKING:
    from jinja2 import Environment


def render(data: ReportData, *, made_by: str = "", sections: tuple[Section, ...] | None = None, title: str = "") -> str:
    """Write the report as one HTML document.

    Args:
        data: What to show.
        made_by: Name and version of the program, for the foot of the page.
        sections: Sections to show, in order; all if None.
        title: Title of the page; the runs' names if empty.
    """
    from bench.report.html.sections import SECTIONS

    engine = _engine()
    shown = []
    for section in SECTIONS if sections is None else sections:
        values = section.build(data)
        if values is not None:
            body = engine.get_template(section.template_path).render(**values)
            shown.append({"anchor": section.anchor, "title": section.title, "body": Html(body)})
    return engine.get_template("page.html").render(
        title=title or _title(data), sections=shown, style=_style(), script=_script(), policy=_policy(), made_by=made_by
    )


def _title(data: ReportData) -> str:
    ids = [name(run.id) for run in data.runs]
    return f"Benchmark report {ids[0]}" if len(ids) == 1 else f"Benchmark report of {len(ids)} runs"


@functools.cache
def _engine() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("bench.report.html") / "templates"
    engine = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters["embedded"] = embedded
    engine.filters["px"] = _pixels
    engine.filters["code"] = with_code
    return engine


def _pixels(value: float) -> str:
    """Write a coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


@functools.cache
def _style() -> Html:
    return _joined("css")


@functools.cache
def _script() -> Html:
    return _joined("js")


def _joined(kind: str) -> Html:
    """Join all files of a kind in the order of their names."""
    found = sorted((file for file in (files("bench.report.html") / kind).iterdir()), key=lambda file: file.name)
    texts = [file.read_text(encoding="utf-8") for file in found if file.name.endswith(f".{kind}")]
    return verbatim("\n" + "\n".join(texts))


@functools.cache
def _policy() -> str:
    """Allow our style sheet and our script by their hashes; no request of any kind, whatever stands in the data."""
    return (
        f"default-src 'none'; style-src '{_hash(_style())}'; script-src '{_hash(_script())}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
