"""High-risk destinations: satellite networks, shared premium numbers, and countries known for fraud with calls.

Only an administrator may confirm a forwarding to such a destination, or let a trunk call them; the other administrators
are told by mail. The prefixes are stored in a table, which the carrier changes with `standorte destinations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.db.base import Base
from models.errors import InvalidField
from models.messages.outbox import Recipient, queue_message
from models.people.rights import Action, Principal, may
from models.people.users import administrators_of


class HighRiskPrefix(Base):
    """A prefix whose numbers are all high-risk destinations, in E.164 without the plus sign. `reason` says why."""

    __tablename__ = "high_risk_prefixes"

    prefix: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]

    __table_args__ = (sa.CheckConstraint("prefix ~ '^[1-9][0-9]{0,7}$'", name="prefix"),)


def high_risk_prefixes(session: Session) -> Sequence[str]:
    """Return all high-risk prefixes, in E.164 without the plus sign, sorted. Reads them once in each transaction."""
    known: Sequence[str] | None = session.info.get("high_risk_prefixes")
    if known is None:
        known = session.scalars(sa.select(HighRiskPrefix.prefix).order_by(HighRiskPrefix.prefix)).all()
        session.info["high_risk_prefixes"] = known
    return known


def is_high_risk(session: Session, number: str) -> bool:
    """Return whether a number, in E.164 with the plus sign, begins with a prefix of the high-risk destinations."""
    return number.removeprefix("+").startswith(tuple(high_risk_prefixes(session)))


def high_risk_of(session: Session, numbers: Iterable[str]) -> set[str]:
    """Return those of the numbers, in E.164 with the plus sign, that are high-risk destinations."""
    return {number for number in numbers if is_high_risk(session, number)}


def ensure_usual_fallback(session: Session, number: str | None) -> None:
    """Raise `InvalidField` if an order's mobile fallback is a high-risk destination.

    The field is `mobile_number`, the code `high_risk`. `number` is the fallback: the mobile number to which calls go
    while no phone is registered, in E.164 with the plus sign, or None. An order has no form in which an administrator
    could confirm such a number.
    """
    if number is not None and is_high_risk(session, number):
        raise InvalidField("mobile_number", "high_risk")


def ensure_confirmed(
    person: Principal, account: Account, field: str, *, confirmed: bool, about: str | None = None
) -> None:
    """Raise `InvalidField` unless an administrator of the account or its main account confirms a high-risk destination.

    If the person is no such administrator, the error is for the field `field`, with the code `administrator_confirms`.
    If `confirmed` is False, the error is for the field `confirmed`, with the code `high_risk`. It then has `about`,
    such as the number, as the value for the error text.
    """
    if not may(person, Action.ALLOW_DESTINATIONS, account):
        raise InvalidField(field, "administrator_confirms")
    if not confirmed:
        raise InvalidField("confirmed", "high_risk", about)


def tell_administrators(
    session: Session, person: Principal, account: Account, path: str, facts: dict[str, object], now: datetime
) -> None:
    """Queue a mail, to the other administrators, that `person` has allowed a high-risk destination for the account.

    The mail goes to all administrators of the account and of its main account, except `person`. `path` is the URL path
    of the page with the setting. `facts` are further variables of the mail.
    """
    others = {found.id: found for found in administrators_of(session, account.id)}
    if account.main_id is not None:
        others |= {found.id: found for found in administrators_of(session, account.main_id)}
    others.pop(person.user_id, None)
    told = {
        "path": path,
        "name": person.name,
        "customer_number": account.customer_number,
        "account_name": account.name,
        **facts,
    }
    for other in others.values():
        to = Recipient(other.name, other.email, other.locale)
        occasion = f"{account.id}/{now.isoformat()}"
        queue_message(session, None, "high_risk_allowed", to, told, now, occasion=occasion)
