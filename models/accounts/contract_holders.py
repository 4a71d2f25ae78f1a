"""Contract holders: the company or person with whom the carrier has an account's contracts (§ 172 TKG).

A sub-account that its main account has ordered shares the main account's contract holder. Every other account has its
own, even while it is linked to a main account: linking changes no contract.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.calendar_days import read_day
from models.contracts.contracts import Contract
from models.db.base import Base, enumeration
from models.errors import InvalidField
from models.name_rules import name_fault
from models.retention import start_of_last_year
from models.states import AccountState, Origin

LONGEST = 200
"""Maximum length of each field of a contract holder, in characters."""
FIELDS = ("name", "form", "register_number", "born_on", "street", "postal_code", "city")
OWNER = """
    CASE WHEN account.origin = 'order' THEN account.main_id
         WHEN account.state = 'ordered' THEN coalesce(
             (SELECT main_id FROM requests WHERE account_id = account.id AND kind = 'order' LIMIT 1), account.id)
         ELSE account.id END
"""
"""SQL for the id of the account under which the contract holder of the row `account` is saved.

It is the main account's id if the main account ordered the account, otherwise the account's own id.
"""
OWNED = "(SELECT id FROM accounts WHERE id = :account_id OR (main_id = :account_id AND origin = 'order'))"
"""SQL for the ids of the accounts that share the contract holder of the account with the id `:account_id`.

They are this account and the sub-accounts that it has ordered.
"""

_POSTAL_CODE = re.compile(r"[A-Z0-9][A-Z0-9 -]{2,11}")


class LegalForm(StrEnum):
    """The legal form of a contract holder: a company with register number, a person with date of birth, or other."""

    COMPANY = "company"
    PERSON = "person"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class HolderData:
    """A contract holder's data, typed and checked: legal name, legal form and address.

    Only a company has a register number, and only a person a date of birth (`born_on`); None for other legal forms.
    """

    name: str
    form: LegalForm
    register_number: str | None
    born_on: date | None
    street: str
    postal_code: str
    city: str


class ContractHolder(Base):
    """The contract holder of an account, last changed at `changed_at`.

    Only a registered company has a `register_number`, and only a natural person a date of birth (`born_on`); null for
    other legal forms.
    """

    __tablename__ = "contract_holders"

    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    name: Mapped[str]
    form: Mapped[LegalForm] = mapped_column(enumeration(LegalForm, "form"))
    register_number: Mapped[str | None]
    born_on: Mapped[date | None] = mapped_column(sa.Date)
    street: Mapped[str]
    postal_code: Mapped[str]
    city: Mapped[str]
    changed_at: Mapped[datetime]

    __table_args__ = (
        sa.CheckConstraint("(form = 'company') = (register_number IS NOT NULL)", name="company_has_number"),
        sa.CheckConstraint("(form = 'person') = (born_on IS NOT NULL)", name="person_has_birth"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition for rows that may be deleted: closed accounts whose contracts ended before last year.

        So a holder is kept to the end of the calendar year (in Berlin) after the year in which the last contract ended.
        """
        closed = sa.exists().where(Account.id == cls.account_id, Account.state == AccountState.CLOSED)
        runs = sa.or_(Contract.ended_at.is_(None), Contract.ended_at >= start_of_last_year(now))
        return closed & ~sa.exists().where(Contract.account_id == cls.account_id, runs)

    @property
    def data(self) -> HolderData:
        """Return the holder's name, legal form, register number, date of birth and address, without the account."""
        return HolderData(**{name: getattr(self, name) for name in FIELDS})


@dataclass(frozen=True, slots=True)
class Addressee:
    """The name and address at the head of an offer, a receipt or a letter."""

    name: str
    street: str
    postal_code: str
    city: str


def check_holder(values: Mapping[str, str], today: date) -> HolderData | list[InvalidField]:
    """Check a typed contract holder; return it in canonical form, or one error for each problem found.

    `values` are the typed texts by the names in `FIELDS`; a missing text counts as empty. A register number is kept
    only for a company, a date of birth only for a person. The date of birth may be typed as 31.12.1980 or 1980-12-31,
    and must lie between 1900 and `today`.
    """
    problems: list[InvalidField] = []
    clean = {name: " ".join(values.get(name, "").split()) for name in FIELDS}
    needed = {"name", "form", "street", "postal_code", "city"}
    needed |= {"company": {"register_number"}, "person": {"born_on"}}.get(clean["form"], set())
    for name in FIELDS:
        if name in needed and not clean[name]:
            problems.append(InvalidField(name, "missing"))
        elif name in needed and len(clean[name]) > LONGEST:
            problems.append(InvalidField(name, "too_long", LONGEST))
        elif name in needed and (fault := name_fault(clean[name])) is not None:
            problems.append(InvalidField(name, fault.code, fault.character))
    wrong = {problem.field for problem in problems}
    form = clean["form"]
    if "form" not in wrong and form not in set(LegalForm):
        problems.append(InvalidField("form", "unknown_form", tuple(LegalForm)))
    if "postal_code" not in wrong and not _POSTAL_CODE.fullmatch(clean["postal_code"].upper()):
        problems.append(InvalidField("postal_code", "not_a_postal_code"))
    born_on = read_day(clean["born_on"]) if "born_on" in needed and "born_on" not in wrong else None
    if "born_on" in needed - wrong and (born_on is None or not date(1900, 1, 1) <= born_on <= today):
        problems.append(InvalidField("born_on", "not_a_birth_date"))
    if problems:
        return problems
    return HolderData(
        name=clean["name"],
        form=LegalForm(form),
        register_number=clean["register_number"] if form == LegalForm.COMPANY else None,
        born_on=born_on,
        street=clean["street"],
        postal_code=clean["postal_code"].upper(),
        city=clean["city"],
    )


def has_own_holder(account: Account) -> bool:
    """Return whether the account has a contract holder of its own, rather than that of its main account.

    False if its main account has ordered it, also while the order is still running.
    """
    return account.origin is not Origin.ORDER and account.state is not AccountState.ORDERED


def holder_of(session: Session, account: Account) -> ContractHolder | None:
    """Return the contract holder of an account: its own, or that of the main account that has ordered it.

    Returns None if no holder was entered, or if an ordered account is not attached to its main account yet. Cached in
    the session, so that each holder is read once.
    """
    read_holders(session, [account])
    return _known_holders(session)[_holding_account(account)]


def read_holders(session: Session, accounts: Iterable[Account]) -> None:
    """Read the contract holders of several accounts with one statement, so that `holder_of` needs no further query."""
    known = _known_holders(session)
    if owners := {_holding_account(account) for account in accounts} - known.keys():
        found = session.scalars(sa.select(ContractHolder).where(ContractHolder.account_id.in_(owners)))
        known |= dict.fromkeys(owners) | {holder.account_id: holder for holder in found}


def _known_holders(session: Session) -> dict[int, ContractHolder | None]:
    known: dict[int, ContractHolder | None] = session.info.setdefault("contract_holders", {})
    return known


def _holding_account(account: Account) -> int:
    """Return the id of the account under which the contract holder of `account` is saved.

    It is the main account's id if the main account has ordered the account, otherwise the account's own.
    """
    return account.id if has_own_holder(account) else account.main_id or account.id


def addressee_of(session: Session, account: Account) -> Addressee:
    """Return the name and address for the head of an offer, a receipt or a letter to the account.

    They are those of the account's contract holder, or of the account itself if no holder was entered.
    """
    found = holder_of(session, account) or account
    return Addressee(found.name, found.street, found.postal_code, found.city)


def put_holder(session: Session, account_id: int, data: HolderData, now: datetime) -> None:
    """Save the contract holder of an account, replacing an earlier one, and flush.

    `account_id` is an account with a holder of its own. Checks no right, and does not update the history of numbers:
    both are up to the caller.
    """
    facts = {name: getattr(data, name) for name in FIELDS}
    session.merge(ContractHolder(account_id=account_id, changed_at=now, **facts))
    session.flush()
    session.info.pop("contract_holders", None)


def accounts_without_holder(session: Session) -> int:
    """Count the active accounts that need a contract holder of their own and have none.

    Accounts that were ordered by a main account do not count: they share the main account's holder.
    """
    lacking = sa.select(sa.func.count()).where(
        Account.state == AccountState.ACTIVE,
        Account.origin.is_distinct_from(Origin.ORDER),
        sa.not_(sa.exists().where(ContractHolder.account_id == Account.id)),
    )
    return session.scalar(lacking) or 0
