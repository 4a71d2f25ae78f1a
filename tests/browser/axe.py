"""Accessibility checks with axe-core, in the light and the dark colour scheme, with readable failures."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

_AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The schemes differ only in colours, so only the rules about colours run in the dark one. The light one, the default,
# comes last, so that the page stays light.
_SCHEMES = {"dark": ["color-contrast", "link-in-text-block"], "light": _RULES}
# What axe-core judges, without the words: each element with its classes, its attributes and its parent, and whether
# there is a text in it; and the page's headings and landmarks in their order.
_SHAPE = """() => {
    const values = /^(type|role|lang|scope|aria-(?!describedby|labelledby|label|controls).*)$/;
    const one = element => element === null ? "" : [
        element.tagName,
        [...element.classList].sort().join("."),
        [...element.attributes].map(a => values.test(a.name) ? a.name + "=" + a.value : a.name).sort().join(),
        element.textContent.trim() === "",
    ].join(" ");
    const shapes = [...document.querySelectorAll("body *")].map(e => one(e.parentElement) + " > " + one(e));
    const outline = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6, header, nav, main, aside, footer")];
    return [...new Set(shapes), outline.map(e => e.tagName).join()];
}"""
_known: set[str] = set()
# Frames show mails, not pages of the portal. Passed rules are left out, because the list is long.
_RUN = """async rules => {
    const result = await axe.run(document, {runOnly: rules, iframes: false, resultTypes: ["violations"]});
    return result.violations;
}"""


@cache
def axe_source() -> str:
    """Return the source of axe-core as installed by `make setup`. Skips the test without it; fails on CI (CI=true)."""
    if not _AXE.is_file():
        missing = "axe-core IS NOT INSTALLED: THE PAGES' ACCESSIBILITY WAS NOT CHECKED. Run .make/assets"
        if os.environ.get("CI") == "true":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return _AXE.read_text()


def assert_accessible(page: Page) -> None:
    """Fail with a list of the violations that axe-core finds on the page, light or dark.

    A page on which nothing has a shape that was not checked before in this process is not checked again: half of the
    pages differ from others in words only.
    """
    shapes = set(page.evaluate(_SHAPE))
    if shapes <= _known:
        return
    found: list[str] = []
    # Evaluated through the debugger, which the Content-Security-Policy does not restrict.
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe_source())
    for scheme, rules in _SCHEMES.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        violations = page.evaluate(_RUN, rules)
        found += [line for violation in violations for line in _in_words(violation, scheme)]
    assert not found, f"{page.url}:\n" + "\n".join(found)
    _known.update(shapes)


def _in_words(violation: dict[str, Any], scheme: str) -> list[str]:
    return [
        f"{scheme}, {violation['id']} ({violation['impact']}): {node['html'][:160]}\n    "
        + " ".join(node["failureSummary"].split())
        for node in violation["nodes"]
    ]
