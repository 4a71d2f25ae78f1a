"""A file that would order a location twice says so at the row, before it is sent."""

from __future__ import annotations

import re

from models.accounts.accounts import Account
from models.orders.orders import Location, submit_order
from tests.factories import NOW, an_order, make_account
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.bulk.test_bulk import HEAD, as_csv, opened, press, row, work
from tests.web.portal.bulk.test_bulk import signed as signed


def notes(page: str) -> list[str]:
    """Return what is said beside the line numbers of the table, without tags."""
    cells = re.findall(r'<th scope="row">(.*?)</th>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


def test_a_location_that_is_there_already_is_named_at_its_row(signed: Front, back: Back) -> None:
    with signed.database.transaction() as session:
        main = session.get_one(Account, signed.main.id)
        place = Location("filiale  1", "Brueckenstraße 5", "10179", "Berlin")
        ordered = submit_order(session, signed.manager, main, an_order(location=place), NOW).customer_number
        # That of another customer is nobody's business.
        make_account(session, name="Filiale 2", street="Brückenstr. 5", postal_code="10179", city="Berlin")
    other_contact = row(3, **{"E-Mail": "somebody.else@example.com"})
    address = opened(signed, as_csv([HEAD, row(1), row(2), row(3), other_contact, row(3)]))
    page = signed.client.get(address).text
    assert_valid(page)
    assert notes(page) == [
        f"2 Gleicher Name und gleiche Adresse wie Nebenaccount {ordered}",
        "3",
        "4",
        "5 Gleicher Name und gleiche Adresse wie Zeile 4, aber andere Angaben",
        "6 Ausgelassen: gleich wie Zeile 4",
    ]
    assert f'href="/standortverwaltung/{ordered}"' in page
    assert "2 Zeilen würden Standorte bestellen, die Sie schon haben" in page
    assert "4 Standorte zahlungspflichtig bestellen" in page
    press(signed, address)
    work(signed, back)
    assert "von 4 Bestellungen sind abgeschlossen. 1 Zeile der Datei" in signed.client.get(address).text
    # The same rows in another file are left out, and the earlier file is named.
    more = opened(signed, as_csv([HEAD, row(2), row(9)]), name="mehr.csv")
    page = signed.client.get(more).text
    assert notes(page) == ["2 Ausgelassen: schon bestellt mit der Datei Filialen.csv", "3"]
    assert f'<a href="{address}">Filialen.csv</a>' in page and "würde einen Standort" not in page
