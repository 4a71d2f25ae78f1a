"""Tests that locks are taken in one order, the account first: otherwise two transactions deadlock and one is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.errors import NotFound
from models.links.account_closing import close_account
from models.messages.outbox import Recipient
from models.people import invitation_acceptance, invitations
from models.people.rights import Role
from models.states import AccountState
from models.telephony import sip_secrets
from models.telephony.trunks import SipTrunk
from tests.factories import NOW, PASSWORD, VAULT, make_main
from tests.fakes import wait_until
from tests.web.portal.accounts.sites import make_trunk

WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def company(database: Database) -> tuple[int, Callable[[], object], Callable[[], object]]:
    """Create an account with a trunk and an invitation.

    Return the account's id, a function that renews the trunk's secret, and one that accepts the invitation.
    """
    with database.transaction() as session:
        account, person = make_main(session)
        trunk = make_trunk(session, account)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invited = invitations.invite(session, person, account, to, Role.ADMINISTRATOR, NOW)
        id, words = account.id, (invited.id, VAULT.token(*invited.words()))
        issue = sip_secrets.issue_of(session.get_one(SipTrunk, trunk))

    def renew() -> None:
        with database.transaction() as session:
            sip_secrets.renew(session, VAULT, person, session.get_one(Account, id), trunk, issue, NOW)

    def accept() -> None:
        with database.transaction() as session:
            found = invitation_acceptance.find_invitation(session, VAULT, *words, NOW, lock=True)
            invitation_acceptance.accept(session, found, PASSWORD, NOW)

    return id, renew, accept


@pytest.mark.parametrize(
    ("action", "module", "midway"),
    [(1, sip_secrets, "new_sip_secret"), (2, invitation_acceptance, "reset_password")],
    ids=["renewing a secret", "accepting an invitation"],
)
def test_what_is_under_way_while_the_account_is_closed_goes_through(
    database: Database, company: tuple[Any, ...], action: int, module: Any, midway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = Event()
    original = getattr(module, midway)

    def wait_for_the_other(*arguments: Any) -> Any:
        reached.set()
        wait_until(lambda: _waiting(database), what="the closing to wait")
        return original(*arguments)

    monkeypatch.setattr(module, midway, wait_for_the_other)

    def close() -> None:
        assert reached.wait(30)
        with database.transaction() as session:
            close_account(session, session.get_one(Account, company[0]), NOW)

    with ThreadPoolExecutor(2) as pool:
        # Neither raises: no deadlock is found.
        for ended in [pool.submit(company[action]), pool.submit(close)]:
            ended.result()
    with database.transaction() as session:
        assert session.get_one(Account, company[0]).state is AccountState.CLOSED
    with pytest.raises(NotFound):
        company[action]()


def _waiting(database: Database) -> bool:
    with database.transaction() as session:
        return bool(session.scalar(WAITING))
