"""Tests of the page on which users order more numbers for a trunk, at once or from a day on.

It shows the blocks on sale with their prices. A form that is sent twice orders once. A planned order is shown on other
pages, and can be cancelled.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.contracts.contracts import ContractItem
from models.people.audit_log import AuditEvent
from models.requests.requests import Request
from models.states import Origin, Status
from models.telephony.number_pool import RESERVED
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, fill_pool
from tests.web.conftest import Back, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, deeds, get, give_numbers, make_site
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

KOELN = {"street": "Alter Markt 1", "postal_code": "50667", "city": "Köln"}


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location in Köln with ten numbers. The number pool of its area code has more."""
    return make_koeln(front)


def make_koeln(front: Front, *, stocked: str = "0221") -> Site:
    """Create a sub-account in Köln that was ordered, with ten numbers; return it as a `Site`.

    Also add numbers to the pool of the area code `stocked`, without an argument that of Köln.
    """
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.ORDER, **KOELN)
        give_numbers(session, site)
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        for key, cents in (("trunk-10", 2990), ("block-10", 290)):
            session.add(ContractItem(contract_id=contract, product_key=key, monthly_cents=cents, one_off_cents=0))
        fill_pool(session, area_code=stocked, first="4000000", count=3)
    return site


def path_of(site: Site) -> str:
    """Return the path of the page that orders numbers for the site's trunk."""
    return f"{site.path}/sip/{site.trunk}/rufnummern"


@pytest.mark.parametrize("who", ["manager", "administrator"])
def test_numbers_on_a_day_are_ordered_seen_and_taken_back(front: Front, site: Site, back: Back, who: str) -> None:
    page = follow_link(front, site, path_of(site), who)
    assert_valid(page)
    assert 'value="0221"' in page and "hat 10 Rufnummern" in plain(page) and "0221 (Köln)" in plain(page)
    typed = {"area_code": "0221", "block_size": "10", "effective_on": DAY.isoformat()}
    shown = show_prices(front, path_of(site), page, **typed)
    text = plain(shown.text)
    assert "Zu Beginn des 1. April 2026" in text and "Rufnummern des SIP-Trunks 10 20" in text
    assert "Monatlich, netto 32,80 € 35,70 €" in text and "Einmalig, netto – 9,90 €" in text
    assert "3 Blöcke" in text and "zahlungspflichtig bestellen" in text
    sent = confirm(front, path_of(site), shown)
    assert_asked_for(sent)
    assert AuditEvent.NUMBERS_ASKED in [deed[0] for deed in deeds(front)]
    if who == "administrator":
        log = plain(get(front, site.path + "/protokoll"))
        assert "Weitere Rufnummern für den SIP-Trunk t000000000001 ab 1. April 2026 bestellt" in log
    back.advance()
    with front.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.available_from == RESERVED)).one()
    seen = plain(get(front, sent.location))
    assert "Vorgemerkt" in seen and "Wir teilen die Rufnummern am 1. April 2026 um 0 Uhr zu." in seen
    assert f"Für Sie reserviert: {block.display}" in seen and "35,70 €" in seen
    planned = f"Ab 1. April 2026: {block.display}, monatlich 35,70 € netto"
    assert planned in plain(get(front, site.path)) and planned in plain(get(front, path_of(site)))
    assert "Weitere Rufnummern" in plain(get(front, "/anfragen"))
    # They count, and belong to nobody yet.
    assert "20 30" in plain(press(front, path_of(site), **typed).text)
    if who == "manager":
        assert_planned_in_overview(front, planned)
    asked = get(front, sent.location + "/stornieren")
    assert "reservierte sind wieder für andere frei" in plain(asked)
    assert press(front, sent.location + "/stornieren", asked).status_code in (302, 303)
    with front.database.transaction() as session:
        assert session.get_one(NumberBlock, block.id).available_from == NOW
        assert session.scalars(sa.select(Request.status).where(Request.kind == "numbers")).one() is Status.CANCELLED
    assert planned not in plain(get(front, site.path))


def test_numbers_at_once_stand_on_the_dashboard(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    sent = send(front, path_of(site), area_code="+49 221", block_size="10", effective_on="")
    back.advance_to_the_network()
    seen = plain(get(front, sent.location))
    assert "Abgeschlossen" in seen and "Die Rufnummern sind dem SIP-Trunk zugeteilt." in seen
    with front.database.transaction() as session:
        id = session.scalars(sa.select(Request.reserved_block_id)).one()
        block = session.get_one(NumberBlock, id)
    assert block.trunk_id == site.trunk
    assert block.display in plain(get(front, site.path))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"area_code": "030"}, "0221 (Köln)"),
        ({"area_code": ""}, "Geben Sie die Vorwahl ein."),
        ({"area_code": "x"}, "Eine Vorwahl hat drei bis sechs Ziffern"),
        ({"area_code": "09999"}, "Es gibt kein Ortsnetz"),
        ({"block_size": ""}, "Wählen Sie, wie viele Rufnummern"),
        ({"block_size": "20"}, "Wählen Sie, wie viele Rufnummern"),
        ({"effective_on": "2020-01-01"}, "Dieser Tag ist vorbei."),
        ({"effective_on": "bald"}, "Das ist kein Tag."),
    ],
)
def test_what_is_not_possible_is_said_at_its_field(front: Front, site: Site, typed: dict[str, str], says: str) -> None:
    come_in(front, front.manager.email)
    answer = press(front, path_of(site), **{"area_code": "0221", "block_size": "10", "effective_on": "", **typed})
    assert answer.status_code == 422
    assert_valid(answer.text)
    assert says in plain(answer.text)


def test_all_blocks_are_offered_with_what_the_trunk_has_and_what_is_proposed(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    page = get(front, path_of(site))
    assert_valid(page)
    assert all(f'value="{size}"' in page for size in (1, 10, 100))
    assert "hat 10 Rufnummern. Für 4 Kanäle schlagen wir bis zu 40 Rufnummern vor." in plain(page)
    assert "Bis zu 100 an diesem Trunk gibt es ohne weiteren Nachweis." in plain(page)
    send(front, path_of(site), area_code="0221", block_size="10", effective_on=DAY.isoformat())
    assert "hat 10 Rufnummern. Außerdem bestellt: 10." in plain(get(front, path_of(site)))


def test_where_no_block_is_on_sale_the_page_says_it_and_has_no_form(
    front: Front, site: Site, superuser: sa.Engine
) -> None:
    come_in(front, front.manager.email)
    with superuser.begin() as connection:
        connection.execute(sa.text("UPDATE products SET orderable = false WHERE kind = 'number_block'"))
    try:
        page = get(front, path_of(site))
    finally:
        with superuser.begin() as connection:
            connection.execute(sa.text("UPDATE products SET orderable = true WHERE kind = 'number_block'"))
    assert_valid(page)
    assert "Zurzeit sind keine Rufnummern bestellbar." in plain(page) and 'name="block_size"' not in page


def test_before_the_order_the_page_says_what_a_certificate_takes_and_what_is_proposed(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    shown = press(front, path_of(site), area_code="0221", block_size="100", effective_on="")
    assert shown.status_code == 200
    assert_valid(shown.text)
    text = plain(shown.text)
    assert "Für 4 Kanäle schlagen wir bis zu 40 Rufnummern vor; mit dieser Bestellung sind es 110." in text
    assert f'href="{site.path}/sip/{site.trunk}/vertrag"' in shown.text
    assert "Diese Rufnummern brauchen einen Bedarfsnachweis" in text and "bis zum 16. März 2026" in text
    few = plain(press(front, path_of(site), area_code="0221", block_size="10", effective_on="").text)
    assert "Bedarfsnachweis" not in few and "schlagen wir" not in few


def test_a_form_that_is_sent_twice_orders_once(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    shown = press(front, path_of(site), area_code="0221", block_size="10", effective_on="")
    first, second = (confirm(front, path_of(site), shown) for _ in range(2))
    assert (first.status_code, second.status_code) == (303, 200)
    assert "Preise oder Rufnummern haben sich inzwischen geändert." in plain(second.text)
    with front.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).where(Request.kind == "numbers")) == 1


def test_the_page_speaks_english(front: Front, site: Site) -> None:
    come_in(front, front.manager.email)
    front.client.post("/sprache/en", data={"csrf_token": form_token(front.client)})
    page = plain(get(front, path_of(site)))
    assert "Add phone numbers" in page and "has 10 phone numbers" in page


def test_a_linked_account_orders_for_itself(front: Front) -> None:
    with front.database.transaction() as session:
        linked = make_site(session, session.get_one(Account, front.main.id), Origin.LINK, **KOELN)
    come_in(front, front.manager.email)
    assert front.client.get(path_of(linked)).status_code == 404
    assert path_of(linked) not in get(front, linked.path)
    come_in(front, linked.member.email)
    assert front.client.get(path_of(linked)).status_code == 404
