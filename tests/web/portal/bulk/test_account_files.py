"""Tests of bulk files of phone numbers, moves, cancellations and detachments, from the upload to the last mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.bulk.bulk import Bulk, BulkRow
from models.bulk.uploads import MOST_UNSENT, CheckedRow, keep_file
from models.calendar_days import berlin_day, first_moment
from models.people.rights import Role
from models.people.users import Membership
from models.requests.requests import Request
from models.states import AccountState, Kind, Origin, Status
from models.telephony.number_pool import RESERVED
from models.telephony.numbers import NumberBlock
from tests.factories import NOW, join, make_account, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in
from tests.web.portal.bulk.uploading import START, as_csv, opened, post, press, upload
from tests.web.portal.changes.contract_changes import DAY, plain
from tests.web.portal.changes.test_more_numbers import make_koeln
from tests.web.portal.page.test_portal import sign_in

HEADS = {
    "numbers": ["Kundennummer", "SIP-Benutzer", "Vorwahl", "Anzahl Rufnummern", "Ab dem Tag"],
    "move": ["Kundennummer", "Neue Straße und Hausnummer", "Neue Postleitzahl", "Neuer Ort", "Vorwahl", "Ab dem Tag"],
    "cancel": ["Kundennummer", "Letzter Tag"],
    "detach": ["Kundennummer", "Ab dem Tag"],
}
GERMAN_DAY = f"{DAY:%d.%m.%Y}"
LAST_DAY = DAY + timedelta(days=60)
GERMAN_LAST_DAY = f"{LAST_DAY:%d.%m.%Y}"
BEA = "bea@bonn.example"
MUNICH = ["Marienplatz 8", "80331", "München", ""]
TWICE = [Status.COMPLETED, Status.COMPLETED]


def file(kind: str, *rows: Sequence[str]) -> bytes:
    return as_csv([HEADS[kind], *rows])


def page_of(front: Front, address: str) -> str:
    page = front.client.get(address).text
    assert_valid(page)
    return plain(page)


def send(front: Front, address: str) -> None:
    """Tick the box, if there is one, and press the button that sends the file."""
    page = front.client.get(address).text
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    assert post(front, address + "/senden", shown=shown, meant="1").status_code == 303


def asked(front: Front) -> Sequence[Request]:
    with front.database.transaction() as session:
        return session.scalars(sa.select(Request).order_by(Request.id)).all()


def run(back: Back) -> None:
    for _ in range(6):
        back.advance_to_the_network()
        back.clock.advance(timedelta(seconds=5))


def told(back: Back, word: str) -> list[tuple[str, str]]:
    """Return recipient and subject of each mail with this word in its subject."""
    return [(mail.recipient_address, mail.subject) for mail in back.mailer.sent if word in mail.subject]


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location in Köln with ten numbers, whose contracts the main account pays for; sign in the manager."""
    site = make_koeln(front)
    sign_in(front, front.manager.email)
    return site


def make_local(front: Front, name: str, *, administrator: str | None = "Bea Bonn") -> Account:
    """Create a linked sub-account without a trunk, with this administrator (None: without one); return it."""
    with front.database.transaction() as session:
        account = make_account(session, name=name)
        if administrator is not None:
            join(session, make_user(session, name=administrator, email=BEA), account)
        attach(session, front.main.id, account.id, Origin.LINK, NOW)
        return account


def test_a_file_orders_phone_numbers_for_a_trunk(front: Front, back: Back, site: Site) -> None:
    number = site.account.customer_number
    address = opened(front, file("numbers", [number, "", "0221", "10", ""]), kind="numbers", name="Nummern.csv")
    text = page_of(front, address)
    assert "bisher 32,80 €, danach 35,70 €" in text and "Der SIP-Trunk hat dann 20 Rufnummern." in text
    assert "Rufnummern für 1 SIP-Trunk zahlungspflichtig bestellen" in text and not asked(front)
    send(front, address)
    run(back)
    assert [one.status for one in asked(front)] == [Status.COMPLETED]
    with front.database.transaction() as session:
        blocks = sa.select(sa.func.count()).where(NumberBlock.trunk_id == site.trunk)
        assert session.scalar(blocks) == 2
    subject = f"Wir haben Ihre Datei mit Bestellungen von Rufnummern für {front.main.customer_number} erhalten: 1 von 1"
    assert told(back, "Ihre Datei") == [(front.manager.email, subject)]
    [table] = [mail.attachments[0] for mail in back.mailer.sent if mail.subject == subject]
    assert table.name == "Eingangsbestaetigung.xlsx"


def test_a_file_moves_an_account_after_the_proof_of_its_address(front: Front, back: Back) -> None:
    site = make_koeln(front, stocked="089")
    sign_in(front, front.manager.email)
    row = [site.account.customer_number, *MUNICH, ""]
    address = opened(front, file("move", row), kind="move")
    text = page_of(front, address)
    assert "Neue Rufnummern mit der Vorwahl 089 ersetzen 0221 70034-0" in text
    assert "wird mit dem Code aus einem Brief bestätigt" in text and "1 Account umziehen" in text
    send(front, address)
    run(back)
    with front.database.transaction() as session:
        reserved = sa.select(NumberBlock.size).where(NumberBlock.available_from == RESERVED)
        assert session.scalars(reserved).all() == [10]
    [move] = asked(front)
    assert post(front, f"/anfragen/{move.id}/brief", code=back.letter_code()).status_code in (302, 303)
    back.advance_to_the_network()
    with front.database.transaction() as session:
        assert session.get_one(Account, site.account.id).city == "München"
    assert asked(front)[0].status is Status.COMPLETED


def test_a_file_cancels_accounts_only_if_that_is_confirmed(front: Front, back: Back, site: Site) -> None:
    number = site.account.customer_number
    address = opened(front, file("cancel", [number, GERMAN_LAST_DAY]), kind="cancel")
    text = page_of(front, address)
    assert "Ja, 1 Kundennummer mit allen ihren Verträgen kündigen." in text
    assert "Endet mit Ablauf des 31. Mai 2026." in text and "kostet netto 32,80 € im Monat" in text
    press(front, address)
    run(back)
    assert not asked(front) and "setzen Sie das Häkchen" in page_of(front, address)
    send(front, address)
    run(back)
    [cancellation] = asked(front)
    assert cancellation.effective_on == LAST_DAY + timedelta(days=1)
    # The people of the account are told at once; who has sent the file gets one receipt for all rows.
    receipts = [to for to, _subject in told(back, "ündig")]
    assert receipts.count(site.administrator.email) == 1
    assert [subject for to, subject in told(back, "ündig") if to == front.manager.email] == [
        f"Wir haben Ihre Datei mit Kündigungen für {front.main.customer_number} erhalten: 1 von 1"
    ]
    receipt = next(mail.text for mail in back.mailer.sent if mail.subject.startswith("Wir haben Ihre Datei"))
    assert f"- {number}, 31. Mai 2026: angenommen" in receipt
    back.clock.now = first_moment(LAST_DAY + timedelta(days=1))
    run(back)
    with front.database.transaction() as session:
        assert session.get_one(Account, site.account.id).state is AccountState.CLOSED
    ends = told(back, "Datei mit Kündigungen")[1:]
    assert ends == [
        (front.manager.email, f"Datei mit Kündigungen für {front.main.customer_number} abgeschlossen: 1 von 1")
    ]
    assert not [to for to, _subject in told(back, number) if to == front.manager.email]


def test_a_file_detaches_accounts_at_once_and_on_a_day(front: Front, back: Back, site: Site) -> None:
    linked = make_local(front, "Filiale Bonn")
    rows = [site.account.customer_number, ""], [linked.customer_number, GERMAN_DAY]
    address = opened(front, file("detach", *rows), kind="detach")
    text = page_of(front, address)
    assert "Verlässt den Hauptaccount sofort." in text and "Verlässt den Hauptaccount am 1. April 2026." in text
    assert "Ja, 2 Accounts vom Hauptaccount lösen." in text
    send(front, address)
    run(back)
    assert [one.status for one in asked(front)] == [Status.COMPLETED, Status.ACKNOWLEDGED]
    back.clock.now = first_moment(DAY)
    run(back)
    assert [one.status for one in asked(front)] == TWICE
    with front.database.transaction() as session:
        accounts = [session.get_one(Account, one.id) for one in (site.account, linked)]
        assert [account.main_id for account in accounts] == [None, None]
    ours = [subject for to, subject in told(back, "Datei") if to == front.manager.email]
    number = front.main.customer_number
    assert ours == [
        f"Wir haben Ihre Datei mit Loslösungen vom Hauptaccount für {number} erhalten: 2 von 2",
        f"Datei mit Loslösungen vom Hauptaccount für {number} abgeschlossen: 2 von 2",
    ]
    for number, email in (site.account.customer_number, site.administrator.email), (linked.customer_number, BEA):
        assert email in [to for to, _subject in told(back, number)]
    # The file and its rows are still there for who has sent it.
    assert "Alle Zeilen sind abgeschlossen" in page_of(front, address)


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("numbers", ["{own}", "t9", "0221", "10", ""], "Diesen SIP-Trunk hat der Account nicht"),
        ("numbers", ["{own}", "", "030", "10", ""], "Vorwahl passt nicht zur Adresse"),
        ("numbers", ["{own}", "", "0221", "7", ""], "1, 10, 100"),
        ("move", ["{own}", "Alter Markt 1", "50667", "Köln", "", ""], "Das ist die jetzige Anschlussadresse"),
        ("move", ["{own}", "Marienplatz 8", "10179", "München", "", ""], "Diese Postleitzahl gehört zu"),
        ("move", ["{own}", "", "80331", "München", "", "gestern"], "Das ist kein Tag"),
        ("cancel", ["{own}", "01.01.2020"], "kann frühestens mit Ablauf des 2. April 2026 enden"),
        ("cancel", ["{main}", ""], "Der Account ist ein Hauptaccount mit Nebenaccounts"),
        ("detach", ["{main}", ""], "Das ist kein Nebenaccount"),
        ("detach", ["{alone}", ""], "Administrator"),
        ("numbers", ["{stranger}", "", "0221", "10", ""], "Das ist weder Ihr Hauptaccount noch ein Nebenaccount"),
        ("move", ["{stranger}", *MUNICH, ""], "Das ist weder Ihr Hauptaccount noch ein Nebenaccount"),
        ("cancel", ["{stranger}", ""], "Das ist weder Ihr Hauptaccount noch ein Nebenaccount"),
        ("detach", ["{stranger}", ""], "Das ist kein Nebenaccount"),
    ],
)
def test_what_is_wrong_in_a_row_is_named_with_a_way_out(
    front: Front, site: Site, kind: str, row: list[str], said: str
) -> None:
    with front.database.transaction() as session:
        stranger = make_account(session)
    numbers = {
        "own": site.account.customer_number,
        "main": front.main.customer_number,
        "alone": make_local(front, "Allein", administrator=None).customer_number,
        "stranger": stranger.customer_number,
    }
    typed = [cell.format(**numbers) for cell in row]
    address = opened(front, file(kind, typed), kind=kind)
    text = page_of(front, address)
    assert "1 von 1 Zeilen ist falsch" in text and said in text, text
    send(front, address)
    assert not asked(front)


@pytest.mark.parametrize("kind", ["numbers", "move", "cancel", "detach"])
def test_an_account_is_in_a_file_once_and_in_two_files_once(front: Front, back: Back, site: Site, kind: str) -> None:
    number = site.account.customer_number
    row = {
        "numbers": [number, "", "0221", "10", GERMAN_DAY],
        "move": [number, "Neumarkt 1", "50667", "Köln", "", GERMAN_DAY],
        "cancel": [number, GERMAN_LAST_DAY],
        "detach": [number, GERMAN_DAY],
    }[kind]
    twice = opened(front, file(kind, row, row), kind=kind)
    assert "schon in einer früheren Zeile" in page_of(front, twice)
    day = LAST_DAY if kind == "cancel" else DAY
    other = [*row[:-1], day.isoformat()]
    first, second = (opened(front, file(kind, one), kind=kind) for one in (row, other))
    assert first != second
    send(front, first)
    send(front, second)
    run(back)
    assert len(asked(front)) == 1
    # Which one comes first is the workers' matter.
    left_out = ["1 Zeile der Datei wurde ausgelassen" in page_of(front, one) for one in (first, second)]
    assert sorted(left_out) == [False, True]


@pytest.mark.parametrize("kind", ["numbers", "move", "cancel", "detach"])
def test_a_sender_who_may_not_any_more_gets_nothing_done(front: Front, back: Back, site: Site, kind: str) -> None:
    number = site.account.customer_number
    rows = {
        "numbers": [number, "", "0221", "10", ""],
        "move": [number, "Neumarkt 1", "50667", "Köln", "", ""],
        "cancel": [number, ""],
        "detach": [number, ""],
    }
    address = opened(front, file(kind, rows[kind]), kind=kind)
    send(front, address)
    with front.database.transaction() as session:
        session.get_one(Membership, (front.manager.user_id, front.main.id)).role = Role.LOCAL_MEMBER
    run(back)
    assert not asked(front)
    with front.database.transaction() as session:
        assert session.scalars(sa.select(BulkRow.refusal)).all() == ["forbidden"]
    come_in(front, front.manager.email)
    assert front.client.get(address).status_code == 404


@pytest.mark.parametrize("kind", ["numbers", "move", "cancel", "detach"])
def test_an_account_that_has_left_before_the_worker_comes_is_refused_with_the_reason(
    front: Front, back: Back, site: Site, kind: str
) -> None:
    number, day = site.account.customer_number, f"{berlin_day(NOW) + timedelta(days=1):%d.%m.%Y}"
    rows = {
        "numbers": [number, "", "0221", "10", day],
        "move": [number, "Neumarkt 1", "50667", "Köln", "", day],
        "cancel": [number, GERMAN_LAST_DAY],
        "detach": [number, day],
    }
    address = opened(front, file(kind, rows[kind]), kind=kind)
    send(front, address)
    with front.database.transaction() as session:
        detach(session, front.main.id, site.account.id)
    run(back)
    assert not asked(front)
    assert f"{number} Der Account gehört nicht mehr zu Ihrem Hauptaccount." in page_of(front, address)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("kind", ["numbers", "move", "cancel", "detach"])
def test_each_template_can_be_uploaded(front: Front, site: Site, kind: str, form: str) -> None:
    assert site.account.main_id is not None
    with front.client.get(f"{START}/vorlage-{kind}.{form}") as answer:
        content = answer.data
    address = opened(front, content, kind=kind, name=f"Vorlage.{form}")
    # The example names no account of this company.
    assert "Bitte lassen Sie die Zeile aus" in page_of(front, address) or "weder Ihr Hauptaccount" in page_of(
        front, address
    )


def test_of_files_that_are_not_sent_there_are_50_at_most(front: Front, site: Site) -> None:
    number = site.account.customer_number
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        wrong = [CheckedRow(2, {}, {"customer_number": ["missing", None]}, None)]
        for count in range(MOST_UNSENT):
            keep_file(session, front.manager, main, Kind.DETACH, f"{count}.csv", [bytes([count])], wrong, NOW)
    content = file("detach", [number, ""])
    refused = upload(front, content, kind="detach")
    assert refused.status_code == 422 and "Es gibt schon 50 Dateien, die nicht abgeschickt sind." in refused.text
    with front.database.transaction() as session:
        session.delete(session.scalars(sa.select(Bulk).limit(1)).one())
    assert upload(front, content, kind="detach").status_code == 303
