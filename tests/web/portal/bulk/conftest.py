"""Fixtures of the tests of bulk files: a signed-in client whose example orders need no more proofs."""

from __future__ import annotations

import pytest

from tests.factories import prove_contact
from tests.web.conftest import Front
from tests.web.portal.page.test_portal import sign_in


@pytest.fixture
def signed(front: Front) -> Front:
    """Provide the client with the manager signed in. The proofs that the example order needs are there already."""
    with front.database.transaction() as session:
        prove_contact(session, front.main)
    sign_in(front, front.manager.email)
    return front
