"""The API endpoint that lists the costs of accounts in a month."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from flask import Response

from models.calendar_days import berlin_day
from models.contracts.costs import Amount
from models.contracts.monthly_costs import Charge, LineChange
from models.views.account_costs import AccountCosts, costs_page, month_asked_for, total_costs
from web.api import schemas
from web.api.access import now, viewable_token_account
from web.api.blueprint import api, json_response
from web.api.call_transaction import call_transaction
from web.api.paging import known_cursor


@api.get("/costs", responses={200: schemas.CostsPage})
def list_costs(query: schemas.CostsQuery) -> Response:
    """List what the account of the API token and its sub-accounts cost in a month, by customer number.

    Without `month`, lists the current month. Days that are still to come are calculated with the contracts of today and
    the changes that are planned. Lists only accounts that have a contract in the month. An account that was linked is
    listed from the month in which it was linked.
    """
    with call_transaction() as session:
        account = viewable_token_account(session)
        month = month_asked_for(query.month, now())
        with known_cursor():
            page = costs_page(session, account, month, after=query.cursor, limit=query.limit)
        total = total_costs(session, account, month)
    today = berlin_day(now())
    return json_response(
        {
            "month": str(month),
            "total": _total(total),
            "items": [_item(item, today) for item in page.items],
            "next_cursor": page.after,
        }
    )


def _total(amount: Amount) -> dict[str, int]:
    return {"net_cents": amount.net, "vat_cents": amount.vat, "gross_cents": amount.gross}


def _item(item: AccountCosts, today: date) -> dict[str, Any]:
    return {
        "customer_number": item.account.customer_number,
        "name": item.account.name,
        "city": item.account.city,
        "net_cents": item.net,
        "lines": [_line(charge) for charge in item.charges],
        "changes": _changes(item.changes, today),
    }


def _line(charge: Charge) -> dict[str, Any]:
    price = charge.line.price
    return {
        "product": price.product_key,
        "first_day": charge.first.isoformat() if charge.days else None,
        "last_day": charge.last.isoformat() if charge.days else None,
        "days": len(charge.days),
        "monthly_cents": price.monthly_cents,
        "share_cents": charge.monthly_cents,
        "one_off_cents": charge.one_off_cents,
    }


def _changes(changes: Sequence[LineChange], today: date) -> list[dict[str, Any]]:
    return [
        {
            "day": change.day.isoformat(),
            "product": change.product_key,
            "change": "begins" if change.begins else "ends",
            "planned": change.day > today,
        }
        for change in changes
    ]
