"""Letters as PDF files: the text can be read, with any names of people and places."""

from __future__ import annotations

from pathlib import Path

import pytest
from pypdf import PdfReader

from tasks.ports import GatewayUnavailable, Letter
from workers.gateways.letters import LetterFolder

LETTER = Letter(
    "key1",
    (
        "Bäckerei „Süß & Söhne“ – Filiale",
        "Łukasz Żółć",
        "Ștefan Țăran",
        "Z\u0307aneta Brückner",
        "Brückenstr. 5",
        "10179 Berlin",
    ),
    "de",
    "Bestätigung Ihrer Anschlussadresse – 5 €",
    "Guten Tag Łukasz Żółć,\n\nIhr Code: ABCDE FGHJK\n",
)


def text_of(file: Path) -> str:
    """Return the text that a reader of the letter sees."""
    return "\n".join(page.extract_text() for page in PdfReader(file).pages)


def test_a_letter_can_be_read(tmp_path: Path) -> None:
    LetterFolder(tmp_path, "Standortverwaltung").print_letter(LETTER)
    [file] = tmp_path.iterdir()
    text = text_of(file)
    assert file.name == "key1.pdf"
    for words in (*LETTER.recipient[:3], "Żaneta Brückner", "– 5 €", "ABCDE FGHJK", "Tag Łukasz Żółć"):
        assert words in text


def test_the_same_letter_is_the_same_sheet(tmp_path: Path) -> None:
    folder = LetterFolder(tmp_path, "Standortverwaltung")
    folder.print_letter(LETTER)
    folder.print_letter(LETTER)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_may_heal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GatewayUnavailable):
        LetterFolder(tmp_path / "file", "Standortverwaltung").print_letter(LETTER)
