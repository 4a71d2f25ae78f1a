"""Shortening of text in any script, with the cut between two characters as a reader sees them."""

from __future__ import annotations

from itertools import takewhile


def shortened(text: str, most: int) -> str:
    """Return at most the first `most` code points of the text, cut between two characters as a reader sees them.

    The cut separates no letter from its accent and splits no emoji. The one exception: a first character with more than
    `most` code points is itself cut.
    """
    if len(text) <= most:
        return text
    # Slow to import, and hardly any text is cut.
    from wcwidth import iter_graphemes

    end = 0
    ends = (end := end + len(character) for character in iter_graphemes(text[: most + 1]))
    last = max(takewhile(lambda place: place <= most, ends), default=0)
    return text[: last or most]
