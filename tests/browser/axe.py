"""Checks pages with axe-core, in the light and the dark colour scheme, and lists the violations that it finds."""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

_AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The schemes differ only in colours, so only the rules about colours run in the dark one.
_COLOUR_RULES = ["color-contrast", "link-in-text-block"]
# What axe-core judges of an element, without the words: the element with its classes, attributes and parent, and if
# there is a text in it.
_SHAPE_OF = """element => {
    const values = /^(type|role|lang|scope|aria-(?!describedby|labelledby|label|controls).*)$/;
    const one = element => element === null ? "" : [
        element.tagName,
        [...element.classList].sort().join("."),
        [...element.attributes].map(a => values.test(a.name) ? a.name + "=" + a.value : a.name).sort().join(),
        element.textContent.trim() === "",
    ].join(" ");
    return one(element.parentElement) + " > " + one(element);
}"""
SHAPES = f"""() => {{
    const shapes = [...document.querySelectorAll("body *")].map({_SHAPE_OF});
    const outline = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6, header, nav, main, aside, footer")];
    return [...new Set(shapes), outline.map(e => e.tagName).join()];
}}"""
"""Source of a JavaScript function that returns a list of texts which describe the open page.

They are the distinct shapes of its elements (tag, classes, attributes), and one text with the tags of its headings and
landmarks in their order.
"""
# Frames show mails, not pages of the portal. Passed rules are left out, because the list is long.
_RUN = """async ([rules, where]) => {
    const result = await axe.run(where ?? document, {runOnly: rules, iframes: false, resultTypes: ["violations"]});
    return result.violations;
}"""
# The colours of what is new on a page, with everything in it; whatever is outside has the same ground as before.
_RUN_ON_NEW = f"""async ([rules, shapes]) => {{
    const wanted = new Set(shapes), shapeOf = {_SHAPE_OF};
    const fresh = [...document.querySelectorAll("body *")].filter(element => wanted.has(shapeOf(element)));
    const inside = new Set(fresh);
    const has = element => element !== null && (inside.has(element) || has(element.parentElement));
    const include = fresh.filter(element => !has(element.parentElement));
    return include.length === 0 ? [] : await ({_RUN})([rules, {{include}}]);
}}"""


class _Checked:
    """The page elements that axe-core has found accessible, each as a digest of its shape: tag, classes and attributes.

    `file` holds the digests that all test processes of a run share; None: this process shares them with no other.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self.file: Path | None = None

    def new_of(self, shapes: list[str]) -> list[str]:
        """Return those of `shapes` that neither this process nor one that shares the file has passed before."""
        new = [shape for shape in shapes if _digest(shape) not in self._known]
        if not new or self.file is None or not self.file.exists():
            return new
        self._known.update(self.file.read_text().split())
        return [shape for shape in new if _digest(shape) not in self._known]

    def add(self, shapes: list[str]) -> None:
        """Record that axe-core found elements of these shapes accessible, also in the shared file, if there is one."""
        digests = [_digest(shape) for shape in shapes]
        self._known.update(digests)
        if self.file is not None:
            with self.file.open("a") as file:
                file.write("".join(f"{digest}\n" for digest in digests))


_checked = _Checked()


def share_checks(directory: Path) -> None:
    """Share the list of checked elements with the other test processes of this run, by a file in the directory."""
    _checked.file = directory / "accessible-shapes"


def _digest(shape: str) -> str:
    return blake2b(shape.encode(), digest_size=8).hexdigest()


@cache
def axe_source() -> str:
    """Return the JavaScript source of axe-core, as `make setup` installs it.

    If it is not installed, the running test is skipped; on CI (CI=true) it fails.
    """
    if not _AXE.is_file():
        missing = "axe-core IS NOT INSTALLED: THE PAGES' ACCESSIBILITY WAS NOT CHECKED. Run .make/assets"
        if os.environ.get("CI") == "true":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return _AXE.read_text()


def has_passed(shapes: list[str]) -> bool:
    """Return whether axe-core has found page elements of all these shapes accessible before in this run.

    A shape is the text that the JavaScript function `SHAPES` returns for an element: tag, classes and attributes.
    """
    return not _checked.new_of(shapes)


def assert_accessible(page: Page) -> None:
    """Fail with a list of the violations that axe-core finds on the page, in its light and its dark colour scheme.

    axe-core does not run if every element's shape (tag, classes, attributes) has passed before in this run.
    """
    new = _checked.new_of(page.evaluate(SHAPES))
    if not new:
        return
    # Evaluated through the debugger, which the Content-Security-Policy does not restrict.
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe_source())
    found: list[str] = []
    # The light scheme, the default, comes last, so that the page stays light.
    for scheme, run, arguments in (("dark", _RUN_ON_NEW, [_COLOUR_RULES, new]), ("light", _RUN, [_RULES, None])):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        found += [line for violation in page.evaluate(run, arguments) for line in _in_words(violation, scheme)]
    assert not found, f"{page.url}:\n" + "\n".join(found)
    _checked.add(new)


def _in_words(violation: dict[str, Any], scheme: str) -> list[str]:
    return [
        f"{scheme}, {violation['id']} ({violation['impact']}): {node['html'][:160]}\n    "
        + " ".join(node["failureSummary"].split())
        for node in violation["nodes"]
    ]
