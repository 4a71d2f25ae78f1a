"""Tests of the style sheets: every class that they style is used, every used class is known, and no block is repeated.

Also that wide tables can be scrolled by keyboard.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from pathlib import Path

WEB = Path(__file__).parents[4] / "web"
SHEETS = sorted(WEB.glob("static/**/*.css"))
SOURCES = [*WEB.glob("templates/**/*.html"), *WEB.glob("static/js/*.js"), *WEB.glob("portal/*.py")]
# Class names that templates compose: "is-{{ step.state }}", "region-{{ region.name }}",
# "is-{{ state }}".
PUT_TOGETHER = {"is-stopped", "region-state", "region-ways", "region-timeline", "region-order"}
PUT_TOGETHER |= {"is-yours", "is-confirmation", "is-offline", "is-suspended"}


def rules(sheet: Path) -> list[str]:
    """Return the parts of the style sheet's text, without comments. Each part ends with a brace.

    A part is a selector with "{", the declarations with "}", or a closing brace.
    """
    css = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S)
    return [line.strip() for line in re.split(r"(?<=[{}])", css) if line.strip()]


def styled(sheet: Path) -> set[str]:
    """Return the names of the CSS classes in the selectors of the style sheet."""
    selectors = " ".join(rule for rule in rules(sheet) if rule.endswith("{") and not rule.startswith("@"))
    return set(re.findall(r"\.([a-z][\w-]*)", selectors))


def test_no_class_is_styled_in_vain() -> None:
    text = "\n".join(source.read_text() for source in SOURCES)
    unused = {name for sheet in SHEETS for name in styled(sheet) if not re.search(rf"\b{name}\b", text)}
    assert unused - PUT_TOGETHER == set()


def test_every_class_is_styled_or_looked_up() -> None:
    templates = "\n".join(path.read_text() for path in WEB.glob("templates/**/*.html"))
    scripts = "\n".join(path.read_text() for path in WEB.glob("static/js/*.js"))
    bare = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " ", templates)
    used = set(chain.from_iterable(value.split() for value in re.findall(r'class="([^"]*)"', bare)))
    known = set().union(*(styled(sheet) for sheet in SHEETS)) | set(re.findall(r"\.([a-z][\w-]*)", scripts))
    assert {name for name in used if not name.endswith("-")} - known == set()


def test_no_declaration_block_stands_twice() -> None:
    blocks = Counter(rule for sheet in SHEETS for rule in rules(sheet) if rule.endswith("}") and rule.count(";") > 2)
    assert [block for block, times in blocks.items() if times > 1] == []


def test_a_table_that_is_cut_shows_it_and_can_be_scrolled_by_keyboard() -> None:
    frame = re.compile(
        r'<div class="table-frame"(?=[^>]* role="region")(?=[^>]* tabindex="0")(?=[^>]* aria-label=)[^>]*>\s*$'
    )
    for path in WEB.glob("templates/**/*.html"):
        before = ""
        for part in re.split(r"(<table[^>]*>)", path.read_text()):
            # Few and narrow columns, which wrap: products and prices.
            if part.startswith("<table") and part != '<table class="sums">':
                assert frame.search(before), path
            before = part
    [rule] = [rule for rule in rules(WEB / "static" / "portal.css") if "overflow-x: auto" in rule and "beyond" in rule]
    assert rule.count("local") == 2 and rule.count("scroll,") == 2
