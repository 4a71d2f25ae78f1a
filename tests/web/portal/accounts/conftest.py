"""Fixtures of the tests of accounts' pages: a location under the client's main account."""

from __future__ import annotations

import pytest

from models.accounts.accounts import Account
from tests.web.conftest import Front
from tests.web.portal.accounts.sites import Site, make_site


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location: a sub-account of the client's main account, with a trunk and users. Signs nobody in."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))
