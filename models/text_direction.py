"""Right-to-left texts in sentences: marked so that they do not change the order of the words around them."""

from __future__ import annotations

import re

ISOLATE, END_ISOLATE = "\u2068", "\u2069"
"""FSI and PDI of Unicode's bidirectional algorithm. The text between them gets its own direction and order."""

# The blocks of Hebrew, Arabic and the other scripts that are written from right to left, with their marks.
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]")


def isolated(text: str) -> str:
    """Return the text so that it does not reorder the text beside it: right-to-left text is put between FSI and PDI.

    Without these two characters, "12345, שלום, 10179 Berlin" shows the two numbers in each other's place. A text
    without right-to-left letters is returned unchanged, and so is one that already contains FSI, such as a composed
    sentence.
    """
    if text.isascii() or ISOLATE in text or not needs_order(text):
        return text
    return f"{ISOLATE}{text}{END_ISOLATE}"


def needs_order(text: str) -> bool:
    """Return whether the text has letters that are written from right to left."""
    return _RIGHT_TO_LEFT.search(text) is not None


def isolated_facts(facts: dict[str, object]) -> dict[str, object]:
    """Return the variables of a sentence, by name, with each right-to-left text put between the characters FSI and PDI.

    FSI and PDI keep such a text from reordering the words around it. Values that are no plain `str`, such as numbers
    and `Markup`, are returned unchanged.
    """
    # Subclasses of str, such as Markup, are put together already.
    return {name: isolated(fact) if type(fact) is str else fact for name, fact in facts.items()}
