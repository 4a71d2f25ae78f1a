"""The typeface of pages, letters and offers has every character that names and addresses may have."""

from __future__ import annotations

import sys
import unicodedata
from io import BytesIO

import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from models.contracts.catalogue import PriceLine
from models.values import in_print, is_printable
from tasks.outbox.order_pdf import PrintedOrder, summary_pdf
from tasks.outbox.typeface import WEIGHTS, font_file
from tasks.settings import Carrier, CarrierPage
from tests.factories import NOW, ORDER


@pytest.mark.parametrize("weight", WEIGHTS)
def test_every_printable_character_is_in_the_typeface(weight: int) -> None:
    with font_file(weight).open("rb") as file, TTFont(file, lazy=True) as font:
        known = set(font.getBestCmap())
    # Surrogates are no characters.
    codes = [code for code in range(0x20, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    allowed = [code for code in codes if is_printable(chr(code))]
    assert len(allowed) > 600
    assert [hex(code) for code in allowed if not {ord(shown) for shown in in_print(chr(code))} <= known] == []


@pytest.mark.parametrize(
    "name",
    ["Müller & Söhne", "Łódź", "Ștefan Țăran", "Đặng Thị Hồng", "Γιώργος", "Щербаков Ґ", "Smørrebrød", "Ærø", "ẞ",
     "„Café“ – d’Or №1 (50 %)", "50 €/m²", "Zu\u0308rich"],
)  # fmt: skip
def test_names_of_europe_are_printed_as_they_are(name: str) -> None:
    assert is_printable(name) and in_print(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", ["北京", "مكتب", "Büro 🦊", "משרד", "दिल्ली", "\u2028", "\u200b"])
def test_other_letters_are_not(name: str) -> None:
    assert not is_printable(name) and is_printable(in_print(name))


def test_a_long_product_name_wraps_before_its_prices() -> None:
    name = "Rufnummernblock mit hundert Nummern und einem Namen, der nicht in eine Zeile vor den Preisen passt"
    order = PrintedOrder(
        main_number="1111111",
        addressee=("Mustermensch GmbH",),
        location=ORDER.location,
        contact=ORDER.contact,
        lines=[(name, PriceLine("block-100", 290, 0))],
        channels=4,
        area_code="030",
        town="Berlin",
    )
    sheet = summary_pdf(order, "1234567", "https://portal.example/x", NOW, "de", Carrier())
    text = PdfReader(BytesIO(sheet)).pages[0].extract_text()
    assert name not in text and name in " ".join(text.split())


def test_no_page_has_the_link_to_the_terms_alone() -> None:
    carrier = Carrier(name="Beispiel Telefon GmbH", links={CarrierPage.TERMS: "https://portal.example/agb"})
    split = 0
    for count in range(4, 13):
        order = PrintedOrder(
            main_number="1111111",
            addressee=("Mustermensch GmbH",),
            location=ORDER.location,
            contact=ORDER.contact,
            lines=[(f"Produkt {place}", PriceLine("block-100", 290, 0)) for place in range(count)],
            channels=4,
            area_code="030",
            town="Berlin",
        )
        sheet = summary_pdf(order, "1234567", "https://portal.example/x", NOW, "de", carrier)
        *_, last = (page.extract_text() for page in PdfReader(BytesIO(sheet)).pages)
        assert "https://portal.example/x" in last and "https://portal.example/agb" in last, count
        split += "Produkt" not in last
    assert split, "no count of products put the end on a page of its own"
