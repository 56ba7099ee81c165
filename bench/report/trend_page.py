"""Trends as one HTML page: self-contained, no script, no network, light and dark, printable."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.history import HistoryNomination, Trend
from bench.report.figures import plain
from bench.report.history import WHY_NO_VERDICT, level_change, nominations_text
from bench.report.trend_svg import STYLE, trend_svg

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 80rem; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); }
figure { border: 1px solid #8886; border-radius: 0.5rem; margin: 0; padding: 0.75rem; break-inside: avoid; }
figcaption, .quiet { font-size: 0.85rem; opacity: 0.8; overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid #8886; border-radius: 0.5rem; padding: 0.75rem; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.1rem 0.6rem 0.1rem 0; text-align: left; }
{{ style }}
</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p>{{ trends | length }} series of {{ metric }}. Hollow points had uncommitted changes; a cross is a cell that did not
end well; a dashed line is an accepted change.</p>
</header>
{% if nominated %}
<section aria-labelledby="nominations">
<h2 id="nominations">Nominations</h2>
<pre tabindex="0">{{ nominated }}</pre>
</section>
{% endif %}
<main>
{% for trend in trends %}
<figure>
<h2>{{ trend.name }}</h2>
{{ trend.svg }}
<figcaption>{{ trend.machine }}. {{ trend.words }}</figcaption>
{% for reason in trend.accepted %}<p class="quiet">{{ reason }}</p>{% endfor %}
<details>
<summary>{{ trend.rows | length }} points</summary>
<table>
<thead><tr><th scope="col">started</th><th scope="col">commit</th>
<th scope="col">{{ metric }}</th>
<th scope="col">outcome</th></tr></thead>
<tbody>
{% for row in trend.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</details>
</figure>
{% endfor %}
</main>
<footer><p class="quiet">{{ why }}</p></footer>
</body>
</html>
"""

_ROWS = 30


def trend_page(
    trends: Sequence[Trend], nominations: Sequence[HistoryNomination] = (), *, title: str = "Benchmark history"
) -> str:
    """Write the page; the table below each picture holds its newest points.

    Args:
        trends: Of one metric.
        nominations: Of these series.
        title: Of the page.
    """
    import jinja2
    from markupsafe import Markup

    template = jinja2.Environment(autoescape=True).from_string(_PAGE)
    return template.render(
        title=plain(title),
        metric=trends[0].metric if trends else "",
        style=Markup(STYLE),  # ours
        nominated=nominations_text(nominations, len(trends), width=100) if nominations else "",
        trends=[
            {
                "name": plain(trend.cell_id),
                "svg": Markup(trend_svg(trend)),  # escaped there
                "machine": f"{plain(trend.machine)} ({trend.fingerprint})",
                "words": _words(trend),
                "accepted": [f"Accepted at {mark.commit}: {plain(mark.reason)}" for mark in trend.accepted],
                "rows": [
                    (
                        point.started_at,
                        (point.commit or "-")[:12],
                        "-" if point.value is None else f"{point.value:.6g}",
                        point.outcome,
                    )
                    for point in trend.points[-_ROWS:]
                ],
            }
            for trend in trends
        ],
        why=WHY_NO_VERDICT,
    )


def _words(trend: Trend) -> str:
    ratio = level_change(trend)
    words = f"The newest {len(trend.points):,} of {trend.count:,} measurements."
    return words if ratio is None else f"{words} Newest against the median before: {ratio * 100:+.1f} %."
