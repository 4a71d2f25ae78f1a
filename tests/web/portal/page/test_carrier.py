"""Tests of the carrier's details, which are settings: the foot of every page, and pages such as the imprint.

What is not set is not shown. Also tests the font files, which pages load for every character that can be printed.
"""

from __future__ import annotations

import io
import re
from typing import Any

from flask.testing import FlaskClient
from pypdf import PdfReader

from models.typefaces import shows_itself, typefaces
from tests.web.conftest import Front, FrontOf
from tests.web.html import assert_valid
from tests.web.portal.orders.ordering import begin, fill_all
from tests.web.portal.page.test_portal import sign_in
from tests.world_names import WORLD_NAMES

SET: dict[str, Any] = {
    "carrier_name": "Beispiel & Telefon GmbH",
    "carrier_address": "Musterstraße 1, 10115 Berlin",
    "carrier_phone": "030 23125000",
    "carrier_email": "service@portal.example",
    "carrier_imprint": "Beispiel Telefon\nMusterstraße 1\n\nAmtsgericht <Berlin>",
    "carrier_privacy": "https://carrier.example/datenschutz",
}
PUBLIC = ("/anmelden", "/passwort", "/brief", "/impressum", "/gibt-es-nicht", "/email/0/0")


def test_every_page_says_who_the_carrier_is(front: Front, front_of: FrontOf) -> None:
    client = front_of(**SET)
    sign_in(front, front.manager.email)
    cookie = front.client.get_cookie("session")
    assert cookie is not None
    own = FlaskClient(client.application, client.response_wrapper)
    own.set_cookie("session", cookie.value)
    pages = [client.get(path).text for path in PUBLIC]
    pages += [own.get(path).text for path in ("/standortverwaltung", "/anfragen", "/anmeldung", "/gibt-es-nicht")]
    for page in pages:
        assert_valid(page)
        foot = page[page.index("<footer") :]
        assert "Beispiel &amp; Telefon GmbH, Musterstraße 1, 10115 Berlin" in foot
        assert 'href="tel:03023125000"' in foot and 'href="mailto:service@portal.example"' in foot
        assert 'href="/impressum"' in foot and 'href="https://carrier.example/datenschutz"' in foot
        # Terms and help are not set.
        assert "AGB" not in foot and "Hilfe" not in foot
        assert "<span>Beispiel &amp; Telefon GmbH Kundenportal</span>" in page


def test_who_orders_is_led_to_the_terms_if_they_are_set(front: Front, front_of: FrontOf) -> None:
    draft = begin(front)
    assert "Geschäftsbedingungen" not in fill_all(front, draft)
    cookie = front.client.get_cookie("session")
    assert cookie is not None
    for terms, link in (("https://carrier.example/agb", "https://carrier.example/agb"), ("AGB\n\nEins", "/agb")):
        client = front_of(**SET, carrier_terms=terms)
        client.set_cookie("session", cookie.value)
        summary = client.get(f"{draft}/zusammenfassung").text
        assert_valid(summary)
        line = re.search(r'Für die Bestellung gelten unsere Geschäftsbedingungen: <a href="([^"]+)"', summary)
        assert line is not None and line[1] == link
        assert "4 gleichzeitige Gespräche" in summary and "von 10 Kanälen des Tarifs" in summary
        offer = PdfReader(io.BytesIO(client.get(f"{draft}/angebot.pdf").data)).pages
        links = [note.get_object()["/A"]["/URI"] for page in offer for note in page.annotations or ()]
        assert any(address.endswith(link) for address in links[1:])


def test_a_text_has_a_page_and_a_url_has_none(front_of: FrontOf) -> None:
    client = front_of(**SET)
    page = client.get("/impressum").text
    assert "Impressum</h1>" in page and 'aria-current="page"' in page
    assert "Beispiel Telefon\nMusterstraße 1</p>" in page and "Amtsgericht &lt;Berlin&gt;</p>" in page
    for path in ("/datenschutz", "/agb", "/hilfe"):
        assert client.get(path).status_code == 404
    english = client.get("/impressum", headers={"Accept-Language": "en"}).text
    assert "Imprint</h1>" in english and "Privacy notice</a>" in english


def test_what_is_not_set_is_not_shown(front: Front) -> None:
    page = front.client.get("/anmelden").text
    assert "<footer" not in page and "<span>Kundenportal</span>" in page
    assert front.client.get("/impressum").status_code == 404


def test_the_typeface_of_letters_is_that_of_pages(front: Front) -> None:
    for weight in ("400", "600"):
        answer = front.client.get(f"/schrift/{weight}.woff")
        assert answer.data[:4] == b"wOFF" and len(answer.data) < 150_000
        assert "immutable" in answer.headers["Cache-Control"]
    assert front.client.get("/schrift/500.woff").status_code == 404
    assert front.client.get("/static/portal.css").text.count("../schrift/") == 2


def test_a_page_names_a_font_file_for_every_character_that_can_be_printed(front: Front) -> None:
    assert '<link rel="stylesheet" href="/schrift/andere.css">' in front.client.get("/anmelden").text
    sheet = front.client.get("/schrift/andere.css")
    assert sheet.mimetype == "text/css" and len(sheet.data) < 50_000
    rules = re.findall(r'url\("([^"]+)"\); unicode-range: ([^;]+);', sheet.text)
    ranges = [(address, *_bounds(part)) for address, parts in rules for part in parts.split(", ")]
    for name in WORLD_NAMES.values():
        for character in filter(shows_itself, name):
            if not typefaces()[0].has(character):
                assert any(first <= ord(character) <= last for _, first, last in ranges), character
    for wanted in ("\u4e00", "\u0634", "\U0001f468"):
        address = next(address for address, first, last in ranges if first <= ord(wanted) <= last)
        answer = front.client.get(address)
        assert answer.data[:4] == b"wOFF" and len(answer.data) < 600_000
        assert "immutable" in answer.headers["Cache-Control"]
    for address in ("/schrift/NotoSansCJKsc.7.woff", "/schrift/NotoSansThai.1.woff", "/schrift/Comic.0.woff"):
        assert front.client.get(address).status_code == 404


def _bounds(part: str) -> tuple[int, int]:
    first, _, last = part.removeprefix("U+").partition("-")
    return int(first.replace("?", "0"), 16), int((last or first).replace("?", "F"), 16)
