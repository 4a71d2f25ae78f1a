"""Tests of the optional cells of a row of a bulk file.

They are for options, people, and what the request line of incoming calls names.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.bulk.bulk import BulkRow
from models.requests.requests import Request
from tests.factories import MOBILE
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.bulk.uploading import FALLBACK, HEAD, as_csv, opened, orders, post, press, row, work


@pytest.mark.parametrize("heading", ["Benutzer am Standort", "User at the location", "local_user"])
def test_a_row_may_name_who_signs_in(signed: Front, back: Back, heading: str) -> None:
    cells = ["", "Ansprechperson", "contact", "Anna Filiale <Anna@filiale.example>", '"Filiale, Anna" <anna@x.example>']
    lines = [[*HEAD, heading], *([*row(number), cell] for number, cell in enumerate(cells))]
    wrong = [*row(9), "anna@filiale.example"], [*row(10, **{"E-Mail": "hanna@"}), "Kontakt"]
    address = opened(signed, as_csv([*lines, *wrong]))
    page = signed.client.get(address).text
    assert_valid(page)
    assert "2 Felder stimmen nicht" in page and "in spitzen Klammern die E-Mail-Adresse" in page
    post(signed, address, **{"cell-7-local_user": "Anna <anna@filiale.example>", "without": "8"})
    press(signed, address)
    work(signed, back)
    with signed.database.transaction() as session:
        named = session.execute(sa.select(Request.local_user_name, Request.local_user_email).order_by(Request.id)).all()
    hanna = ("Hanna Palmer", "hanna.palmer@example.com")
    anna = ("Anna Filiale", "anna@filiale.example")
    assert list(map(tuple, named)) == [
        (None, None), hanna, hanna, anna, ("Filiale, Anna", "anna@x.example"), ("Anna", "anna@filiale.example"),
    ]  # fmt: skip


@pytest.mark.parametrize("heading", ["Anrufzustellung", "Request line of calls", "request_uri"])
def test_a_row_may_say_how_calls_reach_the_phone_system(signed: Front, back: Back, heading: str) -> None:
    cells = ["", "Anmeldung", "contact", "Rufnummer", "number"]
    lines = [[*HEAD, heading], *([*row(number), cell] for number, cell in enumerate(cells))]
    address = opened(signed, as_csv([*lines, [*row(9), "to"]]))
    page = signed.client.get(address).text
    assert "1 Feld stimmt nicht" in page and "Möglich sind „contact“" in page
    post(signed, address, **{"cell-7-request_uri": "Kontakt"})
    press(signed, address)
    work(signed, back)
    with signed.database.transaction() as session:
        chosen = session.scalars(sa.select(Request.request_uri).order_by(Request.id)).all()
    assert chosen == [None, "contact", "contact", "number", "number", "contact"]


def test_who_signs_in_or_how_calls_arrive_does_not_make_it_another_order(signed: Front, back: Back) -> None:
    press(signed, opened(signed, as_csv([HEAD, row(1)])))
    work(signed, back)
    named = [[*HEAD, "Benutzer am Standort", "Anrufzustellung"], [*row(1), "Ansprechperson", "Rufnummer"]]
    page = signed.client.get(opened(signed, as_csv(named), name="B.csv")).text
    assert "Es bleibt nichts zu senden" in page


def test_the_fallback_needs_a_mobile_number_and_the_number_its_option(signed: Front, back: Back) -> None:
    fallbacks = [
        ("mobile-backup", ""),
        ("mobile-backup", "030 901820"),
        ("", "0151 23456789"),
        ("mobile-backup", MOBILE),
    ]
    rows = [[*row(place, Optionen=option), number] for place, (option, number) in enumerate(fallbacks)]
    address = opened(signed, as_csv([[*HEAD, FALLBACK], *rows]))
    page = signed.client.get(address).text
    for said in (
        "Geben Sie die Mobilfunknummer für die Notfall-Umleitung ein.", "Das ist keine Mobilfunknummer.",
        "Das gehört zur Option mobile-backup, die nicht gewählt ist.", "4 Felder stimmen nicht",
    ):  # fmt: skip
        assert said in page, said
    typed = {"cell-2-mobile_number": "+43 664 1234567", "cell-3-mobile_number": "0171 1234567"}
    post(signed, address, **typed, **{"cell-4-options": "mobile-backup"})
    press(signed, address)
    work(signed, back)
    with signed.database.transaction() as session:
        details = session.scalars(sa.select(Request.option_details).order_by(Request.id)).all()
    numbers = [found and found["mobile_number"] for found in details]
    assert numbers == ["+436641234567", "+491711234567", MOBILE, MOBILE]


def test_a_directory_entry_in_a_file_says_all_that_is_printed(signed: Front, back: Back) -> None:
    head = [*HEAD, "Name im Telefonbuch", "Adresse im Telefonbuch", "Telefonbuch: gedruckt, online, Auskunft"]
    cells = [("Muster Berlin", "Nein", "online, Auskunft"), ("", "", ""), ("Muster", "vielleicht", "Plakat")]
    rows = [[*row(place, Optionen="directory-entry"), *more] for place, more in enumerate(cells)]
    address = opened(signed, as_csv([head, *rows]))
    page = signed.client.get(address).text
    assert_valid(page)
    for said in (
        "5 Felder stimmen nicht", "Geben Sie den Namen für das Telefonbuch ein.", "Ja oder nein, bitte.",
        "Wählen Sie, ob die Adresse genannt wird.", "Möglich sind: gedruckt, online, Auskunft",
    ):  # fmt: skip
        assert said in page, said
    entry = {"directory_name": "Muster", "directory_address": "ja", "directory_in": "gedruckt"}
    post(signed, address, **{f"cell-3-{name}": cell for name, cell in entry.items()}, without="4")
    press(signed, address)
    work(signed, back)
    with signed.database.transaction() as session:
        details = session.scalars(sa.select(Request.option_details).order_by(Request.id)).all()
    assert [found and found["directory_entry"] for found in details] == [
        {"name": "Muster Berlin", "show_address": False, "published_in": ["online", "enquiries"]},
        {"name": "Muster", "show_address": True, "published_in": ["print"]},
    ]


def test_a_row_that_was_right_before_its_option_needed_details_is_asked_for_them(signed: Front) -> None:
    address = opened(signed, as_csv([[*HEAD, FALLBACK], [*row(1, Optionen="mobile-backup"), MOBILE]]))
    with signed.database.transaction() as session:
        kept = session.scalars(sa.select(BulkRow)).one()
        assert kept.draft is not None
        # As the version before saved it.
        kept.draft = {name: value for name, value in kept.draft.items() if name != "mobile_number"}
        kept.cells = {name: value for name, value in kept.cells.items() if name != "mobile_number"}
    page = signed.client.get(address).text
    assert "Geben Sie die Mobilfunknummer für die Notfall-Umleitung ein." in page
    assert_valid(page)


def test_a_fallback_to_a_high_risk_destination_is_refused_in_its_cell(signed: Front) -> None:
    lines = [[*HEAD, FALLBACK], [*row(1, Optionen="mobile-backup"), "+8816 12345678"], [*row(2), ""]]
    page = signed.client.get(opened(signed, as_csv(lines))).text
    assert "auf dem Dashboard eine Rufweiterleitung zu dieser Nummer einrichten" in page
    assert 'value="+8816 12345678"' in page and orders(signed) == 0
