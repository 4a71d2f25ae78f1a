"""The typefaces for printing letters and offers, and which characters they have. Reads the installed font files."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uharfbuzz import Face, Font

FAMILY = "Source Sans Pro"
"""The usual typeface of pages, letters and offers. The other typefaces print only characters that this one lacks."""
WEIGHTS = {400: "Regular", 600: "Semibold"}
"""The weights of `FAMILY` that are used: the weight's name in the font file's name, by CSS number."""

EMOJI = "NotoEmoji"
"""The name of the typeface of emoji."""
EASTERN = "NotoSansCJK"
"""The prefix of the names of the three typefaces for Chinese, Japanese and Korean."""
MOST_MARKS = 8
"""The greatest number of combining marks on one letter that is printed: more would run into other lines."""

# Joiners, variation selector 16 and tags: they shape the characters beside them and have no glyph of their own.
_SHAPING_ONLY = re.compile("[\u200c\u200d\ufe0f\U000e0020-\U000e007f]")
# What stands for a character that was lost.
_LOST = "\ufffd"
# Control and format characters, private use, surrogates, separators of lines.
_NO_GLYPH = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_KANA, _HANGUL = re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f]"), re.compile("[\u1100-\u11ff\uac00-\ud7a3]")


@dataclass(frozen=True, slots=True)
class Typeface:
    """An installed typeface: its `name`, unique and in ASCII, and its font files.

    `paths` has one file for each weight in `WEIGHTS`; for a variable font all of them are the same file. `index` is the
    typeface's position in a font file that contains several.
    """

    name: str
    paths: tuple[Path, ...]
    index: int = 0

    @property
    def is_variable(self) -> bool:
        """Return whether one font file has all weights."""
        return len(set(self.paths)) == 1

    def face(self, weight: int) -> Face:
        """Return the HarfBuzz face of the font file for the weight 400 or 600. The file is mapped into memory."""
        return _face(self.paths[list(WEIGHTS).index(weight)], self.index)

    def font(self, weight: int) -> Font:
        """Return the HarfBuzz font for shaping text in the weight 400 or 600; each process creates it once."""
        return _font(self, weight)

    def has(self, character: str) -> bool:
        """Return whether the typeface has a glyph for the character."""
        return self.font(400).get_nominal_glyph(ord(character)) is not None


@cache
def _face(path: Path, index: int) -> Face:
    from uharfbuzz import Blob, Face  # slow to import, and Latin text needs it only once for each letter

    return Face(Blob.from_file_path(str(path)), index)


@cache
def _font(typeface: Typeface, weight: int) -> Font:
    from uharfbuzz import Font

    font = Font(typeface.face(weight))
    if typeface.is_variable:
        font.set_variations({"wght": weight})
    return font


def font_file(weight: int) -> Path:
    """Return the TrueType file of Source Sans Pro (`FAMILY`) in the weight 400 (regular) or 600 (semibold)."""
    return Path(str(files("font_source_sans_pro"))) / "files" / f"SourceSansPro-{WEIGHTS[weight]}.ttf"


@cache
def typefaces() -> tuple[Typeface, ...]:
    """Return all typefaces in the order of preference: a character is printed with the first typeface that has it.

    First comes the usual typeface (`FAMILY`), then Noto Sans, one for each script, symbols, emoji, and last Chinese,
    Japanese and Korean.
    """
    folder = Path(str(files("manimgx_fonts")))
    found = {path.name.partition("[")[0]: path for path in folder.glob("Noto*.ttf") if "Italic" not in path.name}
    last = ["NotoSansSymbols", EMOJI]
    names = ["NotoSans", *sorted(found.keys() - {"NotoSans", *last}), *last]
    east = Path(str(files("manimgx_fonts_cjk"))) / "NotoSansCJK-VF.otf.ttc"
    return (
        Typeface(FAMILY.replace(" ", ""), tuple(map(font_file, WEIGHTS))),
        *(Typeface(name, (found[name],) * len(WEIGHTS)) for name in names),
        # In the order of the forms of Chinese characters in the file.
        *(Typeface(f"{EASTERN}{form}", (east,) * len(WEIGHTS), index) for index, form in enumerate(("jp", "kr", "sc"))),
    )


def is_plain(text: str) -> bool:
    """Return whether the usual typeface alone can print the text, without shaping: one glyph for each character.

    False for right-to-left text, combining marks, and characters that the usual typeface, `FAMILY`, lacks.
    """
    return text.isascii() or all(map(_is_plain_character, text))


@lru_cache(4096)
def _is_plain_character(character: str) -> bool:
    return (
        not unicodedata.category(character).startswith(("M", "C"))
        and unicodedata.bidirectional(character) not in ("R", "AL", "AN")
        and typefaces()[0].has(character)
    )


def lacking(text: str) -> str:
    """Return the first character (grapheme cluster) that no typeface can print; an empty text if all can be printed.

    Line breaks count as printable.
    """
    if text.isascii():
        if text.isprintable():
            return ""
        return next((character for character in text if not character.isprintable() and character != "\n"), "")
    if is_plain(text):
        return ""
    return next((cluster for cluster in clusters(text) if cluster != "\n" and typeface_of(cluster) is None), "")


def clusters(text: str) -> list[str]:
    """Split the text into grapheme clusters, characters as a reader sees them: letters with marks, whole emoji."""
    from wcwidth import iter_graphemes  # slow to import

    return list(iter_graphemes(text))


def eastern_form(text: str) -> str:
    """Return the regional form in which Chinese characters of the text are printed: "jp", "kr" or "sc".

    "sc" (simplified Chinese) is the default. A text with kana counts as Japanese, one with Hangul as Korean.
    """
    if text.isascii():
        return "sc"
    return "jp" if _KANA.search(text) else "kr" if _HANGUL.search(text) else "sc"


def shows_itself(character: str) -> bool:
    """Return whether the character is visible: not a control character, a joiner or U+FFFD (a lost character)."""
    is_shaping = _SHAPING_ONLY.match(character) is not None
    return not is_shaping and character != _LOST and unicodedata.category(character) not in _NO_GLYPH


@lru_cache(4096)
def typeface_of(cluster: str, form: str = "sc") -> Typeface | None:
    """Return the first typeface that has all parts of a grapheme cluster (one visible character); None if none has.

    `form` is the regional form of Chinese characters in the text around it: "jp", "kr" or "sc". None also for private
    use characters, whose meaning differs between typefaces, and for more than `MOST_MARKS` (8) combining marks.
    """
    needed = set(_SHAPING_ONLY.sub("", cluster))
    if not needed or not all(map(shows_itself, needed)):
        return None
    if sum(unicodedata.category(character).startswith("M") for character in cluster) > MOST_MARKS:
        return None
    # An emoji that Source Sans Pro or another one knows as a plain sign.
    coloured = "\ufe0f" in cluster or ("\u200d" in cluster and unicodedata.category(cluster[0]) == "So")
    for typeface in sorted(typefaces(), key=lambda one: one.name != EMOJI) if coloured else typefaces():
        if typeface.name.startswith(EASTERN) and not typeface.name.endswith(form):
            continue
        if all(map(typeface.has, needed)):
            return typeface
    return None
