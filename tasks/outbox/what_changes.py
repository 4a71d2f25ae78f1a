"""What a change, more numbers, a move or a cancellation does to a contract: names and prices for pages and mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from models.calendar_days import first_moment
from models.changes.moves import agreed_move
from models.changes.quotes import Quote, TrunkTerms, agreed_lines, agreed_quote
from models.contracts.catalogue import PriceLine, ProductKind, all_products
from models.contracts.costs import Costs, costs_of
from models.requests.moved_blocks import replacements_of
from models.requests.requests import Request
from models.same_address import Place
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


@dataclass(frozen=True, slots=True)
class MovedTerms:
    """A move: the connection address before and after it, the numbers that are replaced, and the costs, which stay.

    `effective_on` is the day of the move, None if at once. `replaced` are pairs of a block that goes, in German
    notation, and the one that comes for it: its numbers, or only its area code while none is reserved.
    """

    effective_on: date | None
    before: Place
    after: Place
    replaced: Sequence[tuple[str, str]]
    costs: Costs

    def facts(self) -> dict[str, Any]:
        """Return the move as variables for a mail: addresses in one line, pairs of numbers, and sums in euro cents."""
        monthly = {"net": self.costs.monthly.net, "gross": self.costs.monthly.gross}
        return {
            "effective_at": first_moment(self.effective_on).isoformat() if self.effective_on is not None else None,
            "address_before": _in_one_line(self.before),
            "address": _in_one_line(self.after),
            "replaced": [list(pair) for pair in self.replaced],
            "monthly": monthly,
            "monthly_before": monthly,
            "one_off": {"net": 0, "gross": 0},
        }


def moved_terms(session: Session, request: Request) -> MovedTerms:
    """Return what a request of kind `MOVE` changes."""
    before, after, costs = agreed_move(request)
    code = request.area_code or ""
    pairs = [(goes.display, comes.display if comes else code) for goes, comes in replacements_of(session, request)]
    return MovedTerms(request.effective_on, before, after, pairs, costs)


def _in_one_line(place: Place) -> str:
    return f"{place.street}, {place.postal_code} {place.city}"


def described_plan(session: Session, found: Request, locale: Locale) -> ChangedTerms | AddedNumbers | MovedTerms | None:
    """Return what a contract has before and after a change, an order of more numbers or a move, for its page.

    `found` is the request for it. Return None for a request of another kind. Names are in the language `locale`.
    """
    if found.kind is Kind.NUMBERS:
        return added_numbers(session, found, locale)
    if found.kind is Kind.MOVE:
        return moved_terms(session, found)
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
