"""Audit entries about access: sign-ins and sign-outs, refused sign-ins and actions, and uses of API tokens.

An entry about a person is added to the log of each account in which the person has a role. If there is no such account,
one entry is added that belongs to no account. An entry with a customer number is added only to the logs of that account
and of its main account. Entries name the network of the IP address and not the address, because entries of the audit
log are never deleted.

Entries are added only after `begin_access_log` was called: a front of an older version does not know these kinds of
entries, and fails on every list that has one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.db.advisory_locks import AdvisoryLock, take_advisory_lock
from models.db.caller import Named, name_to_database
from models.db.session import Database
from models.emails import stored_spellings
from models.messages.outbox import Recipient, queue_message
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.login_changes import Where
from models.people.rights import Principal
from models.people.users import Membership, User

MOST_REFUSALS_A_DAY = 20
"""The most entries of one kind about refusals of one person within 24 hours, so that nobody floods a company's log."""
_DAY = timedelta(days=1)
_NOBODY = 0
# As networks are commonly cut to make an address anonymous.
_NETWORK_BITS = {4: 24, 6: 48}


class SignedInBy(StrEnum):
    """How a person has signed in: with the password alone, or with the password and a code or a passkey.

    `INVITATION`: by the link of an invitation, with which the person has set a first password.
    """

    PASSWORD = "password"  # noqa: S105 - a name
    CODE = "code"
    PASSKEY = "passkey"
    INVITATION = "invitation"


class Refused(StrEnum):
    """The kinds of refused sign-ins and proofs.

    `PASSWORD`: a sign-in with a wrong password, or with any password of a disabled user. `FACTOR`: a wrong second
    factor, after the right password or while signed in. `OWN_PASSWORD`: a wrong password, typed by a person who is
    signed in. `PROOF`: a wrong e-mail address or password as proof of the right to attach an account.
    """

    PASSWORD = "password"  # noqa: S105 - a name
    FACTOR = "factor"
    OWN_PASSWORD = "own_password"  # noqa: S105
    PROOF = "proof"


class SignedOut(StrEnum):
    """The browsers in which a person was signed out: the one they used, one other, all others, or all.

    `EVERYBODY`: all persons were signed out in all browsers.
    """

    HERE = "here"
    ONE = "one"
    OTHERS = "others"
    EVERYWHERE = "everywhere"
    EVERYBODY = "everybody"


def begin_access_log(database: Database, *, begun: bool = True) -> None:
    """Start recording access in the audit log or, if `begun` is False, stop recording it.

    `database` must be connected as the database's owner. Call this when all fronts run this version. Existing entries
    stay. Safe to run twice.
    """
    with database.engine.begin() as connection:
        # Two that replace a function at the same moment fail.
        take_advisory_lock(connection, AdvisoryLock.ROLES)
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION access_log_begun() RETURNS boolean LANGUAGE sql STABLE"
            f" AS 'SELECT {str(begun).lower()}'"
        )


def is_access_log_begun(database: Database) -> bool:
    """Return whether access is recorded in the audit log (`begin_access_log`)."""
    with database.engine.connect() as connection:
        return bool(connection.scalar(sa.select(sa.func.access_log_begun())))


def record_sign_in(session: Session, user: User, by: SignedInBy, where: Where, now: datetime) -> None:
    """Record in the audit log that the user has signed in, in the browser `where`."""
    _add(session, user.id, _accounts_of(session, user.id), AuditEvent.SIGNED_IN, {"by": by, **_place(where)}, now)


def record_sign_out(session: Session, user_id: int, what: SignedOut, where: Where | None, now: datetime) -> None:
    """Record in the audit log that the user with this id was signed out.

    `where` is the browser in which the user asked for it; None if the carrier did it on the command line.
    """
    facts = {"what": what, **(_place(where) if where is not None else {"user_id": user_id})}
    _add(session, user_id, _accounts_of(session, user_id), AuditEvent.SIGNED_OUT, facts, now, by_carrier=where is None)


def note_refused_sign_in(
    session: Session, email: str, why: Refused, where: Where | None, now: datetime, *, is_last: bool = False
) -> None:
    """Record in the audit log that a sign-in as the person with this e-mail address was refused, for the reason `why`.

    `where` is the browser in which it was tried. It is None if another company has typed the address and a password to
    prove its right to the account: the person's company must not see that company's browser. `is_last`: the limits on
    attempts allow no further try for now.

    At most 20 entries for one person and one `why` are recorded within 24 hours; the 20th says that no more follow. The
    limit is for each `why`, so that many tries of one kind do not hide those of another.

    Nothing is recorded for an address without a user. The duration does not reveal this: the same statements run, and a
    row is inserted and rolled back.
    """
    spellings = stored_spellings(email)
    name_to_database(session, Named.EMAIL, *spellings)
    user_id = session.scalar(sa.select(User.id).where(User.email.in_(spellings))) or _NOBODY
    accounts, noted = _accounts_of(session, user_id), _noted(session, user_id, AuditEvent.SIGN_IN_REFUSED, now, why)
    is_wanted = user_id != _NOBODY and noted < MOST_REFUSALS_A_DAY
    with session.begin_nested() as writing:
        if is_wanted:
            facts = {"why": why, **(_place(where) if where is not None else {}), **_more(noted)}
            facts |= {"is_last": True} if is_last else {}
            _add(session, user_id, accounts, AuditEvent.SIGN_IN_REFUSED, facts, now)
        else:
            nobody = Recipient("Nobody", "nobody@invalid", "de")
            queue_message(session, None, "new_sign_in", nobody, {}, now, occasion=secrets.token_hex(), hinted=False)
        session.flush()
        if not is_wanted:
            writing.rollback()


def note_refused_right(
    session: Session, person: Principal, action: str, now: datetime, *, customer_number: str | None = None
) -> None:
    """Record in the audit log that the person was refused an action for which they lack the right.

    `action` is the HTTP method and the path, without ids that are secret. `customer_number` is the one in the path,
    None if there is none. With a customer number, the entry is added only to the logs of that account and its main
    account, and only where the person has a role. This keeps the number from another company or another sub-account. An
    entry about an API token is added only to the log of the token's account.

    At most 20 entries for one person are recorded within 24 hours; the 20th says that no more follow.
    """
    noted = _noted(session, person.user_id, AuditEvent.RIGHT_REFUSED, now)
    if noted >= MOST_REFUSALS_A_DAY:
        return
    own = [person.token_account_id] if person.token_account_id is not None else _accounts_of(session, person.user_id)
    accounts = own if customer_number is None else _concerned(session, own, customer_number)
    # Staff without an account have no account's log.
    if accounts or not own:
        _add(session, person.user_id, accounts, AuditEvent.RIGHT_REFUSED, {"action": action, **_more(noted)}, now)


def record_token_use(
    session: Session, person: Principal, account_id: int, name: str, address: str, now: datetime
) -> None:
    """Record in the audit log that the person's API token, called `name`, was used from this IP address.

    Adds at most one entry for each token, network and day (UTC), so it is safe to run twice.
    """
    facts = {"name": name, "token": person.token_id, "network": network_of(address)}
    use = _entries(person.user_id, [account_id], AuditEvent.TOKEN_USED, facts, now)
    session.execute(use.on_conflict_do_nothing())


def network_of(address: str) -> str:
    """Return the network of an IP address, of 24 bits (IPv4) or 48 bits (IPv6), such as "203.0.113.0/24".

    Returns "" if the text is no IP address. The network shows from which company somebody came, and not which person of
    a network it was.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(ip_network((found, _NETWORK_BITS[found.version]), strict=False))


def _accounts_of(session: Session, user_id: int) -> list[int]:
    """Return the ids of the accounts in which the user has a role, including closed ones, in ascending order."""
    query = sa.select(Membership.account_id).where(Membership.user_id == user_id)
    return list(session.scalars(query.order_by(Membership.account_id)))


def _concerned(session: Session, accounts: Sequence[int], customer_number: str) -> list[int]:
    """Return those of the account ids that are of the account with this customer number, or of its main account."""
    query = sa.select(Account.id, Account.main_id).where(Account.customer_number == customer_number)
    named = {id for row in session.execute(query) for id in row}
    return [id for id in accounts if id in named]


def _noted(session: Session, user_id: int, deed: AuditEvent, now: datetime, why: Refused | None = None) -> int:
    """Return how many refusals of the kind `deed` were recorded for the user in the last 24 hours.

    `why` is the reason that their entries must have; None counts those with any reason.
    """
    # One refusal has one entry in each account.
    query = sa.select(sa.func.count(sa.distinct(AuditEntry.at)))
    query = query.where(AuditEntry.user_id == user_id, AuditEntry.deed == deed, AuditEntry.at > now - _DAY)
    if why is not None:
        query = query.where(AuditEntry.facts["why"].astext == why)
    return session.scalar(query) or 0


def _more(noted: int) -> dict[str, bool]:
    """Return the fact `is_full` for the last entry that the daily limit allows, otherwise an empty dict.

    `noted` is the number of entries recorded before it.
    """
    return {"is_full": True} if noted == MOST_REFUSALS_A_DAY - 1 else {}


def _place(where: Where) -> dict[str, str]:
    return {"browser": where.browser, "network": network_of(where.address)}


def _add(
    session: Session,
    user_id: int,
    accounts: Sequence[int],
    deed: AuditEvent,
    facts: Mapping[str, Any],
    now: datetime,
    *,
    by_carrier: bool = False,
) -> None:
    session.execute(_entries(user_id, accounts or [None], deed, facts, now, by_carrier=by_carrier))


def _entries(
    user_id: int,
    accounts: Sequence[int | None],
    deed: AuditEvent,
    facts: Mapping[str, Any],
    now: datetime,
    *,
    by_carrier: bool = False,
) -> postgresql.Insert:
    """Return an INSERT of audit entries about the user, one for each account id; the id None stands for no account.

    `deed` is the kind of the entries, `facts` are their data by name (JSON values). `by_carrier`: the carrier has acted
    and not the user. The statement inserts nothing until `begin_access_log` was called.
    """
    columns: dict[str, sa.ColumnElement[Any]] = {
        "account_id": sa.func.unnest(sa.literal(list(accounts), postgresql.ARRAY(sa.BigInteger))),
        "user_id": sa.literal(None if by_carrier else user_id, sa.BigInteger),
        "by_staff": sa.literal(by_carrier),
        "deed": sa.literal(deed, AuditEntry.deed.type),
        "facts": sa.literal(dict(facts), postgresql.JSONB),
        "at": sa.literal(now, AuditEntry.at.type),
    }
    rows = sa.select(*columns.values()).where(sa.func.access_log_begun(type_=sa.Boolean))
    return postgresql.insert(AuditEntry).from_select(list(columns), rows)
