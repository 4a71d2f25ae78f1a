"""axe-core in the page, in both colour schemes: what it finds, in words that one can act on."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

_AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The two schemes differ in colours alone, so in the dark one only what looks at colours is asked. The light one, in
# which a page is shown unless it is told otherwise, comes last and stays.
_SCHEMES = {"dark": ["color-contrast", "link-in-text-block"], "light": _RULES}
# What is in a frame, such as a mail, is not the portal's. What was found right is long, and nobody reads it.
_RUN = """async rules => {
    const result = await axe.run(document, {runOnly: rules, iframes: false, resultTypes: ["violations"]});
    return result.violations;
}"""


@cache
def axe_source() -> str:
    """axe-core, as installed at set-up. Without it the test is skipped, but on a CI machine (CI=true) it fails."""
    if not _AXE.is_file():
        missing = "axe-core IS NOT INSTALLED: THE PAGES' ACCESSIBILITY WAS NOT CHECKED. Run .make/assets"
        if os.environ.get("CI") == "true":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return _AXE.read_text()


def assert_accessible(page: Page) -> None:
    """Fails with a list if axe-core finds anything on the page as it is now, light or dark."""
    found: list[str] = []
    # Evaluated by the browser's tools, so the page's Content-Security-Policy stays as it is.
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe_source())
    for scheme, rules in _SCHEMES.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        violations = page.evaluate(_RUN, rules)
        found += [line for violation in violations for line in _in_words(violation, scheme)]
    assert not found, f"{page.url}:\n" + "\n".join(found)


def _in_words(violation: dict[str, Any], scheme: str) -> list[str]:
    return [
        f"{scheme}, {violation['id']} ({violation['impact']}): {node['html'][:160]}\n    "
        + " ".join(node["failureSummary"].split())
        for node in violation["nodes"]
    ]
