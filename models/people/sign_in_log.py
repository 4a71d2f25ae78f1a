"""Audit entries about access: sign-ins and sign-outs, refused sign-ins and actions, and uses of API tokens.

An entry about a person is recorded in each account in which the person has a role, and in no account if there is none.
It names the network of the address and not the address, because entries of the audit log are never deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.db.caller import Named, name_to_database
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

    `INVITATION`: by the link of an invitation, with which the person has chosen a first password.
    """

    PASSWORD = "password"  # noqa: S105 - a name
    CODE = "code"
    PASSKEY = "passkey"
    INVITATION = "invitation"


class Refused(StrEnum):
    """What was refused.

    `PASSWORD`: a sign-in with a wrong password, or with any password of a person who is shut out. `FACTOR`: a wrong
    second factor after the right password, or of a person who is signed in. `OWN_PASSWORD`: a wrong password of a
    person who is signed in. `PROOF`: an e-mail address and password as proof of the right to an account.
    """

    PASSWORD = "password"  # noqa: S105 - a name
    FACTOR = "factor"
    OWN_PASSWORD = "own_password"  # noqa: S105
    PROOF = "proof"


class SignedOut(StrEnum):
    """Where a person was signed out: in the browser they used, in one other, in all others, or in all browsers.

    `EVERYBODY`: all persons were signed out everywhere.
    """

    HERE = "here"
    ONE = "one"
    OTHERS = "others"
    EVERYWHERE = "everywhere"
    EVERYBODY = "everybody"


def record_sign_in(session: Session, user: User, by: SignedInBy, where: Where, now: datetime) -> None:
    """Record in the audit log that the user has signed in, in the browser `where`."""
    _add(session, user.id, _accounts_of(session, user.id), AuditEvent.SIGNED_IN, {"by": by, **_place(where)}, now)


def record_sign_out(session: Session, user_id: int, what: SignedOut, where: Where | None, now: datetime) -> None:
    """Record in the audit log that the user with this id was signed out.

    `where` is the browser in which the user did it; None if the carrier did it on the command line.
    """
    facts = {"what": what, **(_place(where) if where is not None else {"user_id": user_id})}
    _add(session, user_id, _accounts_of(session, user_id), AuditEvent.SIGNED_OUT, facts, now, by_carrier=where is None)


def note_refused_sign_in(
    session: Session, email: str, why: Refused, where: Where | None, now: datetime, *, is_last: bool = False
) -> None:
    """Record in the audit log that a sign-in as the person with this e-mail address was refused.

    `where` is the browser; None if it is another company's, as of a proof. `is_last`: it was the last try that the
    limits allow for now. At most 20 entries within 24 hours are recorded for one person, and the last of them says so.

    Nothing is recorded for an address that nobody signs in with. The duration does not reveal that: the statements are
    the same, and a row is inserted and rolled back.
    """
    spellings = stored_spellings(email)
    name_to_database(session, Named.EMAIL, *spellings)
    user_id = session.scalar(sa.select(User.id).where(User.email.in_(spellings))) or _NOBODY
    accounts, noted = _accounts_of(session, user_id), _noted(session, user_id, AuditEvent.SIGN_IN_REFUSED, now)
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


def note_refused_right(session: Session, person: Principal, action: str, now: datetime) -> None:
    """Record in the audit log that the person was refused an action for which they lack the right.

    `action` is the HTTP method and the path, without ids that are secret. At most 20 entries within 24 hours are
    recorded for one person, and the last of them says so. What an API token was refused is recorded in its account.
    """
    noted = _noted(session, person.user_id, AuditEvent.RIGHT_REFUSED, now)
    if noted >= MOST_REFUSALS_A_DAY:
        return
    if person.token_account_id is not None:
        accounts = [person.token_account_id]
    else:
        accounts = _accounts_of(session, person.user_id)
    _add(session, person.user_id, accounts, AuditEvent.RIGHT_REFUSED, {"action": action, **_more(noted)}, now)


def record_token_use(
    session: Session, person: Principal, account_id: int, name: str, address: str, now: datetime
) -> None:
    """Record in the audit log that the person's API token, called `name`, was used from this IP address.

    Adds at most one entry for each token, network and day (UTC), so it is safe to run twice.
    """
    use = postgresql.insert(AuditEntry).values(
        account_id=account_id,
        user_id=person.user_id,
        by_staff=False,
        deed=AuditEvent.TOKEN_USED,
        facts={"name": name, "token": person.token_id, "network": network_of(address)},
        at=now,
    )
    session.execute(use.on_conflict_do_nothing())


def network_of(address: str) -> str:
    """Return the network of an IP address, of 24 bits (IPv4) or 48 bits (IPv6): "203.0.113.0/24"; empty if it is none.

    It tells a company from where somebody came, and not which person of a network it was.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(ip_network((found, _NETWORK_BITS[found.version]), strict=False))


def _accounts_of(session: Session, user_id: int) -> list[int]:
    """Return the ids of the accounts in which the user has a role, also of closed ones, the smallest first."""
    query = sa.select(Membership.account_id).where(Membership.user_id == user_id)
    return list(session.scalars(query.order_by(Membership.account_id)))


def _noted(session: Session, user_id: int, deed: AuditEvent, now: datetime) -> int:
    """Return how many refusals of this kind were recorded for the user within the last 24 hours."""
    # One refusal has one entry in each account.
    query = sa.select(sa.func.count(sa.distinct(AuditEntry.at)))
    query = query.where(AuditEntry.user_id == user_id, AuditEntry.deed == deed, AuditEntry.at > now - _DAY)
    return session.scalar(query) or 0


def _more(noted: int) -> dict[str, bool]:
    """Return the fact that further refusals of the day are not recorded, if `noted` ones were recorded before."""
    return {"is_full": True} if noted == MOST_REFUSALS_A_DAY - 1 else {}


def _place(where: Where) -> dict[str, str]:
    return {"browser": where.browser, "network": network_of(where.address)}


def _add(
    session: Session,
    user_id: int,
    accounts: Iterable[int],
    deed: AuditEvent,
    facts: Mapping[str, Any],
    now: datetime,
    *,
    by_carrier: bool = False,
) -> None:
    places: list[int | None] = [*accounts]
    for account_id in places or [None]:
        session.add(
            AuditEntry(
                account_id=account_id,
                user_id=None if by_carrier else user_id,
                by_staff=by_carrier,
                deed=deed,
                facts=dict(facts),
                at=now,
            )
        )
