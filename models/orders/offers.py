"""Offers: for some days a draft can be ordered at the prices that its offer names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from models.contracts.catalogue import PriceLine, Product
from models.orders.drafts import Draft
from models.values import end_of_day

OFFER_DAYS = 14
"""Days for which an offer's prices are valid."""


def make_offer(draft: Draft, lines: Sequence[PriceLine], now: datetime) -> datetime:
    """Promise these prices for `OFFER_DAYS` days. Return until when, the end of a day in Berlin.

    An offer whose last day is not over keeps that day and its promises, also for products that are no longer chosen:
    downloading the offer again makes no new one. The draft must be locked.
    """
    promised = {**promised_prices(draft, now), **{line.product_key: line for line in lines}}
    if draft.offered_until is None or draft.offered_until <= now:
        draft.offered_until = end_of_day(now + timedelta(days=OFFER_DAYS))
    draft.offered_lines = [asdict(line) for line in promised.values()]
    return draft.offered_until


def promised_prices(draft: Draft, now: datetime) -> Mapping[str, PriceLine]:
    """Return the prices that an offer of the draft still promises, by product key; empty after its last day."""
    if draft.offered_until is None or draft.offered_until <= now:
        return {}
    return {line["product_key"]: PriceLine(**line) for line in draft.offered_lines or []}


def best_price(product: Product, promised: Mapping[str, PriceLine]) -> PriceLine:
    """Return the price that an offer promised for a product, or that of the price list if it is nowhere dearer."""
    now = product.price_line
    then = promised.get(product.key, now)
    dearer = now.monthly_cents > then.monthly_cents or now.one_off_cents > then.one_off_cents
    return then if dearer else now
