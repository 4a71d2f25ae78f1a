"""Tests of the page on which users cancel an account with all its contracts.

It shows the earliest possible day and what ends. Other pages show the cancellation until that day, and it can be
withdrawn. A main account is told what to do first.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import berlin_day, first_moment
from models.contracts.contracts import Contract
from models.contracts.terms import months_later
from models.people.audit_log import AuditEvent
from models.requests.requests import Request
from models.states import AccountState, Origin, Status
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, make_account, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, give_numbers
from tests.web.portal.changes.contract_changes import plain
from tests.web.portal.changes.test_change_pages import site as site
from tests.web.portal.telephony.test_suspension import press

EARLIEST = months_later(berlin_day(NOW), 1)


def path_of(site: Site) -> str:
    """Return the path of the page that cancels the site's account."""
    return f"{site.path}/kuendigung"


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_an_account_is_cancelled_seen_to_end_and_taken_back(front: Front, site: Site, back: Back, who: str) -> None:
    with front.database.transaction() as session:
        give_numbers(session, site)
    come_in(front, front.manager.email if who == "manager" else site.administrator.email)
    dashboard = get(front, site.path)
    assert f'href="{path_of(site)}"' in dashboard
    earliest = "2. April 2026"
    assert f"Bei einer Kündigung heute endet er frühestens mit Ablauf des {earliest}" in plain(dashboard)
    page = get(front, path_of(site))
    assert_valid(page)
    text = plain(page)
    assert f"Frühestes Ende, wenn Sie heute kündigen: {earliest}." in text and EARLIEST.isoformat() in page
    assert "Monatlich, netto 32,80 € 0,00 €" in text
    with front.database.transaction() as session:
        trunk = session.get_one(SipTrunk, site.trunk)
        assert f"Der SIP-Trunk {trunk.sip_user} wird geschlossen" in text
    assert "nicht mehr an diese Nummern weitergeleitet: 0171 1234567" in text and "ruhen 90 Tage" in text
    sent = press(front, path_of(site), page, last_day=EARLIEST.isoformat(), meant="y")
    assert sent.status_code == 303 and "/anfragen/" in sent.location
    seen = plain(get(front, sent.location))
    assert (
        "Gekündigt" in seen and f"Die Verträge enden mit Ablauf des {earliest}; dann schließen wir den Account." in seen
    )
    assert f"Letzter Tag der Verträge: {earliest}" in seen and "Kündigung zurücknehmen" in seen
    planned = f"Gekündigt: endet mit Ablauf des {earliest}"
    dashboard = plain(get(front, site.path))
    assert planned in dashboard and "Verträge kündigen" not in dashboard
    assert AuditEvent.CANCELLATION_ASKED in [deed[0] for deed in deeds(front)]
    if who == "administrator":
        assert f"Hat Kundennummer und Verträge zum Ablauf des {earliest} gekündigt." in plain(
            get(front, site.path + "/protokoll")
        )
    assert "Kündigung" in plain(get(front, "/anfragen"))
    if who == "manager":
        for view in ("karten", "tabelle"):
            assert "Aktiv " + planned in plain(get(front, f"/standortverwaltung?ansicht={view}"))
    again = front.client.get(path_of(site))
    assert again.status_code == 303 and again.location == sent.location
    question = plain(get(front, sent.location + "/stornieren"))
    assert f"Die Kündigung der Kundennummer {site.account.customer_number} zurücknehmen?" in question
    assert press(front, sent.location + "/stornieren").status_code in (302, 303)
    back.clock.now = first_moment(EARLIEST + timedelta(days=2))
    back.advance()
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Request.status)).one() is Status.CANCELLED
        assert session.get_one(Account, site.account.id).state is AccountState.ACTIVE


def test_with_its_day_the_account_is_gone_and_the_history_says_why(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    sent = press(front, path_of(site), last_day="03.04.2026", meant="y")
    back.clock.now = first_moment(EARLIEST + timedelta(days=2))
    back.advance()
    come_in(front, front.manager.email)
    seen = plain(get(front, sent.location))
    assert "Abgeschlossen" in seen and "Die Verträge sind beendet, und der Account ist geschlossen." in seen
    assert front.client.get(site.path).status_code == 404
    assert site.account.customer_number not in plain(get(front, "/standortverwaltung"))
    assert site.account.customer_number in plain(get(front, "/anfragen"))


def test_what_a_cancelled_account_has_cost_stays_in_the_list(front: Front, site: Site, back: Back) -> None:
    def sums() -> list[str]:
        months = [plain(get(front, f"/standortverwaltung/kosten?monat=2026-0{month}")) for month in (2, 3, 4, 5)]
        return [" ".join(re.findall("Zusammen, netto .*? Brutto [0-9,]+ €", month)) for month in months]

    come_in(front, front.manager.email)
    press(front, path_of(site), last_day="03.04.2026", meant="y")
    expected = sums()
    assert expected[0] == expected[3] == "" and expected[1] and expected[2]
    back.clock.now = first_moment(EARLIEST + timedelta(days=2))
    back.advance()
    come_in(front, front.manager.email)
    assert sums() == expected
    page = get(front, "/standortverwaltung/kosten?monat=2026-03")
    assert site.account.customer_number in page and f'href="{site.path}"' not in page
    # Nobody else.
    with front.database.transaction() as session:
        stranger = make_user(session)
        make_account(session, administrator=stranger)
    come_in(front, stranger.email)
    assert sums() == [""] * 4


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"last_day": "2026-04-01", "meant": "y"}, "Der Vertrag kann frühestens mit Ablauf des 2. April 2026 enden."),
        (
            {"last_day": "2027-04-04", "meant": "y"},
            "Der Vertrag kann bis zum Ablauf des 3. April 2027 gekündigt werden.",
        ),
        ({"last_day": "31.4.2026", "meant": "y"}, "Das ist kein Tag."),
        ({"last_day": "", "meant": "y"}, "Das ist kein Tag."),
        ({"last_day": "2026-04-02"}, "Setzen Sie das Häkchen, wenn Sie kündigen wollen."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(front: Front, site: Site, typed: dict[str, str], said: str) -> None:
    come_in(front, front.manager.email)
    answer = press(front, path_of(site), **typed)
    assert answer.status_code == 422
    assert_valid(answer.text)
    assert said in plain(answer.text)
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 0


def test_the_first_term_is_shown_and_is_the_earliest_day(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        contract = session.scalars(sa.select(Contract).where(Contract.account_id == site.account.id)).one()
        contract.started_at, contract.term_months, contract.renewal_months = NOW, 24, 12
    come_in(front, front.manager.email)
    for path in (site.path, path_of(site)):
        text = plain(get(front, path))
        assert (
            "Mindestlaufzeit bis zum Ablauf des 1. März 2028." in text and "Ohne Kündigung verlängert er sich" in text
        )
    assert "Vom 1. März 2028 bis zum" in plain(get(front, path_of(site)))


def test_a_main_account_is_told_to_cancel_or_detach_its_sub_accounts_first(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    own = f"/standortverwaltung/{front.main.customer_number}/kuendigung"
    page = get(front, own)
    assert "Kündigen oder lösen Sie diese zuerst" in plain(page)
    assert press(front, own, get(front, path_of(site)), last_day="2026-05-01", meant="y").status_code == 409


def test_nobody_cancels_what_is_not_theirs(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        session.get_one(Account, site.account.id).origin = Origin.LINK
    come_in(front, front.manager.email)
    assert front.client.get(path_of(site)).status_code == 404
    assert path_of(site) not in get(front, site.path)
    come_in(front, site.member.email)
    assert front.client.get(path_of(site)).status_code == 404
    come_in(front, site.administrator.email)
    assert front.client.get(path_of(site)).status_code == 200


def test_the_pages_speak_english(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    with front.client.session_transaction() as session:
        session["language"] = "en"
    text = plain(get(front, path_of(site)))
    assert "Earliest end, if you cancel today: 2 April 2026." in text and "What ends" in text
