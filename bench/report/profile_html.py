"""Profiles as one page that needs nothing else: a flame graph, and the report below it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.core.profile import Profile
from bench.report.flame import flame_svg
from bench.report.profile import profile_report

_STYLE = (
    "body{font-family:sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "pre{overflow-x:auto;font-size:13px;line-height:1.35}h2{margin-top:2em;overflow-wrap:anywhere}"
)


def profile_page(profiles: Sequence[Profile]) -> str:
    """Write a page with a section for each profile."""
    sections = "\n".join(
        f"<section><h2>{escape(profile.cell.id)}</h2>\n{flame_svg(profile)}\n"
        f"<pre>{escape(profile_report(profile, width=140, all_layers=True))}</pre></section>"
        for profile in profiles
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>stepbench profile</title>'
        f"<style>{_STYLE}</style></head><body><h1>Where the time of a step goes</h1>\n"
        "<p>Width is time; the pointer shows name, time and share.</p>\n"
        f"{sections}\n</body></html>\n"
    )
