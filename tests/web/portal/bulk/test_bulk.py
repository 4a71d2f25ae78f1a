"""Tests of the pages on which users upload, correct and send a bulk file, without a browser.

Every invalid cell is named and can be corrected on the page. However often a file is uploaded or sent, its rows are
ordered once, at the prices that were shown.
"""

from __future__ import annotations

import io

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk, BulkRow
from models.bulk.uploads import fingerprints_of, same_file
from models.contracts.catalogue import Product
from models.people.rights import Role
from models.people.users import Membership, principal_of
from models.proofs.link_codes import create_link_code
from models.requests.requests import Request
from models.states import Kind, Status
from models.telephony.place_facts import places_of
from models.vault import Vault
from tests.factories import MOBILE, NOW, join, make_account, make_user
from tests.web.conftest import SECRET, Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.bulk.uploading import (
    FALLBACK,
    HEAD,
    START,
    as_csv,
    opened,
    orders,
    post,
    press,
    row,
    upload,
    work,
)
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.workbooks import read_xlsx


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("kind", ["order", "link"])
def test_the_template_can_be_filled_in_and_uploaded(signed: Front, kind: str, form: str) -> None:
    with signed.client.get(f"{START}/vorlage-{kind}.{form}") as answer:
        content = answer.data
    page = signed.client.get(opened(signed, content, kind=kind, name=f"Vorlage.{form}"))
    assert "1 Zeile, und jedes Feld stimmt." in page.text
    assert_valid(page.text)


def test_every_bad_cell_is_named_and_mended_in_place(signed: Front) -> None:
    lines = [HEAD, *(row(number) for number in range(1, 31))]
    lines[5] = row(5, Postleitzahl="1017", Produkt="trunk-7")
    lines[9] = row(9, **{"E-Mail": "hanna@", "Ort": ""})
    lines[12] = row(12, Vorwahl="040", Kanäle="11")
    lines[14] = row(14, Optionen="mobile-backup, teleport", **{"Anzahl Rufnummern": "7", "Telefon": "x"})
    address = opened(signed, as_csv(lines))
    page = signed.client.get(address).text
    assert_valid(page)
    assert "11 Felder stimmen nicht" in page and "4 von 30 Zeilen" in page
    for said in (
        "Eine deutsche Postleitzahl hat fünf Ziffern.", "Möglich sind: trunk-2, trunk-10, trunk-50",
        "Das ist keine vollständige E-Mail-Adresse.", "Geben Sie den Ort ein.", "Passende Vorwahlen: 030 (Berlin)",
        "1 bis 10 gleichzeitige Gespräche", "Möglich sind: mobile-backup, directory-entry",
        "Möglich sind: 1, 10, 100", "Das ist keine Rufnummer.",
    ):  # fmt: skip
        assert said in page, said
    assert 'value="hanna@"' in page and "Filiale 8" not in page
    assert "zahlungspflichtig" not in page
    # Correct half of the cells: valid rows disappear, invalid cells keep their input.
    post(signed, address, **{"cell-6-postal_code": "10179", "cell-6-product": "trunk-8", "cell-10-email": "h@x.de"})
    page = signed.client.get(address).text
    assert 'value="trunk-8"' in page and 'value="1017"' not in page and "9 Felder stimmen nicht" in page
    mended = {
        "cell-6-product": "SIP-Trunk mit 10 Kanälen", "cell-10-city": "Berlin", "cell-13-area_code": "030",
        "cell-13-city": "Berlin", "cell-13-channels": "10",
    }  # fmt: skip
    post(signed, address, **mended, **{"cell-15-phone": "", "without": "15"})
    page = signed.client.get(address).text
    assert "29 Zeilen, und jedes Feld stimmt." in page
    assert "29 Standorte zahlungspflichtig bestellen" in page
    assert orders(signed) == 0


def test_an_address_in_a_file_is_checked_as_in_the_form(signed: Front, back: Back) -> None:
    lines = [
        HEAD,
        row(1, Postleitzahl="80331"),
        row(2, Postleitzahl="99999"),
        row(3, **{"Straße und Hausnummer": "Brückenstr."}),
        row(4, Postleitzahl="85737", Ort="Ismaning", Vorwahl="089"),
        row(5, Postleitzahl="85221", Ort="Dachau", Vorwahl="089"),
    ]
    address = opened(signed, as_csv(lines))
    page = signed.client.get(address).text
    assert_valid(page)
    assert "5 Felder stimmen nicht" in page and "3 von 5 Zeilen" in page
    # One cause is told once, and the other cells point to it.
    with signed.database.transaction() as session:
        more = len(places_of(session).codes_of("Berlin")) - 5
    for said, times in (
        ("Diese Postleitzahl gehört zu München, nicht zu Berlin. Postleitzahlen von Berlin: 10115", 1),
        ("Passt nicht zur Postleitzahl: siehe dort.", 2),
        (f"und {more} weitere", 2),
    ):
        assert page.count(said) == times, said
    for said in (
        "Diese Postleitzahl gibt es nicht. Postleitzahlen von Berlin: 10115", "Geben Sie die Hausnummer an.",
    ):  # fmt: skip
        assert said in page, said
    mended = {"cell-2-postal_code": "10179", "cell-3-postal_code": "10179", "cell-4-street": "Brückenstr. o. Nr."}
    post(signed, address, **mended, **{"cell-2-city": "Berlin", "cell-3-city": "Berlin"})
    assert "5 Zeilen, und jedes Feld stimmt." in signed.client.get(address).text


def test_sent_once_however_often_it_is_pressed_or_uploaded(signed: Front, back: Back) -> None:
    content = as_csv([HEAD, *(row(number) for number in range(1, 13))])
    address = opened(signed, content)
    page = signed.client.get(address).text
    # 12 times 29.90 + 2.90 a month, 29 + 9.90 once.
    assert "393,60\xa0€" in page and "466,80\xa0€" in page
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    for _ in range(2):
        answer = signed.client.post(address + "/senden", data={"csrf_token": csrf(page), "shown": shown})
        assert answer.headers["Location"] == address
    assert orders(signed) == 0, "the front only says that it is to be done"
    work(signed, back)
    assert orders(signed) == 12
    page = signed.client.get(address).text
    assert "12 von 12 Bestellungen sind abgeschlossen." in page and "Alle Zeilen sind abgeschlossen." in page
    assert_valid(page)
    for again in (content, as_csv([HEAD, *(row(number) for number in range(1, 13))], delimiter=",")):
        assert opened(signed, again, name="anders.csv") == address
        said = "„anders.csv“ hat denselben Inhalt wie die Datei „Filialen.csv“, die schon am 2. März 2026"
        assert said in signed.client.get(address).text
    opened(signed, content)
    assert "Diese Datei wurde schon am 2. März 2026" in signed.client.get(address).text
    work(signed, back)
    assert orders(signed) == 12
    # Of a file with additional rows only the new rows are ordered.
    longer = opened(signed, as_csv([HEAD, *(row(number) for number in range(1, 15))]))
    page = signed.client.get(longer).text
    assert "12 Zeilen wurden mit demselben Inhalt schon" in page and "2 Standorte zahlungspflichtig bestellen" in page
    # The price covers only the two new rows: 59.80 + 5.80 a month.
    assert "65,60\xa0€" in page and "77,80\xa0€" in page
    press(signed, longer)
    work(signed, back)
    assert orders(signed) == 14
    page = signed.client.get(longer).text
    assert "gesendet; nicht noch einmal." in page
    assert_valid(page)


def test_the_same_row_twice_is_priced_and_ordered_once(signed: Front, back: Back) -> None:
    address = opened(signed, as_csv([HEAD, row(1), row(2), row(1), row(1)]))
    page = signed.client.get(address).text
    assert "4 Zeilen, und jedes Feld stimmt." in page and "2 Zeilen wiederholen eine frühere Zeile" in page
    assert "2 Standorte zahlungspflichtig bestellen" in page and "65,60\xa0€" in page and "77,80\xa0€" in page
    assert_valid(page)
    press(signed, address)
    work(signed, back)
    assert orders(signed) == 2
    progress = signed.client.get(address).text
    assert "von 2 Bestellungen sind abgeschlossen. 2 Zeilen der Datei wurden ausgelassen." in progress


@pytest.mark.usefixtures("changing_products")
def test_a_product_that_is_withdrawn_after_the_upload_is_wrong_in_its_cell(signed: Front) -> None:
    address = opened(signed, as_csv([[*HEAD, FALLBACK], [*row(1), ""], [*row(2, Optionen="mobile-backup"), MOBILE]]))
    assert "2 Zeilen, und jedes Feld stimmt." in signed.client.get(address).text
    with signed.database.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "mobile-backup").values(orderable=False))
    press(signed, address)
    page = signed.client.get(address).text
    assert "1 Feld stimmt nicht" in page and "Möglich sind: directory-entry" in page
    assert 'value="mobile-backup"' in page and orders(signed) == 0
    post(signed, address, **{"cell-3-options": "", "cell-3-mobile_number": ""})
    page = signed.client.get(address).text
    # The number's cell was right, so it cannot be typed into; without its option it is wrong.
    assert "Das gehört zur Option mobile-backup, die nicht gewählt ist." in page
    post(signed, address, **{"cell-3-mobile_number": ""})
    assert "2 Zeilen, und jedes Feld stimmt." in signed.client.get(address).text


def test_a_file_of_which_all_was_ordered_before_cannot_be_sent(signed: Front, back: Back) -> None:
    press(signed, opened(signed, as_csv([HEAD, row(1), row(2)])))
    work(signed, back)
    address = opened(signed, as_csv([HEAD, row(2), row(1), row(1)]))
    page = signed.client.get(address).text
    assert "3 Zeilen wurden mit demselben Inhalt schon" in page and "Es bleibt nichts zu senden" in page
    assert "zahlungspflichtig" not in page and "wiederholen" not in page
    assert_valid(page)
    press(signed, address)
    work(signed, back)
    assert orders(signed) == 2
    assert "Es bleibt nichts zu senden" in signed.client.get(address).text


def test_a_file_is_for_the_account_that_its_page_was_about(signed: Front) -> None:
    with signed.database.transaction() as session:
        session.add(second := make_account(session))
        session.flush()
        session.add(Membership(user_id=signed.manager.user_id, account_id=second.id, role=Role.ADMINISTRATOR))
        stranger = make_account(session).customer_number
    page = signed.client.get(f"{START}?konto={second.customer_number}").text
    assert f'name="account" value="{second.customer_number}"' in page
    # Meanwhile another tab selects the first account.
    signed.client.get(f"{START}?konto={signed.main.customer_number}")

    def send(account: str, content: bytes) -> TestResponse:
        data = {"csrf_token": csrf(page), "account": account, "kind": "order", "file": (io.BytesIO(content), "x.csv")}
        return signed.client.post(START, data=data, content_type="multipart/form-data")

    # Errors are shown for the account of the page.
    assert f'name="account" value="{second.customer_number}"' in send(second.customer_number, b"").text
    for account in (stranger, ""):
        answer = send(account, as_csv([HEAD, row(1)]))
        assert answer.status_code == 422 and "Dieser gehört nicht zu Ihren" in answer.text
        assert_valid(answer.text)
    answer = send(second.customer_number, as_csv([HEAD, row(1)]))
    with signed.database.transaction() as session:
        assert session.scalars(sa.select(Bulk.main_id)).all() == [second.id]
    assert f"Für den Hauptaccount {second.customer_number} ({second.name})." in signed.client.get(answer.location).text


def test_a_page_orders_only_what_it_showed(signed: Front, back: Back) -> None:
    address = opened(signed, as_csv([HEAD, row(1), row(2, Postleitzahl="1017")]))
    assert "zahlungspflichtig" not in signed.client.get(address).text
    post(signed, address, **{"cell-3-postal_code": "10179"})
    page = signed.client.get(address).text
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    # Same number of rows and same price, but another location.
    with signed.database.transaction() as session:
        changed = session.scalars(sa.select(BulkRow).where(BulkRow.line == 3)).one()
        assert changed.draft is not None
        changed.draft = {**changed.draft, "location": {**changed.draft["location"], "name": "Lager"}}
    signed.client.post(address + "/senden", data={"csrf_token": csrf(page), "shown": shown})
    work(signed, back)
    assert orders(signed) == 0
    assert "Bitte prüfen Sie" in signed.client.get(address).text


@pytest.mark.parametrize("after", ["99999999999", "-99999999999", "x"])
def test_no_page_of_a_file_is_an_error(signed: Front, after: str) -> None:
    address = opened(signed, as_csv([HEAD, row(1)]))
    assert signed.client.get(f"{address}?nach={after}").status_code == 200


def test_only_bad_cells_can_be_typed_anew(signed: Front) -> None:
    address = opened(signed, as_csv([HEAD, row(1), row(2, Postleitzahl="1017")]))
    typed = {"cell-2-name": "X", "cell-3-name": "Y", "cell-3-postal_code": "10115"}
    post(signed, address, **typed)
    with signed.database.transaction() as session:
        cells = [item.cells for item in session.scalars(sa.select(BulkRow).order_by(BulkRow.line))]
    assert [item["name"] for item in cells] == ["Filiale 1", "Filiale 2"]
    assert [item["postal_code"] for item in cells] == ["10179", "10115"]


@pytest.mark.usefixtures("changing_products")
def test_a_file_is_billed_at_the_prices_that_were_shown_when_it_was_sent(signed: Front, back: Back) -> None:
    address = opened(signed, as_csv([HEAD, row(1), row(2)]))
    page = signed.client.get(address).text
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    signed.client.post(address + "/senden", data={"csrf_token": csrf(page), "shown": shown})
    with signed.database.transaction() as session:
        session.execute(sa.update(Product).values(monthly_cents=9999, one_off_cents=9999))
    work(signed, back)
    with signed.database.transaction() as session:
        lines = session.scalars(sa.select(Request.price_lines).where(Request.bulk_id.is_not(None))).all()
    assert len(lines) == 2
    for agreed in lines:
        assert agreed is not None and sum(line["monthly_cents"] for line in agreed) == 2990 + 290


@pytest.mark.usefixtures("changing_products")
def test_a_price_that_changed_is_shown_before_anything_is_ordered(signed: Front, back: Back) -> None:
    address = opened(signed, as_csv([HEAD, row(1)]))
    page = signed.client.get(address).text
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    with signed.database.transaction() as session:
        session.execute(sa.update(Product).where(Product.key == "trunk-10").values(monthly_cents=9999))
    signed.client.post(address + "/senden", data={"csrf_token": csrf(page), "shown": shown})
    work(signed, back)
    assert orders(signed) == 0
    assert "Bitte prüfen Sie" in signed.client.get(address).text


def test_links_by_file(signed: Front, back: Back) -> None:
    with signed.database.transaction() as session:
        owner = make_user(session)
        coded, asked = (make_account(session, administrator=owner) for _ in range(2))
        code = back.runtime.vault.code(*create_link_code(session, principal_of(session, owner), coded, NOW).words())
        numbers = [coded.customer_number, asked.customer_number]
    lines = [["Kundennummer", "Verknüpfungscode"], [numbers[0], code], [numbers[1], ""], [numbers[1], ""], ["12", ""],
             [signed.main.customer_number, ""]]  # fmt: skip
    address = opened(signed, as_csv(lines), kind="link")
    # The stored digest of the file cannot be used to guess a code.
    cells = [dict(zip(("customer_number", "code"), line, strict=True)) for line in lines[1:]]
    with signed.database.transaction() as session:
        kept = session.scalars(sa.select(Bulk.fingerprint)).one()
    vault = back.runtime.vault
    assert kept in fingerprints_of(vault, Kind.LINK, cells)
    assert kept not in fingerprints_of(Vault("x"), Kind.LINK, cells)
    # The file is known again under a new key.
    with signed.database.transaction() as session:
        main = session.get_one(Account, signed.main.id)
        rotated = fingerprints_of(Vault("x", SECRET), Kind.LINK, cells)
        assert rotated[0] != kept and same_file(session, main, rotated) is not None
    page = signed.client.get(address).text
    assert "3 von 5 Zeilen sind falsch" in page and "Noch ist keine Anfrage gesendet" in page
    assert "Datei löschen, ohne zu senden" in page and "bestell" not in page[page.index("<main") : page.index("</main")]
    assert "steht doppelt in der Datei" in page and "hat sieben Ziffern" in page and "Ihre eigene Kundennummer" in page
    with signed.database.transaction() as session:
        assert code not in str([item.cells for item in session.scalars(sa.select(BulkRow))])
    post(signed, address, **{"cell-4-customer_number": "", "without": ["4", "5", "6"]})
    assert "2 Anfragen senden" in signed.client.get(address).text
    press(signed, address)
    work(signed, back)
    with signed.database.transaction() as session:
        found = {item.customer_number: item.status for item in session.scalars(sa.select(Request))}
    assert found == {numbers[0]: Status.COMPLETED, numbers[1]: Status.PENDING}
    page = signed.client.get(address).text
    assert "1 von 2 Anfragen ist abgeschlossen" in page and numbers[1] in page


def test_it_is_nobody_elses(signed: Front) -> None:
    address = opened(signed, as_csv([HEAD, row(1)]))
    with signed.database.transaction() as session:
        other = make_user(session)
        make_account(session, administrator=other)
        member, nobody = make_user(session), make_user(session)
        join(session, member, signed.main, Role.LOCAL_MEMBER)
    for stranger, status in ((other, 200), (member, 404), (nobody, 403)):
        signed.client.post("/abmelden", data={"csrf_token": form_token(signed.client)})
        sign_in(signed, stranger.email)
        assert signed.client.get(address).status_code == 404
        assert signed.client.get(address + "/stand").status_code == 404
        assert signed.client.get(START).status_code == status


def test_the_fragment_says_only_what_is_new(signed: Front, back: Back) -> None:
    address = opened(signed, as_csv([HEAD, row(1)]))
    press(signed, address)
    first = signed.client.get(address + "/stand")
    assert "data-ended" not in first.text
    again = signed.client.get(address + "/stand", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    work(signed, back)
    later = signed.client.get(address + "/stand", headers={"If-None-Match": first.headers["ETag"]})
    assert later.status_code == 200 and "data-ended" in later.text


def test_a_file_that_was_not_sent_can_be_deleted(signed: Front, back: Back) -> None:
    address = opened(signed, as_csv([HEAD, row(1)]))
    token = csrf(signed.client.get(address).text)
    signed.client.post(address + "/loeschen", data={"csrf_token": token})
    assert signed.client.get(address).status_code == 404
    assert upload(signed, as_csv([HEAD, row(1)])).headers["Location"] != address


def test_english_and_no_kind(signed: Front) -> None:
    page = signed.client.get(START).text
    signed.client.post("/sprache/en", data={"csrf_token": csrf(page)})
    answer = signed.client.post(START, data={"csrf_token": csrf(page)}, content_type="multipart/form-data")
    assert answer.status_code == 422 and "Choose what the file is for." in answer.text
    with signed.client.get(f"{START}/vorlage-order.xlsx") as file:
        head = read_xlsx(file.data)[0]
    assert head[:3] == ["Location name", "Street and house number", "Postal code"]
