"""What the contracts' lines will be once the planned changes have been made: for costs of days to come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.catalogue import PriceLine, ProductKind, all_products
from models.contracts.contracts import Contract
from models.contracts.monthly_costs import RunningLine
from models.requests.requests import Request
from models.states import ENDED, Kind
from models.telephony.trunks import SipTrunk


@dataclass(frozen=True, slots=True)
class PlannedTariff:
    """The tariff, at its agreed price, that a contract will have from the start of a day in Berlin."""

    account_id: int
    contract_id: int
    price: PriceLine
    day: date


def planned_tariffs(session: Session, accounts: sa.ColumnElement[bool], until: date) -> list[PlannedTariff]:
    """Return what planned changes bring before the day `until`, in the order of their days. One statement.

    `accounts` is an SQL condition on `Account`: whose changes. Those of contracts that have ended are left out.
    """
    query = (
        sa.select(
            Request.account_id, SipTrunk.contract_id, Request.product_key, Request.price_lines, Request.effective_on
        )
        .join(Account, Account.id == Request.account_id)
        .join(SipTrunk, SipTrunk.id == Request.changed_trunk_id)
        .join(Contract, Contract.id == SipTrunk.contract_id)
        .where(
            accounts,
            Request.kind == Kind.CHANGE,
            Request.status.not_in(ENDED),
            Request.effective_on < until,
            Contract.ended_at.is_(None),
        )
        .order_by(Request.effective_on, Request.id)
    )
    found = []
    for row in session.execute(query):
        agreed = [PriceLine(**line) for line in row.price_lines if line["product_key"] == row.product_key]
        found += [PlannedTariff(row.account_id, row.contract_id, line, row.effective_on) for line in agreed]
    return found


def tariff_keys(session: Session) -> frozenset[str]:
    """Return the keys of the products that are tariffs: of these a contract has one at a time."""
    return frozenset(key for key, product in all_products(session).items() if product.kind is ProductKind.TRUNK)


def with_planned(
    lines: Iterable[RunningLine], planned: Sequence[PlannedTariff], tariffs: Collection[str]
) -> list[RunningLine]:
    """Return the lines as they will be once the planned changes, in the order of their days, have been made.

    The line of the tariff that a change replaces ends on the day on which the new one begins. `tariffs` are the keys of
    all tariffs.
    """
    of: dict[int, list[RunningLine]] = defaultdict(list)
    for line in lines:
        of[line.contract_id].append(line)
    for coming in planned:
        of[coming.contract_id] = _with(of[coming.contract_id], coming, tariffs)
    return [line for found in of.values() for line in found]


def _with(lines: list[RunningLine], coming: PlannedTariff, tariffs: Collection[str]) -> list[RunningLine]:
    replaced = [line for line in lines if line.price.product_key in tariffs and line.is_open(coming.day)]
    # Only the number of channels changes then, or the change has been made.
    if any(line.price.product_key == coming.price.product_key for line in replaced):
        return lines
    kept = [replace(line, ended=max(coming.day, line.began)) if line in replaced else line for line in lines]
    return [*kept, RunningLine(coming.contract_id, coming.price, coming.day, None)]
