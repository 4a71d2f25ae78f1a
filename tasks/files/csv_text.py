"""Recognise the encoding and the delimiter of a CSV file."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable
from typing import BinaryIO

from charset_normalizer import from_bytes

LONGEST_LINE = 65_536
"""The most characters of a line; a file with a longer line is no table."""

_DELIMITERS = (";", ",", "\t")
_CHUNK = 1 << 16
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_UNDECODED = re.compile("[\udc80-\udcff]")
# Left free, the detector takes Windows-1252 tables with few umlauts for cp775 or cp1250.
_UTF_16 = ("utf_16", "utf_16_le", "utf_16_be")
_ENCODINGS = [*_UTF_16, "utf_8", "cp1252"]


def open_text(file: BinaryIO) -> io.TextIOWrapper:
    """Open a binary file as text in its recognised encoding (`encoding_of`), with line ends unchanged.

    Bytes that are invalid in the encoding become lone surrogates (in UTF-16: U+FFFD), so that such a byte spoils only
    the cell that contains it.
    """
    encoding = encoding_of(file)
    file.seek(0)
    errors = "replace" if encoding in _UTF_16 else "surrogateescape"
    return io.TextIOWrapper(file, encoding, errors=errors, newline="")


def encoding_of(file: BinaryIO) -> str:
    """Return the name of a file's encoding: UTF-16 or UTF-8 (each with or without byte order mark) or Windows-1252.

    The name is `utf_16`, `utf_16_le`, `utf_16_be`, `utf-8-sig`, `utf-8` or `cp1252`. A UTF-8 file with a few broken
    bytes is still UTF-8: read as Windows-1252, every umlaut would be wrong. The file is read in small pieces.
    """
    file.seek(0)
    start = file.read(_CHUNK)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf_16"
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if b"\0" in start:
        best = from_bytes(start, cp_isolation=_ENCODINGS).best()
        if best is not None and best.encoding in _UTF_16:
            return best.encoding
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    broken = whole = 0
    while chunk := file.read(_CHUNK):
        text = decoder.decode(chunk)
        if not text.isascii():
            undecoded = len(_UNDECODED.findall(text))
            broken += undecoded
            whole += len(_NOT_ASCII.findall(text)) - undecoded
    return "utf-8" if whole >= broken else "cp1252"


def declared_delimiter(line: str) -> str | None:
    """Return the delimiter that a line like `sep=;` declares, as Excel writes it before the header.

    Return None for any other line.
    """
    found = re.fullmatch(r"sep=(.)\s*", line)
    return found[1] if found else None


def likely_delimiter(header: str, is_column: Callable[[str], bool]) -> str:
    """Return the delimiter (semicolon, comma or tab) that splits the header into the most names `is_column` accepts."""

    def known(delimiter: str) -> int:
        return sum(is_column(name) for name in column_names(header, delimiter))

    return max(_DELIMITERS, key=known)


def column_names(header: str, delimiter: str) -> list[str]:
    """Return the column names of a header line, without quotes and surrounding spaces."""
    return [name.strip().strip('"').strip() for name in header.split(delimiter)]
