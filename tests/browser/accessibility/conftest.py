"""Fixtures of the accessibility tests: a location, and a check that each test visits all pages it declares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from models.accounts.accounts import Account
from models.telephony.numbers import NumberBlock
from tests.browser.accessibility.looks import PROMISED, endpoint_of, looked
from tests.browser.conftest import Portal
from tests.factories import NOW
from tests.web.portal.accounts.sites import Site, make_site


@pytest.fixture(autouse=True)
def kept_promises(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test, fail it if it has not visited all endpoints that its decorator `shows` declares."""
    looked.clear()
    yield
    app: Flask | None = request.node.funcargs["portal"].app if "portal" in request.node.funcargs else None
    if app is not None:
        assert PROMISED.get(request.function.__name__, set()) <= {endpoint_of(app, url) for url in looked}


@pytest.fixture
def site(portal: Portal) -> Site:
    """Create a location: a sub-account with a trunk, a hundred numbers, users, and a call forwarding when busy."""
    with portal.database.transaction() as session:
        site = make_site(session, session.get_one(Account, portal.main.id))
        block = {"area_code": "0221", "first_number": 4922170034200, "size": 100, "trunk_id": site.trunk}
        session.add(NumberBlock(account_id=site.account.id, available_from=NOW, **block))
        return site


def is_of(site: Site) -> sa.ColumnElement[bool]:
    """Return the SQL condition that a number block belongs to the site's account."""
    return NumberBlock.account_id == site.account.id
