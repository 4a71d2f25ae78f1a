"""Fixtures of the telephony tests: an account with a trunk, a contract, numbers and an administrator."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.contracts import ContractItem
from models.db.session import Database
from models.people.audit_log import AuditEntry, AuditEvent
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from tests.factories import NOW, make_main
from tests.web.portal.accounts.sites import make_trunk

LATER = NOW + timedelta(hours=1)
MONTHLY = {"trunk-10": 2990, "block-10": 290, "block-1": 100}


class Company:
    """An account with a contract, a trunk, a block of ten numbers, a single number, and an administrator.

    `person` is the administrator, `number` the customer number. `id`, `trunk`, `contract`, `ten` and `one` are the row
    ids of the account, the trunk, the contract and the two number blocks. If a test has several companies, each needs
    its own `place`, from 0 on, which decides its numbers and SIP user.
    """

    def __init__(self, session: Session, place: int = 0) -> None:
        account, self.person = make_main(session, name="Filiale Köln")
        self.id, self.number = account.id, account.customer_number
        self.trunk = make_trunk(session, account, f"t{place + 1:012d}")
        self.contract = session.get_one(SipTrunk, self.trunk).contract_id
        for key, cents in MONTHLY.items():
            facts = {"product_key": key, "monthly_cents": cents, "one_off_cents": 0}
            session.add(ContractItem(contract_id=self.contract, **facts))
        first = 493050000000 + 20 * place
        self.ten, self.one = (self.give(session, first, 10), self.give(session, first + 10, 1))

    def give(self, session: Session, first: int, size: int) -> int:
        """Add a number block to the account and its trunk; return the block's id.

        `first` is the block's first number (E.164, as an integer), `size` how many numbers it has.
        """
        facts = {"area_code": "030", "first_number": first, "size": size, "trunk_id": self.trunk}
        block = NumberBlock(account_id=self.id, available_from=NOW, **facts)
        session.add(block)
        session.flush()
        return block.id

    def account(self, session: Session) -> Account:
        """Return the account, loaded in the given session."""
        return session.get_one(Account, self.id)


@pytest.fixture
def company(database: Database) -> Company:
    """Create a `Company`: an account with a trunk, a contract, numbers and an administrator."""
    with database.transaction() as session:
        return Company(session)


def state(database: Database, company: Company) -> tuple[TrunkState, bool]:
    """Return the state of the company's trunk, and whether it was due to be written to the registrar.

    Afterwards the trunk is no longer due.
    """
    with database.transaction() as session:
        trunk = session.get_one(SipTrunk, company.trunk)
        is_due = trunk.due_at is not None
        trunk.rest()
        return trunk.state, is_due


def deeds(session: Session) -> list[tuple[AuditEvent, int | None, dict[str, Any]]]:
    """Return event, user id (None: no user) and facts of every entry in the audit log, the oldest first."""
    entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
    return [(entry.deed, entry.user_id, entry.facts) for entry in entries]
