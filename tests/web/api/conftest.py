"""Fixtures of the tests of the JSON API: a location with a trunk and a contract."""

from __future__ import annotations

import pytest

from models.accounts.accounts import Account
from models.contracts.contracts import ContractItem
from models.states import Origin
from models.telephony.trunks import SipTrunk
from tests.web.conftest import Front
from tests.web.portal.accounts.sites import Site, make_site


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location: a sub-account with a trunk, whose contract has the tariff for ten channels."""
    with front.database.transaction() as session:
        site = make_site(session, session.get_one(Account, front.main.id), Origin.ORDER)
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        facts = {"product_key": "trunk-10", "monthly_cents": 2500, "one_off_cents": 2900}
        session.add(ContractItem(contract_id=contract, **facts))
    return site
