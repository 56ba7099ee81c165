"""axe-core in a page of Chromium: what someone who cannot see it, or not well, would stumble over."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

_STRUCTURE = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa'], rules: {'color-contrast': {enabled: false}}})"

# Contrast is nine tenths of axe's time, element by element, and a table has thousands that look alike.
# So it is asked of one text of each look: its colours, its size, and the grounds of all that it stands in.
_CONTRAST = """() => {
    const looks = new Map();
    for (const element of document.body.querySelectorAll('*')) {
        if (![...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim())) continue;
        if (!element.checkVisibility()) continue;
        const own = getComputedStyle(element);
        const look = [own.color, own.fontSize, own.fontWeight, own.textShadow];
        for (let around = element; around; around = around.parentElement) {
            const style = getComputedStyle(around);
            look.push(style.backgroundColor, style.backgroundImage, style.opacity, style.position);
        }
        looks.set(look.join('|'), element);
    }
    return axe.run({include: [...looks.values()]}, {runOnly: {type: 'rule', values: ['color-contrast']}});
}"""

# A colour on its way from one theme to the other is neither's.
_STILL = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync('*, *::before, *::after { transition: none !important }');
    document.adoptedStyleSheets.push(sheet);
}"""


def violations(page: Any, to_dark: str | None = None) -> list[str]:
    """Name every violation of WCAG 2, levels A and AA, in light and dark, of a page that is light.

    Args:
        page: A page of Playwright.
        to_dark: Script that makes it dark, if it does not follow the system while it is open.
    """
    page.evaluate(_axe())
    page.evaluate(_STILL)
    found, grounds = _read(page.evaluate(_STRUCTURE), "structure"), set()
    for scheme in ("light", "dark"):
        if to_dark is None:
            page.emulate_media(color_scheme=scheme)
        elif scheme == "dark":
            page.evaluate(to_dark)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        found += _read(page.evaluate(_CONTRAST), scheme)
    assert len(grounds) == 2  # both themes were seen
    return found


def _read(result: dict[str, Any], where: str) -> list[str]:
    assert result["passes"]  # axe did look at the page
    return [
        f"{rule['id']} ({where}): {node['html'][:160]}: {node['failureSummary']}"
        for rule in result["violations"]
        for node in rule["nodes"]
    ]


@cache
def _axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
