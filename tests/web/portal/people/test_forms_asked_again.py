"""Tests that forms which divert calls or attach accounts ask for the second factor again, and keep the input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder
from models.bulk.bulk import Bulk
from models.people.second_factors import PROOF_LASTS
from models.requests.requests import Request
from models.telephony.forwarding import CallForwarding
from models.telephony.trunks import SipTrunk
from tests.fakes import FakeClock
from tests.second_factor import enter_code
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, make_site
from tests.web.portal.accounts.test_contract_holder import TYPED
from tests.web.portal.bulk.uploading import HEAD, as_csv, opened, row
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.test_second_factor import press, protected  # noqa: F401
from tests.web.portal.telephony.test_forwarding import BUSY

Form = tuple[str, dict[str, str]]


@pytest.fixture
def site(protected: Front) -> Site:  # noqa: F811
    with protected.database.transaction() as session:
        return make_site(session, session.get_one(Account, protected.main.id))


def forwarding(front: Front, site: Site) -> Form:
    return site.path + "/rufweiterleitung/neu", {**BUSY, "condition": "always"}


def changed_forwarding(front: Front, site: Site) -> Form:
    return f"{site.path}/rufweiterleitung/{site.forwarding}", BUSY


def destinations(front: Front, site: Site) -> Form:
    return f"{site.path}/sip/{site.trunk}/ziele", {"limit": "germany"}


def holder(front: Front, site: Site) -> Form:
    return f"/standortverwaltung/{front.main.customer_number}/vertragsinhaber", TYPED


def link(front: Front, site: Site) -> Form:
    return "/standortverwaltung/hinzufuegen/7654321/zustimmung", {}


def file(front: Front, site: Site) -> Form:
    return opened(front, as_csv([HEAD, row(1)])), {}


def happened(front: Front) -> list[object]:
    """Return all values in the database that the forms of this module can change, so that a test can compare them."""
    with front.database.transaction() as session:
        return [
            session.scalars(sa.select(CallForwarding.target).order_by(CallForwarding.id)).all(),
            session.scalars(sa.select(SipTrunk.countries).order_by(SipTrunk.id)).all(),
            session.scalars(sa.select(ContractHolder.name)).all(),
            session.scalars(sa.select(Request.kind)).all(),
            session.scalars(sa.select(Bulk.sent_at)).all(),
        ]


@pytest.mark.parametrize("form", [forwarding, changed_forwarding, destinations, holder, link, file])
def test_an_open_browser_alone_diverts_and_attaches_nothing_and_what_was_typed_is_kept(
    protected: Front,  # noqa: F811
    site: Site,
    clock: FakeClock,
    form: Callable[[Front, Site], Form],
) -> None:
    sign_in(protected, protected.manager.email)
    path, typed = form(protected, site)
    page = protected.client.get(path).text
    to = path + "/senden" if form is file else path
    before = happened(protected)
    clock.advance(PROOF_LASTS)
    asked = press(protected.client, to, page, **typed)
    assert asked.status_code == 401 and happened(protected) == before
    assert_valid(asked.text)
    kept = enter_code(protected.client, asked)
    assert kept.status_code == 200 and happened(protected) == before
    for value in typed.values():
        assert f'value="{value}"' in kept.text
    assert press(protected.client, to, kept.text).status_code == 303
    assert happened(protected) != before
