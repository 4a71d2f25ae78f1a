"""Checks an HTML page: valid HTML, no id twice, no reference to a missing id, no inline styles or scripts."""

from __future__ import annotations

from collections import Counter

import html5lib

REFERENCES = ("for", "aria-describedby", "aria-labelledby", "aria-controls")


def html_errors(page: str) -> list[str]:
    """Return a text for each error in the HTML `page`; an empty list if it is valid.

    Errors are also a repeated id, a reference to an id that is missing, and inline styles or scripts.
    """
    parser = html5lib.HTMLParser(html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False)
    tree = parser.parse(page)
    lines = page.splitlines()
    found = [f"{code} in line {place[0]}: {lines[place[0] - 1].strip()[:120]}" for place, code, _ in parser.errors]
    ids = Counter(element.get("id") for element in tree.iter() if element.get("id"))
    found += [f"id {id} is there {times} times" for id, times in ids.items() if times > 1]
    for element in tree.iter():
        for name in REFERENCES:
            found += [f"{name} leads to no {id}" for id in (element.get(name) or "").split() if id not in ids]
        href = element.get("href") or ""
        if href.startswith("#") and href[1:] not in ids:
            found.append(f"no element for {href}")
        if element.tag in {"style"} or element.get("style") or any(name.startswith("on") for name in element.attrib):
            found.append(f"<{element.tag}> has styles or scripts of its own")
    return found


def assert_valid(page: str) -> None:
    """Fail with a list of all errors if the HTML `page` is not valid; see `html_errors`."""
    errors = html_errors(page)
    assert not errors, "\n".join(errors)
