"""Tests of the page on which users request a change of a contract, at once or from a day on.

It shows the prices before the change is requested, and again if they have changed. A planned change is shown on other
pages, and can be cancelled.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.contracts.catalogue import Product
from models.contracts.contracts import ContractItem
from models.people.audit_log import AuditEvent
from models.requests.requests import Request
from models.states import Origin, Status
from models.telephony.trunks import SipTrunk
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, make_site
from tests.web.portal.changes.contract_changes import (
    DAY,
    assert_asked_for,
    assert_planned_in_overview,
    confirm,
    follow_link,
    plain,
    send,
    show_prices,
)
from tests.web.portal.telephony.test_suspension import press
from web.resources import resources


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location: a sub-account with a trunk, whose contract has the tariff for ten channels."""
    return make_ordered_site(front)


def make_ordered_site(front: Front) -> Site:
    """Create a sub-account that was ordered, with a trunk, and the tariff for ten channels in its contract."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.ORDER)
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        for key, cents in (("trunk-10", 2990), ("block-10", 290)):
            facts = {"product_key": key, "monthly_cents": cents, "one_off_cents": 0}
            session.add(ContractItem(contract_id=contract, **facts))
    return site


def path_of(site: Site) -> str:
    """Return the path of the page that changes the site's trunk."""
    return f"{site.path}/sip/{site.trunk}/vertrag"


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_a_change_on_a_day_is_asked_for_seen_and_taken_back(front: Front, site: Site, back: Back, who: str) -> None:
    page = follow_link(front, site, path_of(site), who)
    assert 'value="trunk-10" checked' in page and 'value="4"' in page
    typed = {"product": "trunk-50", "channels": "30", "effective_on": DAY.isoformat()}
    shown = show_prices(front, path_of(site), page, **typed)
    text = plain(shown.text)
    assert "Zu Beginn des 1. April 2026" in text
    assert "Monatlich, netto 32,80 € 102,80 €" in text and "Einmalig, netto – 99,00 €" in text
    # The last line of a foot is bold, as the sum of what stands above; here no line is.
    assert "<tfoot" not in shown.text
    assert "Zahlungspflichtig ändern" in text and "Rufnummernblock mit 10 Nummern" in text
    sent = confirm(front, path_of(site), shown)
    assert_asked_for(sent)
    seen = plain(get(front, sent.location))
    assert "Vorgemerkt" in seen and "Wir ändern den Vertrag zu Beginn des 1. April 2026." in seen
    assert "ab 1. April 2026 30 Kanäle statt 4" in seen and "102,80 €" in seen
    planned = "Ab 1. April 2026: 30 Kanäle, monatlich 102,80 € netto"
    assert planned in plain(get(front, site.path)) and planned in plain(get(front, path_of(site)))
    assert AuditEvent.CHANGE_ASKED in [deed[0] for deed in deeds(front)]
    if who == "administrator":
        log = plain(get(front, site.path + "/protokoll"))
        assert "ab 1. April 2026 beauftragt: 30 Kanäle, bisher 4" in log
    assert "Vertragsänderung" in plain(get(front, "/anfragen"))
    back.advance()
    # Mails of one moment leave in no fixed order.
    receipt = next(mail for mail in back.mailer.sent if "102,80" in mail.text)
    assert "1. April 2026" in receipt.text and "102,80" in receipt.text
    # The location is in service meanwhile.
    if who == "manager":
        assert_planned_in_overview(front, "Aktiv " + planned)
    cancel = press(front, sent.location + "/stornieren")
    assert cancel.status_code in (302, 303)
    back.clock.now += timedelta(days=31)
    back.advance()
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Request.status)).one() is Status.CANCELLED
        assert session.get_one(SipTrunk, site.trunk).channels == 4


def test_a_change_at_once_is_done_and_said(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    sent = send(front, path_of(site), product="trunk-2", channels="2", effective_on="")
    back.advance_to_the_network()
    seen = plain(get(front, sent.location))
    assert "Abgeschlossen" in seen and "Der Vertrag ist geändert: 2 Kanäle statt 4." in seen
    assert "Monatlich, netto 32,80 € 12,80 €" in seen
    assert "2 Kanäle" in plain(get(front, site.path))


def test_fewer_channels_are_named_before(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    shown = press(front, path_of(site), product="trunk-2", channels="2", effective_on="")
    assert "Es werden weniger Kanäle als bisher." in plain(shown.text)
    more = press(front, path_of(site), product="trunk-50", channels="50", effective_on="")
    assert "Es werden weniger Kanäle als bisher." not in plain(more.text)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"product": ""}, "Wählen Sie ein Produkt."),
        ({"product": "block-10"}, "Wählen Sie ein Produkt."),
        ({"channels": "viele"}, "Das muss eine ganze Zahl sein."),
        ({"channels": "51"}, "Mit diesem Produkt sind 1 bis 50 gleichzeitige Gespräche möglich."),
        ({"effective_on": "31.2.2026"}, "Das ist kein Tag."),
        ({"effective_on": "1.3.2026"}, "Dieser Tag ist vorbei."),
        ({"effective_on": "2028-01-01"}, "Das kann bis zum 3. März 2027 beauftragt werden."),
        ({"product": "trunk-10", "channels": "4"}, "So ist es schon."),
    ],
)
def test_a_mistake_is_said_at_its_field(front: Front, site: Site, typed: dict[str, str], said: str) -> None:
    come_in(front, front.manager.email)
    fields = {"product": "trunk-50", "channels": "50", "effective_on": "", **typed}
    wrong = press(front, path_of(site), **fields)
    assert wrong.status_code == 422
    assert said in plain(wrong.text)
    assert_valid(wrong.text)


def test_prices_that_changed_since_they_were_shown_are_shown_again(
    front: Front, site: Site, superuser: sa.Engine
) -> None:
    come_in(front, front.manager.email)
    shown = press(front, path_of(site), product="trunk-50", channels="50", effective_on="")
    with superuser.begin() as connection:
        connection.execute(sa.update(Product).where(Product.key == "trunk-50").values(monthly_cents=10990))
    again = confirm(front, path_of(site), shown)
    assert again.status_code == 200
    assert "Die Preise haben sich inzwischen geändert." in plain(again.text) and "112,80 €" in plain(again.text)
    assert confirm(front, path_of(site), again).status_code == 303
    with superuser.begin() as connection:
        connection.execute(sa.update(Product).where(Product.key == "trunk-50").values(monthly_cents=9990))


def test_prices_that_change_while_they_are_agreed_are_shown_again(
    front: Front, site: Site, superuser: sa.Engine
) -> None:
    come_in(front, front.manager.email)
    shown = press(front, path_of(site), product="trunk-50", channels="50", effective_on="")
    with front.client.application.app_context():
        engine = resources().database.engine

    def set_price(cents: int) -> None:
        with superuser.begin() as connection:
            connection.execute(sa.update(Product).where(Product.key == "trunk-50").values(monthly_cents=cents))

    def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        # What is agreed is read after the account is locked.
        if "FROM accounts" in statement and "FOR NO KEY UPDATE" in statement:
            set_price(10990)

    sa.event.listen(engine, "before_cursor_execute", before)
    try:
        again = confirm(front, path_of(site), shown)
    finally:
        sa.event.remove(engine, "before_cursor_execute", before)
        set_price(9990)
    assert again.status_code == 200
    assert "Die Preise haben sich inzwischen geändert." in plain(again.text) and "112,80 €" in plain(again.text)
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).where(Request.kind == "change")) == 0


def test_a_change_that_another_was_faster_with_is_refused_by_name(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    fields = {"product": "trunk-50", "channels": "50", "effective_on": DAY.strftime("%d.%m.%Y")}
    shown = press(front, path_of(site), **fields)
    assert confirm(front, path_of(site), shown).status_code == 303
    second = confirm(front, path_of(site), shown)
    assert second.status_code == 422
    assert "Für den 1. April 2026 ist schon eine Änderung vorgemerkt." in plain(second.text)


def test_the_pages_speak_english(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    with front.client.session_transaction() as session:
        session["language"] = "en"
    shown = press(front, path_of(site), product="trunk-50", channels="30", effective_on=DAY.isoformat())
    text = plain(shown.text)
    assert "At the beginning of 1 April 2026" in text and "Change with obligation to pay" in text
    sent = confirm(front, path_of(site), shown)
    assert "From 1 April 2026: 30 channels, €102.80 monthly net" in plain(get(front, site.path))
    assert "We change the contract at the beginning of 1 April 2026." in plain(get(front, sent.location))


def test_who_only_forwards_calls_changes_nothing(front: Front, site: Site) -> None:
    come_in(front, site.member.email)
    assert front.client.get(path_of(site)).status_code == 404
