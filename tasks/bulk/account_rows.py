"""Turn rows of a bulk file about accounts, such as changes of contracts or cancellations, into requests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import lock_limits
from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.changes.file_rows import submit_row
from models.errors import (
    AlreadyRequested,
    CannotClose,
    Forbidden,
    InvalidField,
    LimitReached,
    NotFound,
    PricesChanged,
    RuleBroken,
    TooEarly,
)
from models.people.rights import Principal
from models.requests.approvals import paying_account
from models.states import RESERVING, Kind
from tasks.bulk.refusals import refuse
from tasks.runtime import Runtime


def place_account_rows(
    session: Session, runtime: Runtime, bulk: Bulk, rows: Sequence[BulkRow], principal: Principal, now: datetime
) -> LimitReached | None:
    """Turn the rows into requests, each at the costs that the file's page has shown; return the limit that is reached.

    A row is refused if what it asks for is not possible any more, if its costs differ by now, or if the account is not
    one of the company's any more (`is_of_company`).
    """
    if bulk.kind in RESERVING:
        # Before the accounts, as for a single request.
        lock_limits(session, bulk.main_id)
    accounts = _locked_accounts(session, rows)
    for row in rows:
        assert row.draft is not None
        account = accounts.get(row.draft["customer_number"])
        if account is None or not is_of_company(session, bulk.kind, account, bulk.main_id):
            row.fate, row.refusal = RowFate.REFUSED, "not_of_company"
            continue
        try:
            request = submit_row(session, principal, account, bulk, row.draft, now, runtime.limits)
        except LimitReached as reached:
            return reached
        except (
            AlreadyRequested, CannotClose, Forbidden, InvalidField, NotFound, PricesChanged, RuleBroken, TooEarly,
        ) as error:  # fmt: skip
            refuse(row, error)
        else:
            row.fate, row.request_id = RowFate.PLACED, request.id
    return None


def is_of_company(session: Session, kind: Kind, account: Account, main_id: int) -> bool:
    """Return whether a file of this kind for the main account may be about the account.

    Those are accounts whose contracts the main account pays for; for detachments, its sub-accounts.
    """
    if kind is Kind.DETACH:
        return account.main_id == main_id
    return paying_account(session, account).id == main_id


def _locked_accounts(session: Session, rows: Sequence[BulkRow]) -> dict[str, Account]:
    """Lock the rows' accounts in the order of their ids, and return them by customer number.

    All of them first: each request may also take the lock of the person's approvals, which somebody with the lock of a
    later account may hold or wait for.
    """
    numbers = [row.draft["customer_number"] for row in rows if row.draft is not None]
    query = sa.select(Account).where(Account.customer_number.in_(numbers)).order_by(Account.id)
    locked = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return {account.customer_number: account for account in session.scalars(locked)}
