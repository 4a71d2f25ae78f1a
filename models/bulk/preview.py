"""A preview of what a bulk file would order, shown before it is sent: counts, products and a digest of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import Limits, limits_of
from models.bulk.bulk import Bulk, BulkRow, as_order
from models.bulk.left_out import IS_LEFT_OUT
from models.contracts.catalogue import withdrawn_products
from models.orders.options import DETAILS
from models.people.rights import Principal
from models.proofs.order_placement import OrderDays, plan_orders


def count_rows(session: Session, bulk: Bulk) -> tuple[int, int, int]:
    """Return three numbers: of all rows of the bulk file, of the rows with errors, and of the cells with errors.

    A row that a person has left out counts in the first number only.
    """
    cells = sa.select(sa.func.count()).select_from(sa.func.jsonb_object_keys(BulkRow.errors)).scalar_subquery()
    wrong = sa.func.sum(cells.correlate(BulkRow)).filter(~IS_LEFT_OUT)
    row = session.execute(
        sa.select(
            sa.func.count(), sa.func.count(BulkRow.errors).filter(~IS_LEFT_OUT), sa.func.coalesce(wrong, 0)
        ).where(BulkRow.bulk_id == bulk.id)
    ).one()
    return int(row[0]), int(row[1]), int(row[2])


def outdated_rows(session: Session, bulk: Bulk, now: datetime) -> list[BulkRow]:
    """Return the rows that were valid when they were checked but no longer are, in the order of the bulk file.

    Such a row names a product that was withdrawn later, or an option that now needs details and needed none then.
    """
    withdrawn = [product.key for product in withdrawn_products(session, now)]
    named = BulkRow.draft["option_keys"].has_any(sa.cast(withdrawn, postgresql.ARRAY(sa.Text)))
    options = BulkRow.draft["option_keys"]
    lacking = [options.has_key(option) & ~BulkRow.draft.has_key(field) for option, field in DETAILS.items()]
    query = sa.select(BulkRow).where(
        BulkRow.bulk_id == bulk.id, sa.or_(named, BulkRow.draft["product_key"].astext.in_(withdrawn), *lacking)
    )
    return list(session.scalars(query.order_by(BulkRow.line)))


def products_in(session: Session, bulk: Bulk, but: Collection[int]) -> list[tuple[dict[str, Any], int]]:
    """Return each combination of products in the rows that will be ordered, with the number of rows that have it.

    A combination is a dict with the keys `product_key` (the trunk), `block_size` and `option_keys`. `but` are the line
    numbers of the rows that will not be ordered.
    """
    chosen = sa.func.jsonb_build_object(
        "product_key", BulkRow.draft["product_key"],
        "block_size", BulkRow.draft["block_size"],
        "option_keys", BulkRow.draft["option_keys"],
    )  # fmt: skip
    rows = session.execute(
        sa.select(chosen, sa.func.count())
        .where(BulkRow.bulk_id == bulk.id, BulkRow.key.is_not(None), BulkRow.line.not_in(list(but)))
        .group_by(chosen)
    )
    return [(facts, count) for facts, count in rows]


def costs_before_and_after(session: Session, bulk: Bulk, but: Collection[int]) -> tuple[int, int, int]:
    """Return three sums in cents, net, for a file about accounts: monthly before, monthly after, one-off.

    They are over the rows' contracts, and 0 for detachments, which change no contract. `but` are the line numbers of
    the rows that will not be sent.
    """
    sums = [
        sa.func.coalesce(sa.func.sum(BulkRow.draft[name].astext.cast(sa.BigInteger)), 0)
        for name in ("monthly_before", "monthly_after", "one_off")
    ]
    query = sa.select(*sums).where(BulkRow.bulk_id == bulk.id, BulkRow.key.is_not(None), BulkRow.line.not_in(list(but)))
    found = session.execute(query).one()
    return int(found[0]), int(found[1]), int(found[2])


def days_of_orders(
    session: Session, bulk: Bulk, but: Collection[int], principal: Principal, now: datetime, usual: Limits
) -> OrderDays:
    """Return a forecast: how many orders of the bulk file can be placed on which day, by the company's present limits.

    `but` are the line numbers of the rows that will not be ordered, `principal` the person who orders, and `usual` the
    limits of companies without limits of their own. Once as many orders are placed as the company may have open at a
    time, the day of further ones is not known; so at most one row more than that is read.
    """
    # After as many orders as can be open at a time nobody knows the day.
    most = limits_of(session, bulk.main_id, usual).open_orders + 1
    drafts = sa.select(BulkRow.draft).where(
        BulkRow.bulk_id == bulk.id, BulkRow.key.is_not(None), BulkRow.line.not_in(list(but))
    )
    found = session.scalars(drafts.order_by(BulkRow.line).limit(most))
    orders = [as_order(draft) for draft in found if draft is not None]
    return plan_orders(session, principal, session.get_one(Account, bulk.main_id), orders, now, usual)


def content_of(session: Session, bulk: Bulk) -> bytes:
    """Return a SHA-256 digest of all rows' drafts and people's choices. It changes if any of them changes."""
    drafts = sa.select(BulkRow.line, sa.cast(BulkRow.draft, sa.Text), BulkRow.choice).where(BulkRow.bulk_id == bulk.id)
    digest = hashlib.sha256()
    for line, draft, choice in session.execute(drafts.order_by(BulkRow.line)):
        digest.update(f"{line} {draft} {choice or ''}\n".encode())
    return digest.digest()
