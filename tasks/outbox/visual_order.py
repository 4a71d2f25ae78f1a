"""Order the parts of a line as they are printed, from left to right, if some are in right-to-left scripts."""

from __future__ import annotations

import re
from itertools import groupby

from bidi.algorithm import (
    explicit_embed_and_overrides,
    get_embedding_levels,
    get_empty_storage,
    reorder_resolved_levels,
    resolve_implicit_levels,
    resolve_neutral_types,
    resolve_weak_types,
)
from bidi.algorithm import get_base_level as _base_level

from models.text_direction import END_ISOLATE, ISOLATE

# The library would take joiners and tags away: they go as a mark does, with the letter before them.
_AS_MARKS = dict.fromkeys([0x200C, 0x200D, *range(0xE0020, 0xE0080)], "\u0300")
_OBJECT = "\ufffc"
_ISOLATED = re.compile(f"{ISOLATE}([^{ISOLATE}{END_ISOLATE}]*){END_ISOLATE}?")
_STRAY = re.compile(f"[{ISOLATE}{END_ISOLATE}]")


def visual_parts(line: str) -> list[tuple[str, bool]]:
    """Return the parts of a line as they are printed, from left to right, each with its reading direction.

    A part is a pair of its text, in the order in which it is typed, and whether it reads from right to left. The order
    of the parts follows Unicode's bidirectional algorithm. Text between the invisible characters FSI and PDI is ordered
    by itself, and both characters are left out. The direction of the line, and of each such text, is that of its first
    letter; left to right if it has no letter.
    """
    isolated: list[str] = []

    def _keep(found: re.Match[str]) -> str:
        isolated.append(found[1])
        return _OBJECT

    outside = _STRAY.sub("", _ISOLATED.sub(_keep, line.replace(_OBJECT, "")))
    inner = iter(isolated)
    contents = {place: next(inner) for place, character in enumerate(outside) if character == _OBJECT}
    parts: list[tuple[str, bool]] = []
    for (level, isolate), group in groupby(_ordered(outside), key=lambda found: (found[1], contents.get(found[0]))):
        places = [place for place, _ in group]
        if isolate is not None:
            parts.extend(visual_parts(isolate))
        else:
            parts.append((outside[min(places) : max(places) + 1], level % 2 == 1))
    return parts


def _ordered(text: str) -> list[tuple[int, int]]:
    """Return the characters of a text in printing order, from left to right, as pairs of index and embedding level.

    A character with an odd level is read from right to left (Unicode's bidirectional algorithm).
    """
    storage = get_empty_storage()
    marked = text.translate(_AS_MARKS)
    storage["base_level"] = _base_level(marked)
    storage["base_dir"] = "LR"[storage["base_level"]]
    get_embedding_levels(marked, storage)
    for place, character in enumerate(storage["chars"]):
        character["place"] = place
    explicit_embed_and_overrides(storage)
    resolve_weak_types(storage)
    resolve_neutral_types(storage, False)
    resolve_implicit_levels(storage, False)
    reorder_resolved_levels(storage, False)
    return [(character["place"], character["level"]) for character in storage["chars"]]
