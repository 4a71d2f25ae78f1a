"""Tests of the normalisation of typed text that need more than the strings of the naughty lists."""

from __future__ import annotations

import unicodedata

import pytest

from models.invisible_characters import typed_text


@pytest.mark.parametrize("pair", ["\u0316\u0301", "\u0f73\u0f71", "\u0f81\u0f80", "\u0344\u0345", "\u20dd\u0301"])
def test_of_a_long_run_of_marks_only_the_first_are_kept(pair: str) -> None:
    # To sort a run takes time by the square of its length.
    text = typed_text("a" + pair * 50_000 + "b" + pair)
    kept = unicodedata.normalize("NFC", "a" + pair * 15)
    assert text == kept + unicodedata.normalize("NFC", "b" + pair)


def test_text_of_languages_with_many_marks_stays() -> None:
    vietnamese, hebrew, tibetan = "Nguyễn Thị Phượng " * 20, "בְּרֵאשִׁ֖ית בָּרָ֣א " * 20, "བསྒྲུབས་ཀྱིས " * 20
    for text in (vietnamese, hebrew, tibetan):
        assert typed_text(text) == unicodedata.normalize("NFC", text)
