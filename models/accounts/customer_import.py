"""Import of the carrier's existing customers: validation of one row, and saving of a batch of rows.

A new customer number becomes an account with its administrator. For an existing account only name and contact are
updated from the file. Its address stays, because the address decides area code and emergency routing and changes only
with a proof; its role, its users and its contract holder stay, because the customer manages them. A contract holder is
taken from the file where the account has none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.contract_holders import FIELDS, HolderData, check_holder
from models.db.advisory_locks import AdvisoryLock, take_advisory_lock
from models.emails import BadEmail, typed_email
from models.errors import InvalidField
from models.phone_numbers import BadPhoneNumber, typed_contact_number
from models.printable_text import unprintable
from models.states import AccountState
from models.values import CUSTOMER_NUMBER, POSTAL_CODE

REQUIRED = (
    "customer_number",
    "name",
    "street",
    "postal_code",
    "city",
    "contact_name",
    "contact_email",
    "contact_phone",
)
OPTIONAL = ("admin_email", "admin_name")
"""The columns for the account's administrator, who chooses a password later. If empty, the contact is administrator."""
HOLDER = tuple(f"holder_{name}" for name in FIELDS)
"""The columns for the contract holder. If all are empty, no holder is saved.

If only its address is empty, the account's address is used.
"""
COLUMNS = (*REQUIRED, *OPTIONAL, *HOLDER)
LONGEST = 200
"""Maximum length of one value, in characters."""

_ADDRESS = ("street", "postal_code", "city")
# Control characters, and the surrogates that stand for bytes which are invalid in the file's encoding.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\udc80-\udcff]")


class Fate(StrEnum):
    """The result of importing a valid row, for the account with the row's customer number.

    The account was `created`, `updated` or left `unchanged`, or the row was not imported: `ordered_here` if the account
    was ordered in the portal, `closed` if it is closed, and `number_used_up` if the customer number was issued before
    but no account has it.
    """

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    ORDERED_HERE = "ordered_here"
    CLOSED = "closed"
    NUMBER_USED_UP = "number_used_up"


REFUSED: frozenset[Fate] = frozenset({Fate.ORDERED_HERE, Fate.CLOSED, Fate.NUMBER_USED_UP})
"""Results of valid rows that were not imported."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One customer of the import file, validated and in canonical form; `holder` is None if the row has no holder."""

    customer_number: str
    name: str
    street: str
    postal_code: str
    city: str
    contact_name: str
    contact_email: str
    contact_phone: str | None
    admin_email: str
    admin_name: str
    holder: HolderData | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of importing one row: `fate` says what happened to the account with the row's customer number.

    `address_kept`: the file's address differs from the account's, and the account kept its own.
    """

    fate: Fate
    address_kept: bool = False


def account_row(values: Mapping[str, str], today: date) -> AccountRow | list[InvalidField]:
    """Validate one row of the import file; return the row in canonical form, or one error for each problem found.

    `values` are the row's texts by column name; a missing column counts as empty. `today` is the latest date of birth
    that is accepted.
    """
    problems: list[InvalidField] = []
    clean: dict[str, str] = {}
    for column in COLUMNS:
        clean[column] = _text(column, values.get(column, ""), problems)
    clean["admin_email"] = clean["admin_email"] or clean["contact_email"]
    clean["admin_name"] = clean["admin_name"] or clean["contact_name"]
    for column in REQUIRED[:-1]:
        if not clean[column] and not any(problem.field == column for problem in problems):
            problems.append(InvalidField(column, "missing"))
    if clean["customer_number"] and not CUSTOMER_NUMBER.fullmatch(clean["customer_number"]):
        problems.append(InvalidField("customer_number", "not_seven_digits"))
    if clean["postal_code"] and not POSTAL_CODE.fullmatch(clean["postal_code"]):
        problems.append(InvalidField("postal_code", "not_five_digits"))
    contact_email = _email("contact_email", clean["contact_email"], problems)
    admin_email = (
        contact_email
        if clean["admin_email"] == clean["contact_email"]
        else _email("admin_email", clean["admin_email"], problems)
    )
    phone = _phone("contact_phone", clean["contact_phone"], problems)
    holder = _holder(clean, today, problems)
    if problems:
        return problems
    return AccountRow(
        **{column: clean[column] for column in REQUIRED[:6]},
        contact_email=contact_email,
        contact_phone=phone,
        admin_email=admin_email,
        admin_name=clean["admin_name"],
        holder=holder,
    )


def take_over(session: Session, rows: Sequence[AccountRow], now: datetime) -> list[Taken]:
    """Import a batch of rows and return the result of each row, in the order of `rows`; `now` dates what is changed.

    The audit log gets an entry for each account that is created or updated.

    A customer number must not occur twice in a batch. Safe to run twice: a second import of equal rows changes nothing.
    The number of SQL statements does not depend on the number of rows. Takes an advisory lock, held until the
    transaction ends, so that only one transaction imports customers at a time.
    """
    # One batch at a time, so that two imports of the same customers wait for each other and never deadlock.
    take_advisory_lock(session, AdvisoryLock.CUSTOMER_IMPORT)
    arrays = _arrays(rows)
    issued = set(session.scalars(_ISSUE, arrays))
    if issued:
        _create(session, [row for row in rows if row.customer_number in issued], now)
    with_holder = _put_holders(session, [row for row in rows if row.holder is not None], now)
    if len(issued) == len(rows):
        return [Taken(Fate.CREATED)] * len(rows)
    updated = {*session.scalars(_FOLLOW, {**arrays, "now": now}), *with_holder}
    known = {account.customer_number: account for account in session.execute(_KNOWN, arrays)}
    return [
        Taken(Fate.CREATED)
        if row.customer_number in issued
        else _follow(row, known.get(row.customer_number), row.customer_number in updated)
        for row in rows
    ]


def _follow(row: AccountRow, account: sa.Row[Any] | None, updated: bool) -> Taken:
    if account is None:
        return Taken(Fate.NUMBER_USED_UP)
    if account.ordered_here:
        return Taken(Fate.ORDERED_HERE)
    if account.state == AccountState.CLOSED:
        return Taken(Fate.CLOSED)
    moved = any(getattr(account, column) != getattr(row, column) for column in ("street", "postal_code", "city"))
    return Taken(Fate.UPDATED if updated else Fate.UNCHANGED, address_kept=moved)


def _create(session: Session, rows: Sequence[AccountRow], now: datetime) -> None:
    arrays = _arrays(rows)
    session.execute(_INSERT_ACCOUNTS, {**arrays, "now": now})
    names = {row.admin_email: row.admin_name for row in rows}
    emails = sorted(names)
    session.execute(_INSERT_USERS, {"email": emails, "name": [names[email] for email in emails], "now": now})
    session.execute(_INSERT_ADMINISTRATORS, arrays)


def _put_holders(session: Session, rows: Sequence[AccountRow], now: datetime) -> set[str]:
    """Save the rows' contract holders for accounts that have none; return the customer numbers of these accounts.

    Each row must have a `holder`. Accounts that are not active or were ordered in the portal are skipped.
    """
    if not rows:
        return set()
    arrays: dict[str, list[Any]] = {name: [getattr(row.holder, name) for row in rows] for name in FIELDS}
    arrays["customer_number"] = [row.customer_number for row in rows]
    return set(session.scalars(_INSERT_HOLDERS, {**arrays, "now": now}))


def _holder(clean: Mapping[str, str], today: date, problems: list[InvalidField]) -> HolderData | None:
    typed = {name: clean[f"holder_{name}"] for name in FIELDS}
    if not any(typed.values()):
        return None
    if not any(typed[name] for name in _ADDRESS):
        typed |= {name: clean[name] for name in _ADDRESS}
    found = check_holder(typed, today)
    if isinstance(found, HolderData):
        return found
    # A text that was refused above is empty here.
    named = {problem.field for problem in problems}
    wrong = (InvalidField(f"holder_{problem.field}", problem.code, problem.allowed) for problem in found)
    problems.extend(problem for problem in wrong if problem.field not in named)
    return None


def _text(column: str, value: str, problems: list[InvalidField]) -> str:
    if _UNREADABLE.search(value):
        problems.append(InvalidField(column, "unreadable_character"))
        return ""
    text = " ".join(value.split())
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        if character := unprintable(text):
            problems.append(InvalidField(column, "unprintable", character))
            return ""
    if len(text) > LONGEST:
        problems.append(InvalidField(column, "too_long", LONGEST))
        return ""
    return text


def _email(column: str, value: str, problems: list[InvalidField]) -> str:
    if not value:
        return ""
    try:
        return typed_email(value).lower()
    except BadEmail as error:
        problems.append(InvalidField(column, error.code))
        return ""


def _phone(column: str, value: str, problems: list[InvalidField]) -> str | None:
    if not value:
        return None
    try:
        return typed_contact_number(value)
    except BadPhoneNumber as error:
        problems.append(InvalidField(column, error.code))
        return None


def _arrays(rows: Sequence[AccountRow]) -> dict[str, list[str | None]]:
    # One array for each column, so that the text and the plan of the statements do not depend on the number of rows.
    return {column: [getattr(row, column) for row in rows] for column in (*REQUIRED, *OPTIONAL)}


_ISSUE = sa.text("""
    INSERT INTO customer_numbers (number) SELECT unnest(CAST(:customer_number AS text[]))
    ON CONFLICT DO NOTHING RETURNING number
""")
_INSERT_ACCOUNTS = sa.text("""
    WITH created AS (
        INSERT INTO accounts (customer_number, name, street, postal_code, city, contact_name, contact_email,
                              contact_phone, role, state, created_at)
        SELECT incoming.*, 'standalone', 'active', :now
        FROM unnest(CAST(:customer_number AS text[]), CAST(:name AS text[]), CAST(:street AS text[]),
                    CAST(:postal_code AS text[]), CAST(:city AS text[]), CAST(:contact_name AS text[]),
                    CAST(:contact_email AS text[]), CAST(:contact_phone AS text[])) AS incoming
        RETURNING id
    )
    INSERT INTO audit_entries (account_id, by_staff, deed, facts, at)
    SELECT id, true, 'account_created', '{"imported": true}', :now FROM created
""")
_INSERT_USERS = sa.text("""
    INSERT INTO users (email, name, locale, is_staff, created_at)
    SELECT email, name, 'de', false, :now
    FROM unnest(CAST(:email AS text[]), CAST(:name AS text[])) AS incoming (email, name)
    ON CONFLICT (email) DO NOTHING
""")
_INSERT_ADMINISTRATORS = sa.text("""
    INSERT INTO memberships (user_id, account_id, role)
    SELECT users.id, accounts.id, 'administrator'
    FROM unnest(CAST(:customer_number AS text[]), CAST(:admin_email AS text[])) AS incoming (number, email)
    JOIN users USING (email)
    JOIN accounts ON accounts.customer_number = incoming.number
""")
_INSERT_HOLDERS = sa.text("""
    WITH entered AS (
        INSERT INTO contract_holders (account_id, name, form, register_number, born_on, street, postal_code, city,
                                      changed_at)
        SELECT accounts.id, incoming.name, form, register_number, born_on, incoming.street, incoming.postal_code,
               incoming.city, :now
        FROM unnest(CAST(:customer_number AS text[]), CAST(:name AS text[]), CAST(:form AS text[]),
                    CAST(:register_number AS text[]), CAST(:born_on AS date[]), CAST(:street AS text[]),
                    CAST(:postal_code AS text[]), CAST(:city AS text[]))
             AS incoming (number, name, form, register_number, born_on, street, postal_code, city)
        JOIN accounts ON accounts.customer_number = incoming.number
        WHERE accounts.state = 'active'
          AND NOT EXISTS (SELECT FROM requests WHERE account_id = accounts.id AND kind = 'order')
        ON CONFLICT DO NOTHING
        RETURNING account_id, name
    ), logged AS (
        INSERT INTO audit_entries (account_id, by_staff, deed, facts, at)
        SELECT account_id, true, 'holder_changed', jsonb_build_object('name', name, 'before', NULL), :now
        FROM entered
    )
    SELECT customer_number FROM accounts JOIN entered ON account_id = id
""")
_FOLLOW = sa.text("""
    WITH changed AS (
        UPDATE accounts
        SET name = incoming.name, contact_name = incoming.contact_name,
            contact_email = incoming.contact_email, contact_phone = incoming.contact_phone
        FROM unnest(CAST(:customer_number AS text[]), CAST(:name AS text[]), CAST(:contact_name AS text[]),
                    CAST(:contact_email AS text[]), CAST(:contact_phone AS text[]))
             AS incoming (number, name, contact_name, contact_email, contact_phone)
        JOIN accounts AS before ON before.customer_number = incoming.number
        WHERE accounts.id = before.id
          AND accounts.state <> 'closed'
          AND NOT EXISTS (SELECT FROM requests WHERE account_id = accounts.id AND kind = 'order')
          AND (accounts.name, accounts.contact_name, accounts.contact_email, accounts.contact_phone)
              IS DISTINCT FROM
              (incoming.name, incoming.contact_name, incoming.contact_email, incoming.contact_phone)
        RETURNING accounts.id, accounts.customer_number, accounts.name, before.name AS name_before,
                  (accounts.contact_name, accounts.contact_email, accounts.contact_phone)
                  IS DISTINCT FROM (before.contact_name, before.contact_email, before.contact_phone) AS has_contact
    ), logged AS (
        INSERT INTO audit_entries (account_id, by_staff, deed, facts, at)
        SELECT id, true, 'account_updated',
               jsonb_build_object('contact', has_contact)
               || CASE WHEN name = name_before THEN '{}'
                  ELSE jsonb_build_object('name', name, 'before', name_before) END,
               :now
        FROM changed
    )
    SELECT customer_number FROM changed
""")
_KNOWN = sa.text("""
    SELECT customer_number, state, street, postal_code, city,
           EXISTS (SELECT FROM requests WHERE account_id = accounts.id AND kind = 'order') AS ordered_here
    FROM accounts WHERE customer_number = ANY(:customer_number)
""")
