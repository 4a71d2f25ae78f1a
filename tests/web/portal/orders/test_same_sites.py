"""Tests that an order of a location which the main account has already must be confirmed by a check box."""

from __future__ import annotations

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.states import AccountState, Origin
from tests.factories import NOW, an_order, make_account, submit_order
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.orders.ordering import begin, fill_all, fresh, order, requests_in


def test_a_second_order_of_a_location_names_the_first_and_needs_a_tick(front: Front) -> None:
    draft = begin(front)
    first = fill_all(front, draft)
    assert "Diesen Standort haben Sie schon" not in first
    assert order(front.client, draft, first).status_code == 303
    [placed] = requests_in(front.database)
    again = fresh(front)
    page = fill_all(front, again)
    assert_valid(page)
    assert "Ein Nebenaccount mit diesem Namen und dieser Adresse ist bereits bestellt:" in page
    assert f'href="/standortverwaltung/{placed.customer_number}"' in page and 'aria-invalid="true"' not in page
    refused = order(front.client, again, page)
    assert refused.status_code == 422 and len(requests_in(front.database)) == 1
    assert_valid(refused.text)
    assert '<a href="#again">Bestätigen Sie, dass der Standort noch einmal bestellt werden soll.' in refused.text
    # A tick for another sub-account is none for this one.
    assert order(front.client, again, page, again=front.main.customer_number).status_code == 422
    assert order(front.client, again, refused.text, again=placed.customer_number).status_code == 303
    assert len(requests_in(front.database)) == 2
    assert order(front.client, again, page).status_code == 303, "the order was placed already"


@pytest.mark.parametrize("what", ["attached", "in another spelling", "another name", "closed", "somebody else's"])
def test_which_sub_accounts_are_the_same_location(front: Front, what: str) -> None:
    with front.database.transaction() as session:
        main = session.get_one(Account, front.main.id)
        street = "Brueckenstraße 5" if what == "in another spelling" else "Brückenstr. 5"
        name = "Filiale Berlin 2" if what == "another name" else "FILIALE  Berlin"
        twin = make_account(session, name=name, street=street, postal_code="10179", city="Berlin")
        if what == "closed":
            twin.state = AccountState.CLOSED
        elif what != "somebody else's":
            attach(session, main.id, twin.id, Origin.LINK, NOW)
    page = fill_all(front, begin(front))
    shown = "Sie haben bereits einen Nebenaccount mit diesem Namen und dieser Adresse:" in page
    assert shown == (what in ("attached", "in another spelling"))


def test_a_location_that_somebody_orders_meanwhile_is_named_before_the_order(front: Front) -> None:
    draft = begin(front)
    page = fill_all(front, draft)
    with front.database.transaction() as session:
        submit_order(session, front.manager, session.get_one(Account, front.main.id), an_order(), NOW)
    refused = order(front.client, draft, page)
    assert refused.status_code == 422 and "ist bereits bestellt" in refused.text
    assert len(requests_in(front.database)) == 1
