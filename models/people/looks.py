"""Audit entries about views: a person was shown an account or a request, by the main account's rights or as staff.

Only the first view within an hour is recorded, so that somebody who works on an account does not flood the log.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Action, Principal, only_as_staff, through_main
from models.people.users import Membership

MOST_FOUND = 5
"""If a search by staff finds more accounts than this, it is not recorded as a view of each account."""


def record_look(session: Session, person: Principal, account: Account, now: datetime) -> None:
    """Record in the audit log that a person viewed the account by a role in its main account or as the carrier's staff.

    Adds at most one entry for each person, account and hour, so it is safe to run twice. Does nothing if the person may
    view the account by a role in the account itself.
    """
    through = through_main(person, Action.VIEW, account)
    by_staff = only_as_staff(person, Action.VIEW, account)
    if through is not None or by_staff:
        _add_look(session, person, account, AuditEvent.LOOKED_IN, now, {}, through=through)


def record_request_look(
    session: Session, staff: Principal, main: Account, id: uuid.UUID, customer_number: str, now: datetime
) -> None:
    """Record in the main account's audit log that one of the carrier's staff was shown the request `id`.

    The request belongs to `main` and concerns the account with this customer number. Adds at most one entry for each
    person, request and hour, so it is safe to run twice. Does nothing if the person may view the main account by a role
    of their own.
    """
    if only_as_staff(staff, Action.VIEW, main):
        facts = {"request": str(id), "customer_number": customer_number}
        _add_look(session, staff, main, AuditEvent.REQUEST_SEEN, now, facts, through=None)


def record_found(session: Session, staff: Principal, accounts: Iterable[Account], now: datetime) -> None:
    """Record in the audit logs of these accounts that a search showed them to one of the carrier's staff.

    Does nothing if they are more than five (`MOST_FOUND`). Leaves out the accounts that the person may view by a role
    of their own. Adds at most one entry for each person, account and hour, so it is safe to run twice.
    """
    by_id = {account.id: account for account in accounts}
    if len(by_id) <= MOST_FOUND:
        # In this order, so that two searches at once wait for each other instead of blocking each other.
        _add_found(session, staff, [account for _, account in sorted(by_id.items())], now)


def record_person_look(session: Session, staff: Principal, user_id: int, now: datetime) -> None:
    """Record in the audit log of each account of this user that one of the carrier's staff was shown the user.

    Leaves out the accounts that the member of staff may view by a role of their own. Adds at most one entry for each
    person, account and hour, so it is safe to run twice.
    """
    accounts = sa.select(Account).join(Membership, Membership.account_id == Account.id)
    _add_found(session, staff, session.scalars(accounts.where(Membership.user_id == user_id).order_by(Account.id)), now)


def _add_found(session: Session, staff: Principal, accounts: Iterable[Account], now: datetime) -> None:
    for account in accounts:
        if only_as_staff(staff, Action.VIEW, account):
            _add_look(session, staff, account, AuditEvent.FOUND_IN_SEARCH, now, {}, through=None)


def _add_look(
    session: Session,
    person: Principal,
    account: Account,
    deed: AuditEvent,
    now: datetime,
    facts: Mapping[str, Any],
    *,
    through: int | None,
) -> None:
    values: dict[str, sa.ColumnElement[Any]] = {
        "account_id": sa.literal(account.id, sa.BigInteger),
        "user_id": sa.literal(person.user_id, sa.BigInteger),
        "through_id": sa.literal(through, sa.BigInteger),
        "by_staff": sa.literal(through is None),
        "deed": sa.literal(deed, AuditEntry.deed.type),
        "facts": sa.literal(dict(facts), postgresql.JSONB),
        "at": sa.literal(now, AuditEntry.at.type),
    }
    rows = sa.select(*values.values())
    if deed is not AuditEvent.LOOKED_IN:
        # As of sign-ins (`models.people.sign_in_log`): a front of the version before does not know these kinds.
        rows = rows.where(sa.func.access_log_begun(type_=sa.Boolean))
    look = postgresql.insert(AuditEntry).from_select(list(values), rows)
    session.execute(look.on_conflict_do_nothing())
