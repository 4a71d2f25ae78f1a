"""Tests that a row of a bulk file is left out at first if it would order a location a second time.

Users can leave out any row, and include it again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection

from models.accounts.accounts import Account
from models.orders.orders import Location
from tests.factories import NOW, an_order, make_account, submit_order
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.bulk.uploading import HEAD, as_csv, opened, orders, post, press, row, work


def notes(page: str) -> list[str]:
    """Return the first cell's text of each row in the table on the bulk file's page (HTML): line number and note."""
    cells = re.findall(r'<th scope="row">(.*?)</th>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


def test_a_location_that_is_there_already_is_left_out(signed: Front, back: Back) -> None:
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
        f"2 Ausgelassen: gleicher Name und gleiche Adresse wie Nebenaccount {ordered}",
        "3",
        "4",
        "5 Ausgelassen: gleicher Name und gleiche Adresse wie Zeile 4, aber andere Angaben",
        "6 Ausgelassen: gleich wie Zeile 4",
    ]
    assert f'href="/standortverwaltung/{ordered}"' in page
    assert "2 Zeilen nennen Standorte, die Sie schon haben" in page
    assert "2 Standorte zahlungspflichtig bestellen" in page
    press(signed, address)
    work(signed, back)
    page = signed.client.get(address).text
    assert_valid(page)
    assert "von 2 Bestellungen sind abgeschlossen. 3 Zeilen der Datei" in page
    assert f"wie Nebenaccount {ordered}" in page and "wie Zeile 4, aber andere" in page
    assert "Wie Zeile 4; nicht noch einmal gesendet." in page
    assert orders(signed) == 3
    # The same rows in another file are left out, and the earlier file is named.
    more = opened(signed, as_csv([HEAD, row(2), row(9)]), name="mehr.csv")
    page = signed.client.get(more).text
    assert notes(page) == ["2 Ausgelassen: schon gesendet mit der Datei Filialen.csv", "3"]
    assert f'<a href="{address}">Filialen.csv</a>' in page and "nennt einen Standort" not in page
    press(signed, more)
    work(signed, back)
    assert "Schon mit der Datei „Filialen.csv“ gesendet" in signed.client.get(more).text


def chosen(front: Front, address: str, *, without: Collection[int] = ()) -> dict[str, list[str]]:
    """Return the form fields by which a user leaves out the rows on the lines `without`, and includes all others.

    `address` is the path of the bulk file's page. The fields also have the line numbers of all rows that the page
    lists.
    """
    listed = re.findall(r'name="listed" value="([0-9]+)"', front.client.get(address).text)
    return {"listed": listed, "without": [str(line) for line in without]}


def ticked(page: str) -> list[str]:
    return re.findall(r'name="without" value="([0-9]+)"[^>]* checked', page)


def test_a_person_decides_about_each_row(signed: Front, back: Back) -> None:
    twin = row(1, **{"E-Mail": "somebody.else@example.com"})
    address = opened(signed, as_csv([HEAD, row(1), twin, row(2), row(2)]))
    page = signed.client.get(address).text
    assert ticked(page) == ["3"]
    # Whose content is in the file twice cannot be ordered twice.
    assert chosen(signed, address)["listed"] == ["2", "3", "4"]
    post(signed, address, **chosen(signed, address, without=[4]))
    page = signed.client.get(address).text
    assert_valid(page)
    assert notes(page) == [
        "2",
        "3 Wird trotzdem bestellt: gleicher Name und gleiche Adresse wie Zeile 2",
        "4 Von Ihnen ausgelassen",
        "5",
    ]
    assert ticked(page) == ["4"] and "3 Standorte zahlungspflichtig bestellen" in page
    # Ticked beside the button that orders: the page asks once more, with the new numbers.
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    post(signed, address + "/senden", shown=shown, **chosen(signed, address, without=[3, 4]))
    assert orders(signed) == 0
    page = signed.client.get(address).text
    assert ticked(page) == ["3", "4"] and "2 Standorte zahlungspflichtig bestellen" in page
    assert "Ausgelassen: gleicher Name und gleiche Adresse wie Zeile 2" in page
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    post(signed, address + "/senden", shown=shown, **chosen(signed, address, without=[3, 4]))
    work(signed, back)
    assert orders(signed) == 2


def test_rows_left_out_come_back_as_a_file_with_reasons(signed: Front, back: Back) -> None:
    wrong = row(3, **{"E-Mail": "hanna@", "Telefon": "+49 30 901820"})
    address = opened(signed, as_csv([HEAD, row(1), row(2), wrong, row(2)]))
    post(signed, address, without="4")
    page = signed.client.get(address).text
    assert_valid(page)
    assert "3 Zeilen, und jedes Feld stimmt." in page and "Sie haben 1 Zeile ausgelassen." in page
    assert "4 Von Ihnen ausgelassen E-Mail: Das ist keine vollständige E-Mail-Adresse." in notes(page)[2]
    # It can be taken in again, and then has to be corrected.
    post(signed, address, **chosen(signed, address))
    assert "1 Feld stimmt nicht" in signed.client.get(address).text
    post(signed, address, without="4")
    press(signed, address)
    work(signed, back)
    page = signed.client.get(address).text
    assert "Vor dem Absenden auf der Seite ausgelassen" in page
    file = signed.client.get(f"{address}/ausgelassen.csv")
    assert file.headers["Content-Disposition"].startswith('attachment; filename="Ausgelassen-')
    head, *rows = csv.reader(io.StringIO(file.data.decode("utf-8-sig")), delimiter=";")
    assert head[-2:] == ["Zeile", "Grund"]
    assert [line[-2] for line in rows] == ["4", "5"]
    assert "Das ist keine vollständige E-Mail-Adresse." in rows[0][-1]
    assert rows[1][-1] == "Wie Zeile 3; nicht noch einmal gesendet."
    mended = [[cell.replace("hanna@", "hanna@example.com") for cell in line] for line in rows[:1]]
    again = opened(signed, as_csv([head, *mended]), name="Rest.csv")
    page = signed.client.get(again).text
    assert "1 Zeile, und jedes Feld stimmt." in page and "1 Standort zahlungspflichtig bestellen" in page


def test_the_mails_about_a_file_say_what_was_left_out(signed: Front, back: Back) -> None:
    address = opened(signed, as_csv([HEAD, row(1), row(3, **{"E-Mail": "hanna@"})]))
    post(signed, address, without="3")
    press(signed, address)
    work(signed, back)
    told = [mail.text for mail in back.mailer.sent if "Sammelbestellung" in mail.subject]
    assert len(told) == 2
    assert all("usgelassen: 1" in " ".join(text.split()) for text in told), told
