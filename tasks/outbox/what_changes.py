"""A contract's terms before and after a change, more numbers or a cancellation: names and prices for pages and mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from models.calendar_days import first_moment
from models.changes.quotes import Quote, TrunkTerms, agreed_lines, agreed_quote
from models.contracts.catalogue import PriceLine, ProductKind, all_products
from models.contracts.costs import Costs, costs_of
from models.requests.requests import Request
from models.states import Kind
from models.telephony.numbers import NumberBlock
from models.values import Locale


@dataclass(frozen=True, slots=True)
class ChangedTerms:
    """A change of a contract's tariff or channels, with product names in one language.

    `effective_on` is the first day of the new terms, None if they apply at once. `tariff` is the name of the new
    tariff, `tariff_before` that of the old one; None if there was none or it stays. `others` are the names of the
    products that stay. `before` and `after` are the costs of all products of the contract.
    """

    effective_on: date | None
    tariff: str
    tariff_before: str | None
    channels: int
    channels_before: int
    others: Sequence[str]
    before: Costs
    after: Costs

    def facts(self) -> dict[str, Any]:
        """Return the change as variables for a mail's template: names, and net and gross sums in euro cents."""
        return {
            "effective_at": first_moment(self.effective_on).isoformat() if self.effective_on is not None else None,
            "tariff": self.tariff,
            "tariff_before": self.tariff_before,
            "channels": self.channels,
            "channels_before": self.channels_before,
            "monthly": {"net": self.after.monthly.net, "gross": self.after.monthly.gross},
            "monthly_before": {"net": self.before.monthly.net, "gross": self.before.monthly.gross},
            "one_off": {"net": self.after.one_off.net, "gross": self.after.one_off.gross},
        }


def changed_terms(session: Session, quote: Quote, locale: Locale) -> ChangedTerms:
    """Return a contract's terms before and after the change that `quote` describes.

    Names of products are in the language `locale`.
    """
    tariff, others = _names(session, quote.after, locale)
    before, _ = _names(session, quote.before, locale)
    return ChangedTerms(
        quote.effective_on,
        tariff or "",
        before if before != tariff else None,
        quote.after.channels,
        quote.before.channels,
        others,
        quote.before.costs,
        quote.after.costs,
    )


@dataclass(frozen=True, slots=True)
class AddedNumbers:
    """Additional phone numbers for a contract, with the product's name in one language.

    `effective_on` is the day from which the contract has them, None if at once. `block` is the product's name.
    `numbers` is the block in German notation; empty while no block is reserved. `before` and `after` are the costs of
    all products of the contract.
    """

    effective_on: date | None
    block: str
    area_code: str
    numbers: str
    before: Costs
    after: Costs

    def facts(self) -> dict[str, Any]:
        """Return the additional numbers as variables for a mail: names, and net and gross sums in euro cents."""
        return {
            "effective_at": first_moment(self.effective_on).isoformat() if self.effective_on is not None else None,
            "block": self.block,
            "area_code": self.area_code,
            "numbers": self.numbers,
            "monthly": {"net": self.after.monthly.net, "gross": self.after.monthly.gross},
            "monthly_before": {"net": self.before.monthly.net, "gross": self.before.monthly.gross},
            "one_off": {"net": self.after.one_off.net, "gross": self.after.one_off.gross},
        }


def added_numbers(session: Session, request: Request, locale: Locale) -> AddedNumbers:
    """Return the additional numbers that a request of kind `NUMBERS` orders, at the agreed prices.

    The product's name is in the language `locale`.
    """
    assert request.product_key is not None and request.area_code is not None
    before, after = agreed_lines(request)
    # Hidden from the front, when it has become another customer's.
    block = session.get(NumberBlock, request.reserved_block_id) if request.holds_numbers else None
    return AddedNumbers(
        request.effective_on,
        all_products(session)[request.product_key].name(locale),
        request.area_code,
        block.display if block is not None else "",
        costs_of(before),
        costs_of(after),
    )


def described_plan(session: Session, found: Request, locale: Locale) -> ChangedTerms | AddedNumbers | None:
    """Return products and costs of a contract before and after a change or an order of more numbers, for its page.

    `found` is the request for it. Return None for a request of another kind. Names are in the language `locale`.
    """
    if found.kind is Kind.NUMBERS:
        return added_numbers(session, found, locale)
    return changed_terms(session, agreed_quote(found), locale) if found.kind is Kind.CHANGE else None


@dataclass(frozen=True, slots=True)
class EndedTerms:
    """What a cancellation ends: the contracts' last day, the names of all products in one language, and their costs.

    `before` has the total monthly and the total one-off price of the products.
    """

    last_day: date
    products: Sequence[str]
    before: Costs


def ended_terms(session: Session, lines: Sequence[PriceLine], last_day: date, locale: Locale) -> EndedTerms:
    """Return what a cancellation ends, to be shown on its page: last day, names of products, and their costs.

    `lines` are the products of the contracts with their prices. `last_day` is the contracts' last day, and is returned
    as it is. The names are in the language `locale`.
    """
    products = all_products(session)
    return EndedTerms(last_day, [products[line.product_key].name(locale) for line in lines], costs_of(lines))


def _names(session: Session, terms: TrunkTerms, locale: Locale) -> tuple[str | None, list[str]]:
    """Return the name of the tariff (None if there is none) and the names of the other products.

    The names are in the language `locale`.
    """
    products = [all_products(session)[line.product_key] for line in terms.lines]
    tariffs = [product.name(locale) for product in products if product.kind is ProductKind.TRUNK]
    others = [product.name(locale) for product in products if product.kind is not ProductKind.TRUNK]
    return tariffs[0] if tariffs else None, others
