"""Turn text into positioned glyphs with HarfBuzz, each from a typeface that has the character.

Letters are joined and marks placed as the script requires it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import uharfbuzz

from models.text_direction import ISOLATE, needs_order
from models.typefaces import EMOJI, Typeface, clusters, eastern_form, is_plain, typeface_of, typefaces
from tasks.outbox.visual_order import visual_parts


@dataclass(frozen=True, slots=True)
class Glyph:
    """A glyph of a typeface: its number in the font, and lengths in thousandths of the font size.

    `advance` is its width; `right` and `up` are how far it is printed from its usual position. `text` is the text that
    the glyph stands for; empty if another glyph of the same cluster stands for that text.
    """

    number: int
    advance: float
    right: float
    up: float
    text: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """Characters that are printed together, such as a letter with its marks: `text`, and `glyphs` from left to right.

    `is_in_order` is whether the glyphs' texts, put together in reading direction, give `text`.
    """

    text: str
    glyphs: tuple[Glyph, ...]
    is_in_order: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a line in one typeface. `clusters` are its characters with their glyphs, from left to right.

    Without clusters, `text` is plain text in the usual typeface of PDFs, which ReportLab prints by itself.
    """

    text: str
    typeface: Typeface
    clusters: tuple[Cluster, ...] = ()

    @property
    def width(self) -> float:
        """Return the width of all glyphs together in thousandths of the font size; 0 for a run without clusters."""
        return sum(glyph.advance for cluster in self.clusters for glyph in cluster.glyphs)


@lru_cache(1024)
def runs_of(line: str, weight: int) -> tuple[Run, ...]:
    """Split a line into runs (parts in one typeface) in the weight 400 or 600; return them from left to right.

    Each character must be in one of the typefaces. The invisible characters FSI and PDI isolate the direction of the
    text between them, and are not printed.
    """
    form = eastern_form(line)
    parts = visual_parts(line) if ISOLATE in line or needs_order(line) else [(line, False)]
    return tuple(run for text, from_right in parts for run in _runs(text, from_right, form, weight))


def _runs(text: str, from_right: bool, form: str, weight: int) -> Iterator[Run]:
    chosen: list[tuple[str, Typeface]] = []
    for cluster in clusters(text):
        typeface = typeface_of(cluster, form) or typefaces()[0]
        # A space belongs to the word before it; that of emoji is as wide as they are.
        if cluster == " " and chosen and chosen[-1][1].name != EMOJI:
            typeface = chosen[-1][1]
        chosen.append((cluster, typeface))
    groups = [
        (typeface, "".join(cluster for cluster, _ in group))
        for typeface, group in groupby(chosen, key=lambda one: one[1])
    ]
    for typeface, part in reversed(groups) if from_right else groups:
        if typeface == typefaces()[0] and not from_right and is_plain(part):
            yield Run(part, typeface)
        else:
            yield Run(part, typeface, _clusters(part, from_right, typeface, weight))


def _clusters(text: str, from_right: bool, typeface: Typeface, weight: int) -> tuple[Cluster, ...]:
    font = typeface.font(weight)
    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if from_right else "ltr"
    buffer.flags = uharfbuzz.BufferFlags.REMOVE_DEFAULT_IGNORABLES
    uharfbuzz.shape(font, buffer)
    scale = 1000 / font.face.upem
    begins = sorted({info.cluster for info in buffer.glyph_infos})
    ends = dict(zip(begins, [*begins[1:], len(text)], strict=True))
    found = []
    shaped = zip(buffer.glyph_infos, buffer.glyph_positions, strict=True)
    for begin, group in groupby(shaped, key=lambda glyph: glyph[0].cluster):
        part, glyphs = text[begin : ends[begin]], list(group)
        texts = _texts(part, [(info.codepoint, at.x_advance) for info, at in glyphs], font)
        found.append(
            Cluster(
                part,
                tuple(
                    Glyph(info.codepoint, at.x_advance * scale, at.x_offset * scale, at.y_offset * scale, stands_for)
                    for (info, at), stands_for in zip(glyphs, texts, strict=True)
                ),
                "".join(reversed(texts) if from_right else texts) == part,
            )
        )
    return tuple(found)


def _texts(text: str, glyphs: list[tuple[int, int]], font: uharfbuzz.Font) -> list[str]:
    """Return for each glyph of a cluster the part of the cluster's `text` that the glyph stands for; "" for some.

    `glyphs` are pairs of glyph number and width. A glyph that the font has for a single character of the text stands
    for that character. All other characters together are assigned to the widest of the other glyphs.
    """
    left, found = list(text), [""] * len(glyphs)
    for place, (number, _) in enumerate(glyphs):
        own = next((character for character in left if font.get_nominal_glyph(ord(character)) == number), "")
        if own:
            found[place] = own
            left.remove(own)
    others = [place for place, own in enumerate(found) if not own]
    if left and others:
        found[max(others, key=lambda place: glyphs[place][1])] = "".join(left)
    return found
