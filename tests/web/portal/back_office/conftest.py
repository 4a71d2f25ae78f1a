"""Fixtures of the back office's tests: members of the carrier's staff, and browsers in which they are signed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from models.people.users import User
from tests.web.conftest import Front
from tests.web.portal.back_office.desk import Desk, SitDown, staff


@pytest.fixture
def sit_down(front: Front) -> Callable[[str | None], Desk]:
    """Provide a function that takes an e-mail address and opens a browser in which that user is signed in.

    With None nobody is signed in.
    """
    return lambda email: Desk(front.client.application.test_client(), email)


@pytest.fixture
def bo(front: Front) -> User:
    """Create a member of the carrier's staff, named Bo Backoffice."""
    return staff(front, "Bo Backoffice")


@pytest.fixture
def desk(bo: User, sit_down: SitDown) -> Desk:
    """Provide a browser in which the member of staff of the fixture `bo` is signed in."""
    return sit_down(bo.email)


@pytest.fixture
def colleague(front: Front, sit_down: SitDown) -> Desk:
    """Provide a browser in which a second member of staff is signed in."""
    return sit_down(staff(front, "Kay Kollegin").email)
