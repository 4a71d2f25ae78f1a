"""Reads the text that the pages of a PDF show, by mapping each glyph of an embedded typeface to its character."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

from pypdf import PdfReader
from pypdf.generic import ContentStream

_MAPPED = re.compile(r"<([0-9a-f]{4})> <([0-9a-f]*)>")


def printed_lines(content: bytes) -> list[str]:
    """Return the lines of text that the PDF shows in embedded typefaces, each with its characters from left to right.

    A right-to-left script is thus returned in its order on the page, not in reading order. Fails if a character has no
    glyph in the typeface, so that the page shows a box in its place.
    """
    reader = PdfReader(BytesIO(content))
    lines = []
    for page in reader.pages:
        fonts: dict[str, Any] = page["/Resources"]["/Font"]  # type: ignore[index]
        maps = {
            name: {int(code, 16): bytes.fromhex(text).decode("utf-16-be") for code, text in _mapped(font)}
            for name, font in fonts.items()
            if font["/Subtype"] == "/Type0"
        }
        font, line, actual = "", "", None
        for operands, operator in ContentStream(page.get_contents(), reader).operations:
            if operator == b"Tf":
                font = operands[0]
            elif operator == b"BDC" and "/ActualText" in operands[1]:
                actual = str(operands[1]["/ActualText"])
            elif operator == b"EMC" and actual is not None:
                line, actual = line + actual, None
            elif operator == b"TJ" and font in maps:
                codes = [part for part in operands[0] if not isinstance(part, int | float)]
                numbers = [int.from_bytes(_bytes(code), "big") for code in codes]
                assert all(numbers), "a box for a character that the typeface lacks"
                assert set(numbers) <= set(maps[font])
                if actual is None:
                    line += "".join(maps[font][number] for number in numbers)
            elif operator == b"ET":
                if line:
                    lines.append(line)
                line = ""
    return lines


def _mapped(font: Any) -> list[tuple[str, str]]:
    return _MAPPED.findall(font["/ToUnicode"].get_data().decode())


def _bytes(code: Any) -> bytes:
    return code.original_bytes if hasattr(code, "original_bytes") else bytes(code)
