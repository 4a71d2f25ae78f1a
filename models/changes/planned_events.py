"""Reads what running requests will change in contracts, and computes the contract lines after that, to forecast costs.

A planned event is a new tariff, a further number block, or the end of a contract, each on a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.changes.quotes import agreed_line
from models.contracts.catalogue import PriceLine, ProductKind, all_products
from models.contracts.contracts import Contract
from models.contracts.monthly_costs import RunningLine
from models.requests.requests import Request
from models.states import ENDED, Kind, Status, StepName
from models.telephony.trunks import SipTrunk


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """An event planned for a contract at the start of a day in Berlin: a product is added, or the contract ends.

    `price` is the added product at its agreed price; None if the contract ends. The product is a number block, or a
    tariff that replaces the present one.
    """

    account_id: int
    contract_id: int
    price: PriceLine | None
    day: date


def planned_events(session: Session, accounts: sa.ColumnElement[bool], until: date) -> list[PlannedEvent]:
    """Return the events before the day `until` that running requests have planned for contracts, sorted by day.

    These requests are changes, requests for more numbers, and cancellations. `accounts` is an SQL condition on
    `Account` that selects the accounts whose contracts count. Contracts that have ended are left out. So are requests
    that are carried out already, and requests for numbers that wait for the pool or a certificate. Runs one statement.
    """
    of_trunk = Contract.id == SipTrunk.contract_id
    of_account = sa.and_(Request.kind == Kind.CANCEL, Contract.account_id == Request.account_id)
    made = sa.or_(
        Request.step == StepName.CONFIRM,
        sa.and_(Request.kind == Kind.NUMBERS, Request.status.in_((Status.HELD, Status.PENDING))),
    )
    query = (
        sa.select(
            Request.account_id,
            Contract.id,
            Request.kind,
            Request.product_key,
            Request.price_lines,
            Request.effective_on,
        )
        .join(Account, Account.id == Request.account_id)
        .outerjoin(SipTrunk, SipTrunk.id == Request.changed_trunk_id)
        .join(Contract, sa.or_(of_trunk, of_account))
        .where(
            accounts,
            Request.kind.in_((Kind.CHANGE, Kind.NUMBERS, Kind.CANCEL)),
            Request.status.not_in(ENDED),
            ~made,
            Request.effective_on < until,
            Contract.ended_at.is_(None),
        )
        .order_by(Request.effective_on, Request.id)
    )
    found = []
    for row in session.execute(query):
        price = agreed_line(row.price_lines, row.product_key) if row.kind is not Kind.CANCEL else None
        found.append(PlannedEvent(row.account_id, row.id, price, row.effective_on))
    return found


def tariff_keys(session: Session) -> frozenset[str]:
    """Return the product keys of all tariffs; a contract has one tariff at a time."""
    return frozenset(key for key, product in all_products(session).items() if product.kind is ProductKind.TRUNK)


def with_planned(
    lines: Iterable[RunningLine], planned: Sequence[PlannedEvent], tariffs: Collection[str]
) -> list[RunningLine]:
    """Return the contract lines as they will be after all events of `planned`, which are sorted by day.

    When a new tariff begins, the line of the present tariff ends on that day. `tariffs` are the product keys of all
    tariffs.
    """
    of: dict[int, list[RunningLine]] = defaultdict(list)
    for line in lines:
        of[line.contract_id].append(line)
    for coming in planned:
        of[coming.contract_id] = _with(of[coming.contract_id], coming, tariffs)
    return [line for found in of.values() for line in found]


def _with(lines: list[RunningLine], coming: PlannedEvent, tariffs: Collection[str]) -> list[RunningLine]:
    if coming.price is None:
        return _ended(lines, lines, coming.day)
    new = RunningLine(coming.contract_id, coming.price, coming.day, None)
    if coming.price.product_key not in tariffs:
        return [*lines, new]
    replaced = [line for line in lines if line.price.product_key in tariffs and line.is_open(coming.day)]
    # Only the number of channels changes then, or the change has been made.
    if any(line.price.product_key == coming.price.product_key for line in replaced):
        return lines
    return [*_ended(lines, replaced, coming.day), new]


def _ended(lines: Sequence[RunningLine], ending: Sequence[RunningLine], day: date) -> list[RunningLine]:
    """Return `lines`, in which those of `ending` that still run on `day` end with the start of that day."""
    return [
        replace(line, ended=max(day, line.began)) if line in ending and line.is_open(day) else line for line in lines
    ]
