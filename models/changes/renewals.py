"""The reminder before a contract is extended, for the administrators who may cancel it (§ 56 (3) TKG)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import berlin_day, first_moment
from models.contracts.catalogue import all_products
from models.contracts.contracts import Contract, ContractItem, runs
from models.contracts.terms import ContractTerms, Renewal, next_renewal
from models.messages.outbox import Recipient, queue_message, was_queued
from models.people.rights import Action, may
from models.people.users import User, administrators_of, principal_of
from models.requests.requests import Request
from models.states import ENDED, AccountState, Kind

REMINDED_BEFORE = timedelta(days=30)
"""How long before the last day for a notice people are reminded: about two months before the extension."""
RENEWAL_MAIL = "contract_renews"


@dataclass(frozen=True, slots=True)
class ComingRenewal:
    """A contract, by its id, that is extended unless a notice arrives in time."""

    contract_id: int
    renewal: Renewal


def coming_renewals(session: Session, now: datetime, after: int, limit: int) -> tuple[list[ComingRenewal], int | None]:
    """Return which of the next `limit` contracts after the id `after` are extended soon, and the last id looked at.

    That id is None once no contract is left. Left out are contracts of accounts that are not active or for which a
    cancellation is running, and contracts that are never extended.
    """
    cancelled = sa.exists().where(
        Request.account_id == Contract.account_id, Request.kind == Kind.CANCEL, Request.status.not_in(ENDED)
    )
    query = (
        sa.select(
            Contract.id, Contract.started_at, Contract.term_months, Contract.notice_months, Contract.renewal_months
        )
        .join(Account, Account.id == Contract.account_id)
        .where(
            Contract.id > after,
            Contract.term_months > 0,
            Contract.renewal_months > 0,
            runs(Contract, now),
            Account.state == AccountState.ACTIVE,
            ~cancelled,
        )
        .order_by(Contract.id)
        .limit(limit)
    )
    rows, today, coming = session.execute(query).all(), berlin_day(now), []
    for row in rows:
        terms = ContractTerms(row.term_months, row.notice_months, row.renewal_months)
        found = next_renewal(berlin_day(row.started_at), terms, today)
        if found is not None and today >= found.notice_by - REMINDED_BEFORE:
            coming.append(ComingRenewal(row.id, found))
    return coming, rows[-1].id if len(rows) == limit else None


def remind(session: Session, coming: ComingRenewal, now: datetime) -> int | None:
    """Queue one mail about the extension to each administrator who may cancel the contract; return how many.

    None if there is no such person. These are administrators of the account, and of its main account if that has
    ordered the account or pays for it. An address that was told of this extension before is left out.
    """
    contract = session.get_one(Contract, coming.contract_id)
    account = session.get_one(Account, contract.account_id)
    occasion = f"{contract.id}/{coming.renewal.last_day.isoformat()}"
    people, queued = _who_may_cancel(session, account), 0
    for person in people:
        to = Recipient(person.name, person.email, person.locale)
        if not was_queued(session, RENEWAL_MAIL, occasion, to):
            facts = _facts(session, contract, account, coming.renewal, to, now)
            queue_message(session, None, RENEWAL_MAIL, to, facts, now, occasion=occasion)
            queued += 1
    return queued if people else None


def _who_may_cancel(session: Session, account: Account) -> list[User]:
    people = administrators_of(session, account.id)
    if account.main_id is not None:
        people += administrators_of(session, account.main_id)
    # A person may administer both.
    by_address = {person.email: person for person in people}
    return [
        person for person in by_address.values() if may(principal_of(session, person), Action.CHANGE_CONTRACT, account)
    ]


def _facts(
    session: Session, contract: Contract, account: Account, renewal: Renewal, to: Recipient, now: datetime
) -> dict[str, Any]:
    running = sa.select(ContractItem.product_key).where(
        ContractItem.contract_id == contract.id, runs(ContractItem, now)
    )
    products = all_products(session)
    names = {products[key].name(to.locale) for key in session.scalars(running)}
    day = timedelta(days=1)
    return {
        "customer_number": account.customer_number,
        "account_name": account.name,
        "products": sorted(names),
        "ends_at": first_moment(renewal.last_day + day).isoformat(),
        "notice_until": first_moment(renewal.notice_by + day).isoformat(),
        "renewal_months": contract.renewal_months,
        "notice_months": contract.notice_months,
        "path": f"/standortverwaltung/{account.customer_number}/kuendigung",
    }
