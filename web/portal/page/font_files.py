"""The font files of the pages: the portal's own typeface, and others for the scripts that it lacks.

PDF letters and offers use the same files.
"""

from __future__ import annotations

import io
from functools import cache, lru_cache

import uharfbuzz
from flask import Blueprint, Response, abort, url_for

from models.typefaces import EASTERN, EMOJI, WEIGHTS, Typeface, font_file, shows_itself, typefaces

typeface = Blueprint("typeface", __name__)

_A_DAY = 24 * 60 * 60
_A_YEAR = 365 * _A_DAY
_BLOCK, _RARE_BLOCK = 256, 4096
_RARE = 0x20000


@typeface.get(f"/schrift/<any({', '.join(f'{weight!r}' for weight in map(str, WEIGHTS))}):weight>.woff")
def show(weight: str) -> Response:
    """Return the font file of the portal's typeface in a weight (400 or 600); browsers keep it for a year."""
    return _font(_whole(int(weight)))


@typeface.get("/schrift/andere.css")
def other_scripts() -> Response:
    """Return the style sheet that lists the font files of other scripts, each with the characters that it contains.

    So a browser fetches only the font files for characters that are on the page. It caches the style sheet for a day.
    """
    response = Response(_style_sheet(), mimetype="text/css")
    response.headers["Cache-Control"] = f"public, max-age={_A_DAY}"
    return response


@typeface.get("/schrift/<name>.<int:block>.woff")
def part(name: str, block: int) -> Response:
    """Return the font file of one part of a typeface; abort with 404 if there is no such part.

    `name` is the typeface's name. `block` is the number of the part: the first code point of its block of 256 (rare
    characters: 4096) code points, or 0 if the typeface has only one part.
    """
    found = next((one for one in _others() if one.name == name), None)
    if found is None or block not in _parts(found):
        abort(404)
    return _font(_part_of(found, block))


def _font(content: bytes) -> Response:
    response = Response(content, mimetype="font/woff")
    response.headers["Cache-Control"] = f"public, max-age={_A_YEAR}, immutable"
    return response


def _others() -> list[Typeface]:
    """Return the typefaces for characters that the portal's own typeface lacks.

    Of the East Asian typefaces, only the one for simplified Chinese is returned.
    """
    return [one for one in typefaces()[1:] if not one.name.startswith(EASTERN) or one.name.endswith("sc")]


@cache
def _parts(one: Typeface) -> dict[int, list[int]]:
    """Divide the characters of a typeface into parts; return each part's code points by the part's number.

    Each part becomes a font file of its own. Code points that an earlier typeface has are left out. East Asian
    typefaces have 30 MB. So they are divided into blocks of 256 code points (4096 for rare ones), and a part's number
    is its first code point. Any other typeface is one part, number 0, because its letters can change each other's
    shape.
    """
    before = typefaces()[: typefaces().index(one)]
    taken = {
        code
        for other in before
        if not other.name.startswith(EASTERN)
        for code in _characters(other)
        if shows_itself(chr(code))
    }
    # A joiner belongs to emoji; with another font it would take them apart.
    own = sorted(code for code in _characters(one) - taken if shows_itself(chr(code)) or one.name == EMOJI)
    if not one.name.startswith(EASTERN):
        return {0: own}
    parts: dict[int, list[int]] = {}
    for code in own:
        size = _BLOCK if code < _RARE else _RARE_BLOCK
        parts.setdefault(code // size * size, []).append(code)
    return parts


@cache
def _characters(one: Typeface) -> frozenset[int]:
    return frozenset(one.face(400).unicodes)


@cache
def _style_sheet() -> str:
    rules = []
    for one in _others():
        for block, codes in _parts(one).items():
            address = url_for("typeface.part", name=one.name, block=block)
            rules.append(
                f'@font-face {{ font-family: "Other scripts"; font-display: swap; src: url("{address}"); '
                f"unicode-range: {_ranges(codes, block)}; }}"
            )
    return "\n".join(rules)


def _ranges(codes: list[int], block: int) -> str:
    if block:
        return f"U+{block:X}".removesuffix("000" if block >= _RARE else "00").ljust(len(f"U+{block:X}"), "?")
    found: list[list[int]] = []
    for code in codes:
        if found and code == found[-1][1] + 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return ", ".join(f"U+{first:X}-{last:X}" if first != last else f"U+{first:X}" for first, last in found)


@cache
def _whole(weight: int) -> bytes:
    return _compressed(font_file(weight).read_bytes())


@lru_cache(64)
def _part_of(one: Typeface, block: int) -> bytes:
    """Return one part of a typeface as a WOFF file, in the regular weight; browsers derive bold from it."""
    wanted = uharfbuzz.SubsetInput()
    face = one.face(400)
    wanted.unicode_set.update(_parts(one)[block] if block else _characters(one))
    wanted.flags = uharfbuzz.SubsetFlags.NO_HINTING | uharfbuzz.SubsetFlags.DOWNGRADE_CFF2
    wanted.pin_axis_location(face, "wght", 400)
    return _compressed(uharfbuzz.subset(face, wanted).blob.data)


def _compressed(content: bytes) -> bytes:
    """Return the font as a WOFF file, half as large as the TrueType file `content`."""
    from fontTools.ttLib import TTFont  # a large import, which few processes need

    with TTFont(io.BytesIO(content), lazy=True) as font:
        font.flavor = "woff"
        packed = io.BytesIO()
        font.save(packed, reorderTables=None)
    return packed.getvalue()
