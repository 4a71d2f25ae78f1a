"""Tests that a trunk is due to be written to the registrar at once after a change, despite earlier failures."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from models.db.session import Database
from models.links.account_closing import close_account
from models.orders.number_release import release_numbers
from models.telephony.forwarding import Condition, ForwardingDraft
from models.telephony.forwarding_changes import add_forwarding
from models.telephony.sip_secrets import issue_of, renew
from models.telephony.suspension import resume, resume_for_carrier, suspend, suspend_for_carrier
from models.telephony.trunks import SipTrunk, SuspendedBy
from tests.factories import NOW, VAULT
from tests.models.telephony.conftest import Company

LATER = NOW + timedelta(hours=1)
Change = Callable[[Session, Company, SipTrunk], object]


def _suspended(trunk: SipTrunk, by: SuspendedBy) -> str:
    trunk.suspend(by, NOW, "Rechnung offen" if by is SuspendedBy.CARRIER else None)
    return trunk.sip_user


def _lifted(session: Session, company: Company, trunk: SipTrunk) -> None:
    _suspended(trunk, SuspendedBy.CUSTOMER)
    session.flush()
    _failed(trunk)
    session.flush()
    resume(session, company.person, company.account(session), trunk.id, LATER)


def _lifted_by_carrier(session: Session, _company: Company, trunk: SipTrunk) -> None:
    sip_user = _suspended(trunk, SuspendedBy.CARRIER)
    _failed(trunk)
    session.flush()
    resume_for_carrier(session, sip_user, LATER)


def _failed(trunk: SipTrunk) -> None:
    """Make the trunk look as if many writes to the registrar had failed, and a worker had claimed it for an hour."""
    trunk.attempts, trunk.lease, trunk.due_at = 12, uuid.uuid4(), LATER + timedelta(hours=1)


CHANGES: dict[str, Change] = {
    "suspended": lambda session, company, trunk: suspend(
        session, company.person, company.account(session), trunk.id, LATER
    ),
    "resumed": _lifted,
    "suspended by the carrier": lambda session, _, trunk: suspend_for_carrier(session, trunk.sip_user, "Betrug", LATER),
    "resumed by the carrier": _lifted_by_carrier,
    "new secret": lambda session, company, trunk: renew(
        session, VAULT, company.person, company.account(session), trunk.id, issue_of(trunk), LATER
    ),
    "numbers given back": lambda session, company, _: release_numbers(
        session, company.person, company.account(session), company.one, LATER
    ),
    "forwarded": lambda session, company, _: add_forwarding(
        session, company.person, company.account(session), ForwardingDraft(Condition.BUSY, "0171 1234567"), LATER
    ),
    "account closed": lambda session, company, _: close_account(session, company.account(session), LATER),
}


@pytest.mark.parametrize("change", list(CHANGES.values()), ids=list(CHANGES))
def test_the_registrar_is_told_at_once_whatever_failed_before(database: Database, change: Change) -> None:
    with database.transaction() as session:
        company = Company(session)
        _failed(session.get_one(SipTrunk, company.trunk))
    with database.transaction() as session:
        change(session, company, session.get_one(SipTrunk, company.trunk))
    with database.transaction() as session:
        trunk = session.get_one(SipTrunk, company.trunk)
        assert (trunk.attempts, trunk.lease, trunk.due_at) == (0, None, LATER)
