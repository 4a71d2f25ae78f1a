"""A fixture of the tests of the steps that requests go through: an account of another company."""

from __future__ import annotations

import pytest

from models.accounts.accounts import Account
from models.people.rights import Role
from models.people.users import User
from tests.factories import join, make_account, make_user
from tests.tasks.conftest import Pipeline


@pytest.fixture
def owned(pipeline: Pipeline) -> tuple[Account, User, User]:
    """Create an account of another company, with two administrators and a local member.

    Return the account and its administrators.
    """
    with pipeline.runtime.database.transaction() as session:
        one, two = make_user(session, name="Ina Inhaber"), make_user(session, name="Otto Owner", locale="en")
        account = make_account(session, administrator=one)
        join(session, two, account)
        local = make_user(session)
        join(session, local, account, Role.LOCAL_MEMBER)
        return account, one, two
