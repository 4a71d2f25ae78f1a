"""Tests of bulk files of changes: what each row costs, what is wrong with it, and that it is carried out once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.bulk.bulk import MOST_ON_ACCOUNTS, BulkRow
from models.contracts.catalogue import Product
from models.contracts.contracts import ContractItem
from models.db.session import Database
from models.people.audit_log import AuditEvent
from models.people.rights import Role
from models.people.users import Membership
from models.requests.requests import Request
from models.states import Kind, Origin, Reason, Status
from models.telephony.trunks import SipTrunk
from tests.audit_entries import entries_of_deeds
from tests.factories import NOW, join, make_account, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import come_in, make_trunk
from tests.web.portal.bulk.uploading import START, as_csv, opened, post, press, upload
from tests.web.portal.changes.contract_changes import DAY, plain
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.test_second_factor import browser, enter_password
from tests.web.portal.people.test_second_factor import press as press_form

HEAD = ["Kundennummer", "SIP-Benutzer", "Produkt", "Kanäle", "Ab dem Tag"]
GERMAN_DAY = f"{DAY:%d.%m.%Y}"


@pytest.fixture
def numbers(front: Front) -> list[str]:
    """Sign in the manager of a company with two locations at the tariff for ten channels; return their numbers."""
    sign_in(front, front.manager.email)
    return [make_location(front.database, front.main, count) for count in (1, 2)]


def make_location(database: Database, main: Account, count: int, origin: Origin = Origin.ORDER) -> str:
    """Create a sub-account with a trunk of four channels, the user of which ends with `count`; return its number."""
    with database.transaction() as session:
        account = make_account(session, name=f"Filiale {count}")
        attach(session, main.id, account.id, origin, NOW)
        add_trunk(session, account, count)
        return account.customer_number


def add_trunk(session: Session, account: Account, count: int) -> None:
    trunk = session.get_one(SipTrunk, make_trunk(session, account, user(count)))
    session.add(
        ContractItem(contract_id=trunk.contract_id, product_key="trunk-10", monthly_cents=2990, one_off_cents=0)
    )


def user(count: int) -> str:
    return f"t{count:012}"


def channels(front: Front) -> list[int]:
    """Return the channels of all trunks, in the order in which they were created."""
    with front.database.transaction() as session:
        return list(session.scalars(sa.select(SipTrunk.channels).order_by(SipTrunk.id)))


def asked(front: Front) -> Sequence[Request]:
    with front.database.transaction() as session:
        return session.scalars(sa.select(Request).where(Request.kind == Kind.CHANGE).order_by(Request.id)).all()


def run(back: Back) -> None:
    for _ in range(4):
        back.advance_to_the_network()
        back.clock.advance(timedelta(seconds=5))


def page_of(front: Front, address: str) -> str:
    page = front.client.get(address).text
    assert_valid(page)
    return page


def changes(*rows: Sequence[str]) -> bytes:
    return as_csv([HEAD, *rows])


def test_a_file_changes_contracts_at_once_and_on_a_day(front: Front, back: Back, numbers: list[str]) -> None:
    content = changes([numbers[0], "", "trunk-50", "30", ""], [numbers[1], "", "trunk-50", "", GERMAN_DAY])
    address = opened(front, content, kind="change", name="Tarife.csv")
    text = plain(page_of(front, address))
    assert "2 Zeilen, und jedes Feld stimmt." in text
    assert "bisher 59,80 €, danach 199,80 €; dazu einmalig 198,00 €" in text
    assert text.count("29,90 € 99,90 €") == 2
    assert not asked(front)
    assert press(front, address).status_code == 303
    press(front, address)
    run(back)
    first, second = asked(front)
    assert (first.status, second.status) == (Status.COMPLETED, Status.ACKNOWLEDGED)
    assert channels(front) == [30, 4]
    mails = [mail.subject for mail in back.mailer.sent if "Vertragsänderungen" in mail.subject]
    assert mails == [f"Wir haben Ihre Datei mit Vertragsänderungen für {front.main.customer_number} erhalten: 2 von 2"]
    back.clock.now = second.effective_at
    run(back)
    back.clock.advance(timedelta(minutes=10))
    run(back)
    assert channels(front) == [30, 50]
    mails = [mail.subject for mail in back.mailer.sent if "Vertragsänderungen" in mail.subject]
    assert mails[1:] == [f"Datei mit Vertragsänderungen für {front.main.customer_number} abgeschlossen: 2 von 2"]
    assert "Alle Zeilen sind abgeschlossen" in plain(page_of(front, address))
    with front.database.transaction() as session:
        deeds = [entry.deed for entry in entries_of_deeds(session)]
        assert deeds.count(AuditEvent.CHANGE_ASKED) == 2


def test_a_row_is_carried_out_once_whatever_file_it_is_in(front: Front, back: Back, numbers: list[str]) -> None:
    planned = [numbers[0], user(1), "trunk-50", "50", GERMAN_DAY]
    first = opened(front, changes(planned), kind="change")
    assert opened(front, changes(planned), kind="change", name="Kopie.csv") == first
    second = opened(front, changes(planned, [numbers[1], "", "trunk-2", "", ""]), kind="change")
    press(front, first)
    press(front, second)
    run(back)
    made = [(one.product_key, one.customer_number) for one in asked(front)]
    assert sorted(made) == [("trunk-2", numbers[1]), ("trunk-50", numbers[0])]
    # Which one comes first is the workers' matter.
    left_out = ["1 Zeile der Datei wurde ausgelassen" in plain(page_of(front, one)) for one in (first, second)]
    assert sorted(left_out) == [False, True]
    # Uploaded later, the row says what is planned already, and what to do.
    third = opened(front, changes(planned, [numbers[1], "", "trunk-50", "", ""]), kind="change")
    assert "Sie diese zuerst zurück, oder wählen Sie einen späteren Tag" in plain(page_of(front, third))


def test_every_wrong_cell_is_named_with_a_way_out(front: Front, numbers: list[str]) -> None:
    linked = make_location(front.database, front.main, 3, Origin.LINK)
    with front.database.transaction() as session:
        stranger = make_account(session).customer_number
        two = session.scalars(sa.select(Account).where(Account.customer_number == numbers[1])).one()
        add_trunk(session, two, 4)
    rows = [
        [numbers[0], "", "trunk-7", "", ""],
        [numbers[0], "", "trunk-2", "3", ""],
        [numbers[0], "", "trunk-10", "4", ""],
        [numbers[0], "", "trunk-50", "", "morgen"],
        [numbers[0], "", "trunk-50", "", "01.01.2020"],
        [numbers[0], "t9", "trunk-50", "", ""],
        [numbers[1], "", "trunk-50", "", ""],
        [linked, "", "trunk-50", "", ""],
        [stranger, "", "trunk-50", "", ""],
        ["12", "", "trunk-50", "viele", ""],
        [numbers[0], "", "trunk-50", "", ""],
        [numbers[0], "", "trunk-2", "", GERMAN_DAY],
        ["", "<script>alert(1)</script>", "'; DROP TABLE bulks;--", "-1", "\u202e31.01.2027"],
    ]
    address = opened(front, changes(*rows), kind="change")
    page = page_of(front, address)
    text = plain(page)
    assert "12 von 13 Zeilen sind falsch" in text
    assert "<script>alert(1)" not in page
    for said in (
        "Möglich sind: trunk-2, trunk-10, trunk-50", "1 bis 2 gleichzeitige Gespräche", "So ist es schon",
        "Dieser Tag ist vorbei", "Diesen SIP-Trunk hat der Account nicht", f"Möglich sind: {user(2)}, {user(4)}",
        "Das ist weder Ihr Hauptaccount noch ein Nebenaccount", "Um diesen SIP-Trunk geht es schon",
    ):  # fmt: skip
        assert said in text, said
    assert text.count("Das ist weder Ihr Hauptaccount") == 2
    assert not asked(front)
    # The way out: mend a cell, leave the others out.
    others = [str(line) for line in (2, 3, 4, 6, 7, 9, 10, 11, 13, 14)]
    listed = [str(line) for line in range(2, 15)]
    mended = {"cell-8-sip_user": user(4), "cell-5-effective_on": GERMAN_DAY}
    post(front, address, **mended, listed=listed, without=[*others, "5"])
    text = plain(page_of(front, address))
    assert "2 Verträge zahlungspflichtig ändern" in text
    assert front.client.get(address + "/ausgelassen.csv").text.count("Filiale") == 0


@pytest.mark.usefixtures("changing_products")
def test_costs_that_change_are_shown_again_and_never_agreed_unseen(
    front: Front, back: Back, numbers: list[str]
) -> None:
    address = opened(front, changes(*([number, "", "trunk-50", "", ""] for number in numbers)), kind="change")
    page = page_of(front, address)
    shown = page.partition('name="shown" value="')[2].partition('"')[0]
    with front.database.transaction() as session:
        session.get_one(Product, "trunk-50").monthly_cents = 10_990
    answer = post(front, address + "/senden", shown=shown)
    assert answer.status_code == 303 and not asked(front)
    assert "danach 219,80 €" in plain(page_of(front, address))
    press(front, address)
    # Before the worker comes, the price changes once more.
    with front.database.transaction() as session:
        session.get_one(Product, "trunk-50").monthly_cents = 11_990
    run(back)
    assert not asked(front) and channels(front) == [4, 4]
    text = plain(page_of(front, address))
    assert text.count("Der Vertrag oder ein Preis hat sich geändert") == 2


def test_a_second_person_approves_the_changes_of_a_file_together(front: Front, back: Back, numbers: list[str]) -> None:
    with front.database.transaction() as session:
        join(session, make_user(session, email="zweite@firma.example"), session.get_one(Account, front.main.id))
    second = browser(front)
    enter_password(second, "zweite@firma.example")
    setting = f"/benutzer/{front.main.customer_number}/freigabe"
    assert press_form(front.client, setting, sum="1").status_code == 303
    address = opened(front, changes(*([number, "", "trunk-50", "", ""] for number in numbers)), kind="change")
    press(front, address)
    run(back)
    assert [one.reason for one in asked(front)] == [Reason.APPROVAL_AWAITED] * 2
    mails = [mail.subject for mail in back.mailer.sent if "freigeben" in mail.subject]
    assert mails == [f"Bitte freigeben: Datei mit Vertragsänderungen, Kundennummer {front.main.customer_number}"]
    assert "2 Anfragen warten." in second.get("/freigaben").text
    path = f"/freigaben/datei/{address.rpartition('/')[2]}"
    assert front.client.get(path).status_code == 404
    page = second.get(path).text
    assert_valid(page)
    text = plain(page)
    assert "Wartende Anfragen 2" in text and "140,00 € mehr im Monat" in text
    assert channels(front) == [4, 4]
    assert press_form(second, path, page, decision="approve").location == "/freigaben"
    run(back)
    assert channels(front) == [50, 50]


def test_who_may_not_change_the_contracts_has_no_files_of_changes(front: Front, numbers: list[str]) -> None:
    address = opened(front, changes([numbers[0], "", "trunk-50", "", ""]), kind="change")
    with front.database.transaction() as session:
        member = make_user(session, email="mitglied@firma.example")
        join(session, member, session.get_one(Account, front.main.id), Role.LOCAL_MEMBER)
        stranger = make_user(session, email="fremd@firma.example")
        make_account(session, administrator=stranger)
    for email in ("mitglied@firma.example", "fremd@firma.example"):
        come_in(front, email)
        assert front.client.get(address).status_code == 404
        data = {"csrf_token": "x"}
        assert front.client.post(address + "/senden", data=data).status_code in (400, 404)
    assert not asked(front)


def test_a_sender_who_may_not_any_more_changes_nothing(front: Front, back: Back, numbers: list[str]) -> None:
    address = opened(front, changes([numbers[0], "", "trunk-50", "", ""]), kind="change")
    press(front, address)
    with front.database.transaction() as session:
        role = session.get_one(Membership, (front.manager.user_id, front.main.id))
        role.role = Role.LOCAL_MEMBER
    run(back)
    assert not asked(front) and channels(front) == [4, 4]
    with front.database.transaction() as session:
        assert session.scalars(sa.select(BulkRow.refusal)).all() == ["forbidden"]


def test_a_file_has_500_changes_at_most(front: Front, numbers: list[str]) -> None:
    content = changes(*([numbers[0], "", "trunk-50", "", ""] for _ in range(MOST_ON_ACCOUNTS + 1)))
    answer = upload(front, content, kind="change")
    assert answer.status_code == 422 and "mehr als 500 Zeilen" in answer.text


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("language", ["de", "en"])
def test_the_template_of_changes_can_be_uploaded(front: Front, numbers: list[str], form: str, language: str) -> None:
    headers = {"Accept-Language": language}
    with front.client.get(f"{START}/vorlage-change.{form}", headers=headers) as answer:
        content = answer.data
    address = opened(front, content, kind="change", name=f"Vorlage.{form}")
    # The example names no account of this company.
    assert "Das ist weder Ihr Hauptaccount" in page_of(front, address)
