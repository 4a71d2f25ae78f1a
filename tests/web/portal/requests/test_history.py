"""Tests of the list of all requests of a main account, also ended ones.

Each row names kind, location, requester and status. Filters narrow the list, and stay when the user turns the page.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.links.links import submit_detach, submit_link
from models.people.users import User, principal_of
from models.states import Origin, Reason
from models.vault import Vault
from tests.factories import NOW, a_link, an_order, join, make_account, make_user, submit_order
from tests.web.conftest import SECRET, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.test_overview import get, signed_in


def found(page: str) -> list[str]:
    """Return the customer numbers of the requests that the page (HTML) lists, from top to bottom.

    Fails if the HTML is invalid.
    """
    assert_valid(page)
    return re.findall(r"· Kundennummer: (\d{7})</a>", page)


@pytest.fixture
def numbers(front: Front) -> dict[str, str]:
    """Create a colleague's cancelled order, a link request and a detach request.

    Return the customer numbers of their accounts by kind: order, link, detach.
    """
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        session.get_one(User, front.manager.user_id).name = "Maxi Muster"
        colleague = make_user(session, name="Jörg Kollege")
        join(session, colleague, main)
        place = replace(an_order().location, name="Filiale Spree", city="Berlin")
        order = submit_order(session, principal_of(session, colleague), main, an_order(location=place), NOW)
        session.flush()
        order.cancel(Reason.CANCELLED_BY_REQUESTER, NOW)
        link = submit_link(session, Vault(SECRET), front.manager, main, a_link("7654321"), NOW)
        site = make_account(session, administrator=make_user(session), name="Lager Süd", city="Köln")
        attach(session, main.id, site.id, Origin.LINK, NOW)
        session.flush()
        leaving = submit_detach(session, front.manager, site, "de", NOW)
        return {"order": order.customer_number, "link": link.customer_number, "detach": leaving.customer_number}


def test_a_row_says_kind_location_requester_and_status(front: Front, numbers: dict[str, str]) -> None:
    page = get(signed_in(front), "/anfragen")
    assert found(page) == [numbers["detach"], numbers["link"], numbers["order"]]
    for words in (
        "Bestellung · Kundennummer",
        "Verknüpfungsanfrage · Kundennummer",
        "Loslösung vom Hauptaccount · Kundennummer",
        "<p>Filiale Spree, Berlin</p>",
        "<p>Lager Süd, Köln</p>",
        "Beauftragt von Jörg Kollege",
        "Beauftragt von Maxi Muster",
        "Storniert</span>",
        "2. März 2026, 09:00 Uhr",
    ):
        assert words in page


def test_filters_by_kind_status_location_and_requester(front: Front, numbers: dict[str, str]) -> None:
    signed_in(front)
    for query, expected in {
        "art=order": ["order"],
        "art=link": ["link"],
        "art=detach": ["detach"],
        "status=laufend": ["detach", "link"],
        "status=beendet": ["order"],
        "status=abgeschlossen": [],
        "suche=joerg": ["order"],
        "suche=sued+köln": ["detach"],
        "suche=muster": ["detach", "link"],
        "suche=7654321": ["link"],
        "suche=muster&art=link&status=laufend": ["link"],
        "art=nonsense&status=nonsense": ["detach", "link", "order"],
    }.items():
        page = get(front, f"/anfragen?{query}")
        assert found(page) == [numbers[name] for name in expected], query
        if not expected:
            assert "Keine Anfrage passt zu Suche und Filtern." in page


def test_older_pages_keep_the_filters(front: Front, numbers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.portal.requests.history.HISTORY", 1)
    page = get(signed_in(front), "/anfragen?status=laufend")
    assert found(page) == [numbers["detach"]]
    following = re.search(r'href="([^"]+)" rel="next"', page)
    assert following is not None
    page = get(front, following[1].replace("&amp;", "&"))
    assert found(page) == [numbers["link"]] and 'rel="next"' not in page
    assert '<a href="/anfragen?status=laufend" rel="start">' in page


def test_an_account_that_has_left_is_a_number_only(front: Front, numbers: dict[str, str]) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        account = session.query(Account).filter_by(customer_number=numbers["detach"]).one()
        detach(session, main.id, account.id)
        account.name = "Geheim GmbH"
    page = get(signed_in(front), "/anfragen")
    assert numbers["detach"] in found(page) and "Geheim" not in page and "Lager" not in page
    assert found(get(front, "/anfragen?suche=geheim")) == []
