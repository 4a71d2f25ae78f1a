"""Recognise the encoding of a CSV file, and mark characters that may have been read wrongly.

UTF-8 and UTF-16 can be recognised for certain. Spreadsheets also write three single-byte encodings: Windows-1252, that
of MS-DOS (cp850) and that of old Macintoshes. Of these, the one is chosen in which the text looks most like German or
Western European names: in the wrong ones, umlauts appear as capital letters, symbols or quotation marks within words.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO

from charset_normalizer import from_bytes

UNREADABLE = "\ufffd"
"""The character U+FFFD, which replaces each character that could not be read with certainty."""

_CHUNK = 1 << 16
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_UNDECODED = re.compile("[\udc80-\udcff]")
_READ_TWICE = re.compile("[\u00c2-\u00f4][^\x00-\x7f]")
_UTF_16 = ("utf_16", "utf_16_le", "utf_16_be")
_UNICODE = (*_UTF_16, "utf-8", "utf-8-sig")
_WINDOWS, _DOS, _MACINTOSH = "cp1252", "cp850", "mac_roman"
_RARER = {_WINDOWS: 0, _DOS: 6, _MACINTOSH: 6}
"""The single-byte encodings, each with the points that are added to its cost because it is used less often."""
_IN_CONTEXT = re.compile(rb"[\x00-\xff]?[\x80-\xff][\x00-\xff]?", re.DOTALL)

_IMPOSSIBLE, _UNLIKELY, _CERTAIN = 20, 10, 8
_GERMAN = frozenset("äöüÄÖÜß")
_WESTERN = {**dict.fromkeys("éèáàçÉÈ", 1), **dict.fromkeys("êëâíîïñóôúûÁÀÇÊËÂÍÎÏÑÓÔÚÛ", 3)}
_RARE = frozenset("åæøœšžãõìòùýÿðþÅÆØŒŠŽÃÕÌÒÙÝŸÐÞ")
_USUAL_SYMBOLS = frozenset("„“”‚‘’–—…€§°«»²³½¼¾·×®™©´•†±\xa0\xad")
_BESIDE_NO_LETTER = frozenset("§‰†‡")
_BEFORE_NO_LETTER = frozenset("€…™")
_WITHIN_WORDS = frozenset("’‘´·–\xa0\xad")


@dataclass(frozen=True, slots=True)
class Encoding:
    """The recognised encoding of a file.

    `name` is Python's name: utf_16, utf_16_le, utf_16_be, utf-8-sig, utf-8, cp1252, cp850 or mac_roman. `doubtful` are
    characters that may be wrong, because another encoding is nearly as likely and reads their bytes differently.
    """

    name: str
    doubtful: frozenset[str] = frozenset()

    def trusted(self, text: str) -> str:
        """Return a text of the file with U+FFFD (`UNREADABLE`) for every character that may have been read wrongly.

        These are bytes that are invalid in the encoding and, in a single-byte encoding, characters that are doubtful or
        implausible beside their neighbours. In UTF-8 and UTF-16, text that was once read as Windows-1252 and saved as
        UTF-8 ("BrÃ¼cke") is restored ("Brücke").
        """
        if text.isascii():
            return text
        text = _UNDECODED.sub(UNREADABLE, text)
        if self.name in _UNICODE:
            return _turned_back(text)

        def checked(found: re.Match[str]) -> str:
            is_wrong = found[0] in self.doubtful or _cost_at(text, found.start()) >= _IMPOSSIBLE
            return UNREADABLE if is_wrong else found[0]

        return _NOT_ASCII.sub(checked, text)


def open_text(file: BinaryIO, encoding: Encoding) -> io.TextIOWrapper:
    """Open a binary file as text in the given encoding, from its beginning, with line ends unchanged.

    Bytes that are invalid in the encoding become lone surrogates (in UTF-16: U+FFFD), so that they spoil only the cell
    that contains them.
    """
    file.seek(0)
    errors = "replace" if encoding.name in _UTF_16 else "surrogateescape"
    return io.TextIOWrapper(file, encoding.name, errors=errors, newline="")


def encoding_of(file: BinaryIO) -> Encoding:
    """Recognise the encoding of a CSV file, reading the file in small pieces.

    A file with a few bytes that are invalid in UTF-8 still counts as UTF-8. The condition is that at least as many of
    its characters beyond ASCII are valid: in any other encoding, every umlaut would be wrong.
    """
    file.seek(0)
    start = file.read(_CHUNK)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Encoding("utf_16")
    if start.startswith(codecs.BOM_UTF8):
        return Encoding("utf-8-sig")
    if b"\0" in start:
        best = from_bytes(start, cp_isolation=[*_UTF_16, "utf_8", _WINDOWS]).best()
        if best is not None and best.encoding in _UTF_16:
            return Encoding(best.encoding)
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    broken = whole = 0
    while chunk := file.read(_CHUNK):
        text = decoder.decode(chunk)
        if not text.isascii():
            undecoded = len(_UNDECODED.findall(text))
            broken += undecoded
            whole += len(_NOT_ASCII.findall(text)) - undecoded
    return Encoding("utf-8") if whole >= broken else _single_byte_encoding(file)


def _single_byte_encoding(file: BinaryIO) -> Encoding:
    file.seek(0)
    found: Counter[bytes] = Counter()
    while chunk := file.read(_CHUNK):
        found.update(_IN_CONTEXT.findall(chunk))
    costs = {name: charge + _total_cost(found, name) for name, charge in _RARER.items()}
    best = min(costs, key=lambda name: costs[name])
    used = {byte for context in found for byte in context if byte > 0x7F}
    doubtful = {
        char
        for name, cost in costs.items()
        for char, other in ((_char(byte, best), _char(byte, name)) for byte in used)
        if cost < costs[best] + _CERTAIN and char != other
    }
    return Encoding(best, frozenset(doubtful))


def _total_cost(found: Counter[bytes], encoding: str) -> int:
    """Return how implausible a file's text is in a single-byte encoding; 0 means that nothing is unusual.

    `found` counts the pieces of the file that consist of a byte above 127 and its neighbours. Each character that is
    not ASCII adds 0 (usual beside its neighbours) to 20 to the result.
    """
    total = 0
    for context, count in found.items():
        text = context.decode(encoding, "surrogateescape")
        total += count * sum(_cost_at(text, place.start()) for place in _NOT_ASCII.finditer(text))
    return total


def _char(byte: int, encoding: str) -> str:
    return bytes([byte]).decode(encoding, "surrogateescape")


def _cost_at(text: str, place: int) -> int:
    """Return how implausible the character at the index `place` is beside its neighbours: from 0 (usual) to 20."""
    before, char, after = text[place - 1 : place], text[place], text[place + 1 : place + 2]
    if _UNDECODED.match(char):
        return _IMPOSSIBLE
    if not char.isalpha() or char in "ªº":
        return _cost_of_symbol(before, char, after)
    if (char.isupper() and before.islower()) or (char == "ß" and not before.isalpha()):
        return _IMPOSSIBLE
    if not (before.isalpha() or after.isalpha()) or (char.islower() and not before.isalpha() and after.isupper()):
        return _UNLIKELY
    if char in _GERMAN:
        return 0
    return _WESTERN.get(char) or (5 if char in _RARE else _IMPOSSIBLE)


def _cost_of_symbol(before: str, char: str, after: str) -> int:
    if before.isalpha() and after.isalpha():
        return 0 if char in _WITHIN_WORDS else _IMPOSSIBLE
    if char in _BESIDE_NO_LETTER and (before.isalpha() or after.isalpha()):
        return _UNLIKELY
    if char in _BEFORE_NO_LETTER and after.isalpha():
        return _UNLIKELY
    return 0 if char in _USUAL_SYMBOLS else _UNLIKELY


def _turned_back(text: str) -> str:
    if not _READ_TWICE.search(text):
        return text
    try:
        return text.encode(_WINDOWS).decode("utf-8")
    except UnicodeError:
        return text
