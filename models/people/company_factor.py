"""The requirement of a company that each user of its account and of its sub-accounts has a second factor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import end_of_day, last_day
from models.errors import FactorNeeded, OfMainAccount
from models.messages.outbox import Recipient, queue_message
from models.people.audit_log import AuditEvent, record
from models.people.invitations import lock_users
from models.people.repeated_deeds import ensure_not_repeated
from models.people.rights import Action, Principal
from models.people.second_factors import factors_of, has_factor
from models.people.users import Membership, User

GRACE = timedelta(days=14)
"""The grace period, after a company has required a second factor, in which people still sign in without one.

It ends with the end of its last day.
"""


def people_concerned(session: Session, account: Account) -> tuple[int, Sequence[User]]:
    """Return how many users the account and its sub-accounts have, and those of them without a second factor.

    The users without one are sorted by name. A user counts once, even with roles in several of these accounts.
    """
    ids = (
        sa.select(Membership.user_id)
        .join(Account, Account.id == Membership.account_id)
        .where(sa.or_(Account.id == account.id, Account.main_id == account.id))
    )
    count = session.scalar(sa.select(sa.func.count(sa.distinct(ids.subquery().c.user_id)))) or 0
    lacking = sa.select(User).where(User.id.in_(ids), ~has_factor(User.id)).order_by(User.name, User.id)
    return count, session.scalars(lacking).all()


def demand_factor(session: Session, person: Principal, account: Account, now: datetime) -> None:
    """Require a second factor of each user of the account and of its sub-accounts, after a grace period of 14 days.

    Locks the account and records the requirement in its audit log. Users without a factor are told the last day of the
    grace period by mail. Safe to run twice: the first grace period stays. Raises `Forbidden` if `person` may not manage
    the account's users, and `OfMainAccount` if the account is a sub-account (only its main account can require this).
    Raises `FactorNeeded` if `person` has no second factor, so that nobody locks themselves out, and `TooEarly` if
    `person` has required it ten times within 24 hours.
    """
    person = lock_users(session, person, account, Action.MANAGE_USERS)
    if account.main_id is not None:
        raise OfMainAccount
    if not factors_of(session, person.user_id):
        raise FactorNeeded
    if account.factor_required_from is None:
        ensure_not_repeated(session, person, account, AuditEvent.FACTOR_DEMANDED, now)
        account.factor_required_from = end_of_day(now + GRACE)
        facts = {"day": last_day(account.factor_required_from).isoformat()}
        record(session, person, account, AuditEvent.FACTOR_DEMANDED, Action.MANAGE_USERS, now, facts)
        _tell(session, account, account.factor_required_from, now)


def stop_demanding_factor(session: Session, person: Principal, account: Account, now: datetime) -> None:
    """Stop requiring a second factor of the users of the account and of its sub-accounts. Safe to run twice.

    Locks the account and records the change in its audit log. If a factor is required again later, a new grace period
    of 14 days begins, since people may have removed their factors. Raises `Forbidden` if `person` may not manage the
    account's users, and `FactorNeeded` if `person` has no second factor: nobody may lift the requirement to escape it.
    """
    person = lock_users(session, person, account, Action.MANAGE_USERS)
    if not factors_of(session, person.user_id):
        raise FactorNeeded
    if account.factor_required_from is not None:
        account.factor_required_from = None
        record(session, person, account, AuditEvent.FACTOR_NOT_DEMANDED, Action.MANAGE_USERS, now)


def _tell(session: Session, account: Account, until: datetime, now: datetime) -> None:
    """Queue a mail to each user of the account and its sub-accounts who has no second factor yet.

    `until` is the end of the grace period; the mail names its day as the last one without a factor.
    """
    facts = {
        "customer_number": account.customer_number,
        "account_name": account.name,
        "until": until.isoformat(),
        "path": "/anmeldung",
    }
    for user in people_concerned(session, account)[1]:
        to = Recipient(user.name, user.email, user.locale)
        queue_message(session, None, "factor_demanded", to, facts, now, occasion=f"{account.id} {now.isoformat()}")
