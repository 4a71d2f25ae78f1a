"""Fixtures of the tests of accounts' pages."""

from __future__ import annotations

import pytest

from models.accounts.accounts import Account
from tests.web.conftest import Front
from tests.web.portal.accounts.sites import Site, make_site


@pytest.fixture
def site(front: Front) -> Site:
    """Create a sub-account of the main account that `front` is signed in to, with a trunk and users; return them."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))
