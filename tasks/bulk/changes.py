"""Turn rows of a bulk file of changes into requests that change the contracts of the company's accounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.changes.changes import ChangeDraft, submit_change, trunk_to_change
from models.errors import AlreadyRequested, Forbidden, InvalidField, NotFound, PricesChanged, RuleBroken
from models.people.rights import Principal
from models.requests.approvals import paying_account
from tasks.bulk.refusals import refuse
from tasks.runtime import Runtime


def place_changes(
    session: Session, _runtime: Runtime, bulk: Bulk, rows: Sequence[BulkRow], principal: Principal, now: datetime
) -> None:
    """Turn the rows into requests for changes, each at the costs that the file's page has shown.

    A row is refused if its change is not possible any more, if its costs differ by now, or if the main account does not
    pay for the account any more.
    """
    accounts = _locked_accounts(session, rows)
    for row in rows:
        assert row.draft is not None
        facts = row.draft
        day = date.fromisoformat(facts["effective_on"]) if facts["effective_on"] else None
        draft = ChangeDraft(facts["product_key"], facts["channels"], day, bulk.locale)
        account = accounts.get(facts["customer_number"])
        try:
            if account is None or paying_account(session, account).id != bulk.main_id:
                raise Forbidden
            trunk = trunk_to_change(session, principal, account, facts["sip_user"])
            shown = facts["shown"]
            request = submit_change(session, principal, account, trunk.id, draft, now, shown=shown, bulk_id=bulk.id)
        except (Forbidden, RuleBroken, InvalidField, AlreadyRequested, NotFound, PricesChanged) as error:
            refuse(row, error)
        else:
            row.fate, row.request_id = RowFate.PLACED, request.id


def _locked_accounts(session: Session, rows: Sequence[BulkRow]) -> dict[str, Account]:
    """Lock the rows' accounts in the order of their ids, and return them by customer number.

    All of them first: each change also takes the lock of the person's approvals, which somebody with the lock of a
    later account may hold or wait for.
    """
    numbers = [row.draft["customer_number"] for row in rows if row.draft is not None]
    query = sa.select(Account).where(Account.customer_number.in_(numbers)).order_by(Account.id)
    locked = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return {account.customer_number: account for account in session.scalars(locked)}
