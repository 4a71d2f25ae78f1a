"""Tests of letters as PDF files in the folder for the print shop.

A letter has the sender, the address in the envelope's window, the code in large print, and its link as a QR code. The
same letter is written once.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import segno
from pypdf import PdfReader

from tasks.ports import GatewayUnavailable, Letter
from tasks.settings import Carrier, CarrierPage
from workers.gateways.letters import LetterFolder

LINK = "https://portal.example/brief?kundennummer=2000001"
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
    date="2. März 2026",
    code="ABCDE FGHJK",
    link=LINK,
)
CARRIER = Carrier(
    "Beispiel Telefon GmbH",
    "Musterstraße 1, 10115 Berlin",
    "030 23125000",
    "service@portal.example",
    {CarrierPage.IMPRINT: "https://portal.example/impressum"},
)
_POINTS = 72 / 25.4


def printed(folder: Path, letter: Letter = LETTER, carrier: Carrier | None = None) -> PdfReader:
    """Print the letter as a PDF file in the folder; return a `PdfReader` of the file."""
    LetterFolder(folder, "Standortverwaltung", carrier).print_letter(letter)
    return PdfReader(folder / f"{letter.key}.pdf")


def text_of(found: PdfReader) -> str:
    """Return the text of all pages of the PDF."""
    return "\n".join(page.extract_text() for page in found.pages)


def placed(found: PdfReader) -> list[tuple[str, float, float, float]]:
    """Return each text of the PDF's first page with its position and size.

    A text comes with millimetres from the left edge, millimetres from the top, and the size in points.
    """
    texts: list[tuple[str, float, float, float]] = []

    def see(text: str, _: list[float], at: list[float], __: object, size: float) -> None:
        if text.strip():
            texts.append((text.strip(), at[4] / _POINTS, 297 - at[5] / _POINTS, size))

    found.pages[0].extract_text(visitor_text=see)
    return texts


def test_a_letter_can_be_read(tmp_path: Path) -> None:
    text = text_of(printed(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["key1.pdf"]
    for words in (*LETTER.recipient[:3], "Żaneta Brückner", "– 5 €", "ABCDE FGHJK", "Tag Łukasz Żółć"):
        assert words in text
    assert "Standortverwaltung" in text and "Fragen?" not in text


def test_a_letter_says_who_sends_it_when_and_whom_to_ask(tmp_path: Path) -> None:
    found = printed(tmp_path, carrier=CARRIER)
    text = text_of(found)
    for words in ("Beispiel Telefon GmbH Kundenportal", "Beispiel Telefon GmbH · Musterstraße 1, 10115 Berlin",
                  "2. März 2026", "Fragen?", "030 23125000", "service@portal.example",
                  "Impressum: https://portal.example/impressum"):  # fmt: skip
        assert words in text
    assert len(found.pages) == 1
    english = text_of(printed(tmp_path, replace(LETTER, key="key2", locale="en"), CARRIER))
    assert "Questions?" in english and "Customer portal" in english and "The QR code leads to the page" in english


def test_the_code_is_large(tmp_path: Path) -> None:
    sizes = {text: size for text, _, _, size in placed(printed(tmp_path))}
    assert sizes["ABCDE FGHJK"] >= 24 > max(size for text, size in sizes.items() if text != "ABCDE FGHJK")


def test_the_code_is_printed_as_it_is_whatever_stands_around_it(tmp_path: Path) -> None:
    texts = placed(printed(tmp_path, replace(LETTER, text="Guten Tag\n\nIhr Code lautet: ABCDE FGHJK (für Sie).\n")))
    assert max((size, text) for text, *_, size in texts) == (30, "ABCDE FGHJK")


def test_the_qr_code_is_the_address_of_the_page(tmp_path: Path) -> None:
    content = printed(tmp_path).pages[0].get_contents()
    assert content is not None
    drawn = content.get_data().decode("latin-1").rpartition("1 1 1 rg\n")[2].partition("0 0 0 rg\n")[2]
    bars = [tuple(map(float, bar)) for bar in re.findall(r"([\d.]+) ([\d.]+) ([\d.]+) (-?[\d.]+) re f", drawn)]
    expected = [[bool(dot) for dot in row] for row in segno.make_qr(LINK, error="m").matrix_iter(border=4)]
    dot = 32 * _POINTS / len(expected)
    left, top = min(bar[0] for bar in bars) - 4 * dot, max(bar[1] for bar in bars) + 4 * dot
    seen = [[False] * len(expected) for _ in expected]
    for x, y, width, _ in bars:
        for column in range(round((x - left) / dot), round((x + width - left) / dot)):
            seen[round((top - y) / dot)][column] = True
    assert seen == expected


@pytest.mark.parametrize("name", ["Zweigniederlassung für Unternehmensstandorte " * 3, "W" * 120])
def test_a_long_name_wraps_in_the_window_of_the_envelope(tmp_path: Path, name: str) -> None:
    long = replace(LETTER, recipient=(name, name, name, "10179 Berlin"))
    found = printed(tmp_path, long, CARRIER)
    texts = placed(found)
    window = [part for part in texts if part[1] < 110 and 50 < part[2] < 90.5]
    assert "".join(text for text, *_ in window).replace(" ", "") == "".join(long.recipient).replace(" ", "")
    # Nothing of the address stands below the window.
    assert not any("10179 Berlin" in text and top > 90.5 for text, _, top, _ in texts)


def test_no_box_stands_for_a_letter_that_the_typeface_lacks(tmp_path: Path) -> None:
    recipient = ("\U00012000\ue000 Büro ༀ", "Müller\u2010Werke", "10179 Berlin")
    text = text_of(printed(tmp_path, replace(LETTER, recipient=recipient)))
    assert "?? Büro ?" in text and "Müller-Werke" in text


def test_the_same_letter_is_the_same_sheet(tmp_path: Path) -> None:
    for _ in range(2):
        printed(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_may_heal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GatewayUnavailable):
        LetterFolder(tmp_path / "file", "Standortverwaltung").print_letter(LETTER)


def test_a_letter_and_its_name_are_on_the_disk_before_it_counts_as_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}"))))
    printed(tmp_path)
    assert [(path.suffix, path.parent) for path in synced[:1]] == [(".part", tmp_path)]
    assert synced[1:] == [tmp_path]
