"""Tests that people of a main account still see the request by which an account was detached from it."""

from __future__ import annotations

import sqlalchemy as sa

from models.requests.requests import Request
from models.states import Status
from tests.web.conftest import Back, Front
from tests.web.portal.accounts.sites import come_in, get
from tests.web.portal.changes.contract_changes import plain
from tests.web.portal.changes.test_change_pages import make_ordered_site
from tests.web.portal.telephony.test_suspension import press


def test_a_detachment_is_shown_to_its_main_account_when_it_is_done(front: Front, back: Back) -> None:
    site = make_ordered_site(front)
    come_in(front, front.manager.email)
    press(front, site.path + "/loesen", customer_number=site.account.customer_number)
    back.advance()
    with front.database.transaction() as session:
        id, status = session.execute(sa.select(Request.id, Request.status)).one()
    assert status is Status.COMPLETED
    assert site.account.customer_number in plain(get(front, f"/anfragen/{id}"))
