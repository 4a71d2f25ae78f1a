"""Opening of an account for a new customer, with its contract holder, by a console command of the carrier."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, IssuedCustomerNumber, issue_customer_numbers
from models.accounts.contract_holders import put_holder
from models.accounts.customer_import import AccountRow
from models.errors import InvalidField
from models.states import AccountState


def same_account(session: Session, row: AccountRow) -> Account | None:
    """Return an account that is not closed and has exactly the name and address in `row`; None if there is none.

    `row` is the typed data of a new customer. Of several such accounts, the one with the lowest id is returned.
    """
    same = (getattr(Account, name) == getattr(row, name) for name in ("name", "street", "postal_code", "city"))
    return session.scalar(sa.select(Account).where(*same, Account.state != AccountState.CLOSED).order_by(Account.id))


def open_account(session: Session, row: AccountRow, customer_number: str | None, now: datetime) -> Account:
    """Create an active, standalone account from `row`, the typed data of a new customer; return the account.

    Its contract holder is saved if the row has one, and its address is taken without a proof. `customer_number` is the
    number to use; None draws a new one. The caller adds the first administrator. Flushes. Raises `InvalidField` if the
    customer number was issued before.
    """
    if customer_number is None:
        [customer_number] = issue_customer_numbers(session)
    else:
        issue = postgresql.insert(IssuedCustomerNumber).values(number=customer_number).on_conflict_do_nothing()
        if session.scalar(issue.returning(IssuedCustomerNumber.number)) is None:
            raise InvalidField("customer_number", "number_used_up")
    account = Account(
        customer_number=customer_number,
        name=row.name,
        street=row.street,
        postal_code=row.postal_code,
        city=row.city,
        contact_name=row.contact_name,
        contact_email=row.contact_email,
        contact_phone=row.contact_phone,
        created_at=now,
    )
    session.add(account)
    session.flush()
    if row.holder is not None:
        put_holder(session, account.id, row.holder, now)
    return account
