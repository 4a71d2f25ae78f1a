"""Where a text in any script may be cut: between two characters as a reader sees them."""

from __future__ import annotations

from itertools import takewhile


def shortened(text: str, most: int) -> str:
    """Return at most the first `most` code points of the text, cut between two characters as a reader sees them.

    So no letter loses its accent, and no emoji is taken apart. Only if the first such character alone has more than
    `most` code points is it cut within.
    """
    if len(text) <= most:
        return text
    # Slow to import, and hardly any text is cut.
    from wcwidth import iter_graphemes

    end = 0
    ends = (end := end + len(character) for character in iter_graphemes(text[: most + 1]))
    last = max(takewhile(lambda place: place <= most, ends), default=0)
    return text[: last or most]
