"""The products of an order with their prices: those of the price list on the day of the order, or agreed ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from models.contracts.catalogue import PriceLine, Product, ProductKind, all_products, block_key, price_list
from models.contracts.terms import OPEN_TERMS, ContractTerms
from models.errors import InvalidField, RuleBroken
from models.requests.requests import Request
from models.states import Reason
from models.telephony.numbers import BLOCK_SIZES


@dataclass(frozen=True, slots=True)
class Basket:
    """The products of one order: first the trunk, then the number block, then the options."""

    products: tuple[Product, ...]

    @property
    def trunk(self) -> Product:
        """Return the product of the ordered SIP trunk."""
        return self.products[0]

    @property
    def price_lines(self) -> list[PriceLine]:
        """Return the products of the basket with their prices."""
        return [product.price_line for product in self.products]


def still_delivered(session: Session, keys: Iterable[str], now: datetime) -> set[str]:
    """Return those of the product keys that are withdrawn from sale, but that the portal can still deliver.

    A product is withdrawn if the price list of the day of `now` marks it as not orderable. The portal can deliver it if
    the product table itself (`Product.orderable`) marks it as orderable.
    """
    listed = price_list(session, now)
    withdrawn = {key for key in keys if key in listed and not listed[key].orderable}
    return {key for key in withdrawn if all_products(session)[key].orderable}


def basket_of(
    session: Session,
    trunk_key: str,
    block_size: int,
    option_keys: Sequence[str],
    now: datetime,
    accepted: Collection[str] = (),
) -> Basket:
    """Return the products of an order: the trunk, the number block of `block_size` numbers, and the options.

    They have the prices of the day of `now`. `trunk_key` and `option_keys` are product keys. `accepted` are the keys of
    products that may be in the basket although they can no longer be ordered. Raises `InvalidField` if any other
    product cannot be ordered, if a product is of another kind, or if an option is named twice.
    """
    keys = (trunk_key, block_key(block_size), *option_keys)
    found = {
        product.key: product
        for product in price_list(session, now).values()
        if product.orderable or product.key in accepted
    }
    _expect(found, trunk_key, ProductKind.TRUNK, "product", "unknown_product")
    _expect(found, block_key(block_size), ProductKind.NUMBER_BLOCK, "numbers.block_size", "unknown_block_size")
    for place, key in enumerate(option_keys):
        _expect(found, key, ProductKind.OPTION, f"options.{place}", "unknown_option")
    if len(set(option_keys)) != len(option_keys):
        raise InvalidField("options", "option_twice")
    return Basket(tuple(found[key] for key in keys))


def ordered_basket(session: Session, request: Request) -> Basket:
    """Return the products of a running order with the prices of its day, including products that were withdrawn since.

    Raises `RuleBroken` if the portal cannot deliver the trunk or the number block any more (`Product.orderable`).
    """
    assert request.product_key is not None and request.block_size is not None
    options, since = request.option_keys or [], request.created_at
    accepted = {*options, *still_delivered(session, (request.product_key, block_key(request.block_size)), since)}
    try:
        return basket_of(session, request.product_key, request.block_size, options, since, accepted)
    except InvalidField as error:
        raise RuleBroken(Reason.PRODUCT_NOT_ORDERABLE) from error


def agreed_prices(session: Session, request: Request) -> list[PriceLine]:
    """Return the products of a running order at the prices that were agreed when it was ordered.

    For an old order without saved prices, these are the prices of its day on the price list. Raises `RuleBroken` if the
    portal cannot deliver the trunk or the number block any more.
    """
    basket = ordered_basket(session, request)
    if request.price_lines is None:
        return basket.price_lines
    return [PriceLine(**line) for line in request.price_lines]


def agreed_terms(request: Request) -> ContractTerms:
    """Return the contract terms (first term, notice period, extension) that were agreed when the order was placed."""
    return ContractTerms(**request.contract_terms) if request.contract_terms is not None else OPEN_TERMS


def _expect(found: dict[str, Product], key: str, kind: ProductKind, field: str, code: str) -> None:
    product = found.get(key)
    if product is None or product.kind is not kind:
        raise InvalidField(field, code, BLOCK_SIZES if kind is ProductKind.NUMBER_BLOCK else None)
