"""Offers: a draft can be ordered for 14 days at the prices that its offer names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from models.calendar_days import end_of_day
from models.contracts.catalogue import PriceLine, Product, price_lines_from_json
from models.orders.drafts import Draft

OFFER_DAYS = 14
"""Days for which an offer's prices are valid."""


def make_offer(draft: Draft, lines: Sequence[PriceLine], now: datetime) -> datetime:
    """Promise the draft the prices in `lines` for `OFFER_DAYS` (14) days; return the end of the last day.

    If an earlier offer is still valid and has a price for each of these products, its last day stays: downloading an
    offer again does not extend it. Prices promised earlier stay promised, also for products no longer chosen. The draft
    must be locked.
    """
    promised = promised_prices(draft, now)
    if draft.offered_until is None or any(line.product_key not in promised for line in lines):
        draft.offered_until = end_of_day(now + timedelta(days=OFFER_DAYS))
    promised = {**promised, **{line.product_key: line for line in lines}}
    draft.offered_lines = [asdict(line) for line in promised.values()]
    return draft.offered_until


def promised_prices(draft: Draft, now: datetime) -> Mapping[str, PriceLine]:
    """Return the prices that an offer of the draft still promises, by product key; empty after its last day."""
    if draft.offered_until is None or draft.offered_until <= now:
        return {}
    return price_lines_from_json(draft.offered_lines or [])


def best_price(product: Product, promised: Mapping[str, PriceLine]) -> PriceLine:
    """Return the product's prices, each the lower one of the price list and of a valid offer.

    The monthly and the one-off price are compared separately. `promised` has the offer's prices by product key; a
    product that is missing there has its list price.
    """
    now = product.price_line
    then = promised.get(product.key, now)
    return PriceLine(
        product.key, min(now.monthly_cents, then.monthly_cents), min(now.one_off_cents, then.one_off_cents)
    )
