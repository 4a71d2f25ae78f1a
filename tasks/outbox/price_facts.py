"""The agreed prices of an order, as variables for the template of a mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from models.contracts.catalogue import PriceLine, all_products, price_lines_from_json
from models.contracts.costs import VAT_PERCENT, Amount, costs_of
from models.requests.requests import Request
from models.values import Locale


def agreed_lines(session: Session, request: Request, locale: Locale) -> list[tuple[str, PriceLine]]:
    """Return the products of an order as pairs of product name, in the language `locale`, and agreed price.

    Includes products that are no longer sold. Empty for old orders, made before agreed prices were saved.
    """
    products = all_products(session)
    return [
        (products[key].name(locale), line) for key, line in price_lines_from_json(request.price_lines or []).items()
    ]


def price_facts(lines: Iterable[tuple[str, PriceLine]]) -> dict[str, Any]:
    """Return the mail variable `prices` for products, given as pairs of name and price: each price and the sums.

    Amounts are in euro cents. Returns an empty dict if there are no products; the mail then says nothing about prices.
    """
    chosen = list(lines)
    if not chosen:
        return {}
    costs = costs_of(line for _name, line in chosen)
    listed = [{"name": name, "monthly": line.monthly_cents, "one_off": line.one_off_cents} for name, line in chosen]
    return {"prices": {"lines": listed, **sum_facts(costs.monthly, costs.one_off)}}


def sum_facts(monthly: Amount, one_off: Amount) -> Mapping[str, Any]:
    """Return the mail variables for totals: `vat_percent`, and `sums` with net, VAT and gross in euro cents.

    `monthly` and `one_off` are the totals per month and once.
    """
    return {
        "vat_percent": VAT_PERCENT,
        "sums": {
            kind: {"monthly": getattr(monthly, kind), "one_off": getattr(one_off, kind)}
            for kind in ("net", "vat", "gross")
        },
    }
