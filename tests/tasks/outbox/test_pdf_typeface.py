"""Tests that PDFs show names in any script correctly: shaped, in order, each glyph from a typeface that has it."""

from __future__ import annotations

from io import BytesIO

import pytest
from pypdf import PdfReader

from models.contracts.catalogue import PriceLine
from models.printable_text import in_print
from models.text_direction import END_ISOLATE, ISOLATE, isolated
from models.typefaces import clusters
from tasks.outbox.order_pdf import PrintedOrder, summary_pdf
from tasks.outbox.pdf_sheet import INK, Sheet
from tasks.outbox.shaping import runs_of
from tasks.outbox.visual_order import visual_parts
from tasks.settings import Carrier, CarrierPage
from tests.factories import NOW, ORDER
from tests.printed_text import printed_lines
from tests.world_names import WORLD_NAMES

LONG = "Rufnummernblock mit hundert Nummern und einem Namen, der nicht in eine Zeile vor den Preisen passt"


def sheet_with(*lines: str, style: str = "") -> bytes:
    sheet = Sheet(Carrier(), "de", "北京 مكتب")
    sheet.ink(INK, style, 11)
    for line in lines:
        sheet.paragraph(line)
    return sheet.content()


@pytest.mark.parametrize("style", ["", "B"])
@pytest.mark.parametrize("kind", WORLD_NAMES)
def test_a_name_is_printed_with_glyphs_of_all_its_characters(kind: str, style: str) -> None:
    name = WORLD_NAMES[kind]
    sheet = sheet_with(name, style=style)
    plain = PdfReader(BytesIO(sheet)).pages[0].extract_text()
    shown = "".join(printed_lines(sheet))
    left = [character for character in name if not shown.count(character) and character not in " \u200c"]
    assert all(character in plain for character in left), (left, shown)


def test_a_title_has_no_characters_that_order_it() -> None:
    found = PdfReader(BytesIO(Sheet(Carrier(), "de", f"An {isolated('مكتب')} 北京").content())).metadata
    assert found is not None and found.title == "An مكتب 北京"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("12345, \u2068שלום\u2069, 10179 Berlin", [("12345, ", False), ("שלום", True), (", 10179 Berlin", False)]),
        ("\u2068مرحبا 12\u2069: 7", [("12", False), ("مرحبا ", True), (": 7", False)]),
        ("שלום 7", [("7", False), ("שלום ", True)]),
        ("Kim שלום 7", [("Kim ", False), ("7", False), ("שלום ", True)]),
        ("Kim \u2068 offen", [("Kim ", False), (" offen", False)]),
        ("می\u200cخواهم", [("می\u200cخواهم", True)]),
        ("Kim", [("Kim", False)]),
        ("", []),
    ],
)
def test_right_to_left_text_stands_where_a_reader_looks_for_it(line: str, parts: list[tuple[str, bool]]) -> None:
    assert visual_parts(line) == parts


def test_arabic_letters_are_joined() -> None:
    [alone] = runs_of("ب", 400)
    [word] = runs_of("ببب", 400)
    forms = {tuple(glyph.number for glyph in cluster.glyphs) for cluster in word.clusters}
    assert len(forms) == 3 and tuple(glyph.number for glyph in alone.clusters[0].glyphs) not in forms


@pytest.mark.parametrize("emoji", ["👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "🇩🇪", "1️⃣"])
def test_an_emoji_of_several_characters_is_one_glyph(emoji: str) -> None:
    [run] = runs_of(emoji, 400)
    [cluster] = run.clusters
    assert len(cluster.glyphs) == 1


def test_a_mark_stands_over_its_letter() -> None:
    [run] = runs_of("M\u0303", 400)
    letter, mark = run.clusters[0].glyphs
    assert letter.advance > 500 and mark.advance == 0 and -letter.advance < mark.right < 0


def test_the_semibold_of_another_script_is_wider() -> None:
    regular, semibold = (sum(run.width for run in runs_of("दिल्ली", weight)) for weight in (400, 600))
    assert semibold > regular


@pytest.mark.parametrize("kind", WORLD_NAMES)
def test_a_line_breaks_between_characters_as_a_reader_sees_them(kind: str) -> None:
    word = WORLD_NAMES[kind].replace(" ", "") * 4
    sheet = Sheet(Carrier(), "de", "")
    sheet.ink(INK, "", 11)
    lines = sheet.wrapped(word, 20)
    assert len(lines) > 1 and "".join(lines) == word
    assert [cluster for line in lines for cluster in clusters(line)] == clusters(word)
    assert all(sheet.width_of(line) <= 20 or len(clusters(line)) == 1 for line in lines)


def test_each_line_of_a_broken_name_is_ordered_by_itself() -> None:
    sheet = Sheet(Carrier(), "de", "")
    sheet.ink(INK, "", 11)
    lines = sheet.wrapped(in_print(f"Standort {isolated('مكتب برلين ' * 9)}, 10179 Berlin"), 60)
    assert len(lines) > 2
    assert all(line.count(ISOLATE) == line.count(END_ISOLATE) for line in lines)
    assert all(ISOLATE in line for line in lines[:-1])


def test_a_long_product_name_wraps_before_its_prices() -> None:
    order = PrintedOrder(
        main_number="1111111",
        addressee=("Mustermensch GmbH",),
        location=ORDER.location,
        contact=ORDER.contact,
        lines=[(LONG, PriceLine("block-100", 290, 0))],
        channels=4,
        area_code="030",
        town="Berlin",
    )
    sheet = summary_pdf(order, "1234567", "https://portal.example/x", NOW, "de", Carrier())
    text = PdfReader(BytesIO(sheet)).pages[0].extract_text()
    assert LONG not in text and LONG in " ".join(text.split())


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


def test_a_pdf_has_only_the_glyphs_that_it_shows() -> None:
    plain, chinese = len(sheet_with("Berlin")), len(sheet_with("Berlin 柏林分公司"))
    assert chinese - plain < 12_000
