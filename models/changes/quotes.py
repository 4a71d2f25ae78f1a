"""Quotes for changes of a trunk and its contract: channels and prices before and after, at present or as planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.calendar_days import berlin_day
from models.contracts.catalogue import PriceLine, ProductKind, all_products
from models.contracts.contracts import Contract, ContractItem, runs
from models.contracts.costs import Costs, costs_of
from models.requests.requests import Request
from models.states import CONTRACT_CHANGES, ENDED, Kind, StepName
from models.telephony.trunks import SipTrunk


@dataclass(frozen=True, slots=True)
class TrunkTerms:
    """The channels of a trunk and the products of its contract, at their agreed prices, at one point in time."""

    channels: int
    lines: tuple[PriceLine, ...]

    @property
    def costs(self) -> Costs:
        """Return the monthly cost of all products, and the sum of the one-off prices that are still to be paid."""
        return costs_of(self.lines)


@dataclass(frozen=True, slots=True)
class Quote:
    """The terms of a trunk and its contract `before` and `after` a change.

    `effective_on` is the day in Berlin with whose start the change takes effect; None if it does at once.
    """

    before: TrunkTerms
    after: TrunkTerms
    effective_on: date | None

    @property
    def shown_text(self) -> str:
        """Return the sums before and after as one text, which the page's form sends back to detect changed prices."""
        before, after = self.before.costs, self.after.costs
        return f"{before.monthly.net}-{after.monthly.net}-{after.one_off.net}"


def current_terms(session: Session, trunk: SipTrunk, now: datetime) -> TrunkTerms:
    """Return the trunk's channels and the products of its contract at `now`, with one-off prices of 0."""
    items = session.scalars(
        sa.select(ContractItem)
        .join(Contract, Contract.id == ContractItem.contract_id)
        .where(ContractItem.contract_id == trunk.contract_id, runs(Contract, now), runs(ContractItem, now))
        .order_by(ContractItem.product_key, ContractItem.occurrence)
    )
    return TrunkTerms(trunk.channels, tuple(paid_line(item.price_line) for item in items))


def planned_terms(session: Session, trunk: SipTrunk, day: date | None, now: datetime) -> TrunkTerms:
    """Return the trunk's terms at the start of `day` (None: now), as if everything planned until then had been made.

    Planned changes of the trunk and planned numbers count. One-off prices are 0.
    """
    waiting = sa.select(Request).where(
        Request.changed_trunk_id == trunk.id,
        Request.kind.in_(CONTRACT_CHANGES),
        Request.status.not_in(ENDED),
        # Later, the contract has it already.
        Request.step != StepName.CONFIRM,
        sa.or_(Request.effective_on.is_(None), Request.effective_on <= (day or berlin_day(now))),
    )
    terms = current_terms(session, trunk, now)
    for coming in session.scalars(waiting.order_by(Request.effective_on.nulls_first(), Request.id)):
        line = paid_line(agreed_line(coming.price_lines, coming.product_key))
        if coming.kind is Kind.NUMBERS:
            terms = replace(terms, lines=(*terms.lines, line))
        else:
            assert coming.channels is not None
            lines = terms.lines
            if line.product_key not in [one.product_key for one in lines]:
                lines = (line, *without_tariffs(session, lines))
            terms = TrunkTerms(coming.channels, lines)
    return terms


def agreed_line(price_lines: Sequence[Mapping[str, Any]] | None, product_key: str | None) -> PriceLine:
    """Return the price line of the product that a request adds (a tariff or a number block), at its agreed price.

    `price_lines` and `product_key` are the request's columns of these names. They must not be None, and a line must
    have the key. If several lines have it, as with blocks of one size, the last is returned: it is the one that the
    request adds.
    """
    lines = (PriceLine(**line) for line in reversed(price_lines or ()))
    return next(line for line in lines if line.product_key == product_key)


def agreed_quote(change: Request) -> Quote:
    """Return the terms of a trunk before and after a change, as they are saved with the request `change`.

    Until the change is made, these are the terms that were agreed when it was requested; afterwards, the terms at the
    moment at which it was made.
    """
    assert change.channels is not None and change.replaced_channels is not None
    before, after = agreed_lines(change)
    return Quote(TrunkTerms(change.replaced_channels, before), TrunkTerms(change.channels, after), change.effective_on)


def agreed_lines(request: Request) -> tuple[tuple[PriceLine, ...], tuple[PriceLine, ...]]:
    """Return two tuples: the products of the contract before and after a request that changes it or adds numbers.

    Until the request is carried out, these are the products that were agreed when it was made; afterwards, the products
    at the moment at which it was carried out.
    """
    before, after = (
        tuple(PriceLine(**line) for line in lines or ()) for lines in (request.replaced_lines, request.price_lines)
    )
    return before, after


def without_tariffs(session: Session, lines: Sequence[PriceLine]) -> list[PriceLine]:
    """Return the price lines whose product is no tariff."""
    products = all_products(session)
    return [line for line in lines if products[line.product_key].kind is not ProductKind.TRUNK]


def paid_line(line: PriceLine) -> PriceLine:
    """Return a copy of the price line with a one-off price of 0, because that price has been paid before."""
    return replace(line, one_off_cents=0)
