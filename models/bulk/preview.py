"""What a bulk would order, as its page says before the bulk is sent: counts, products and a digest of the content."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from models.bulk.bulk import CAME_TO_NOTHING, Bulk, BulkRow, RowFate
from models.requests.requests import Request

_placed = aliased(BulkRow)
_BEFORE = sa.exists().where(
    _placed.main_id == BulkRow.main_id,
    _placed.key == BulkRow.key,
    _placed.fate == RowFate.PLACED,
    _placed.request_id == Request.id,
    Request.status.not_in(CAME_TO_NOTHING),
)
"""An SQL condition: the main account has ordered the row's content before, in another file."""


def count_rows(session: Session, bulk: Bulk) -> tuple[int, int, int]:
    """Return three numbers: the bulk's rows, its rows with errors, and the wrong cells in all these rows."""
    cells = sa.select(sa.func.count()).select_from(sa.func.jsonb_object_keys(BulkRow.errors)).scalar_subquery()
    row = session.execute(
        sa.select(
            sa.func.count(), sa.func.count(BulkRow.errors), sa.func.coalesce(sa.func.sum(cells.correlate(BulkRow)), 0)
        ).where(BulkRow.bulk_id == bulk.id)
    ).one()
    return int(row[0]), int(row[1]), int(row[2])


def count_left_out(session: Session, bulk: Bulk) -> tuple[int, int]:
    """Return two numbers of valid rows that will not be ordered when the bulk is sent.

    The first counts rows whose content was ordered before from another file, the second rows that repeat an earlier row
    of this bulk.
    """
    counted = sa.select(
        sa.func.count(BulkRow.key),
        sa.func.count(BulkRow.key).filter(_BEFORE),
        sa.func.count(BulkRow.key.distinct()).filter(~_BEFORE),
    ).where(BulkRow.bulk_id == bulk.id)
    right, before, ordered = session.execute(counted).one()
    return before, right - before - ordered


def products_in(session: Session, bulk: Bulk) -> list[tuple[dict[str, Any], int]]:
    """Return each product choice of the rows that will be ordered, with the number of different rows that have it.

    A choice is a dict with the keys `product_key` (the trunk), `block_size` and `option_keys`. Rows whose content was
    ordered before are left out, and equal rows count once.
    """
    chosen = sa.func.jsonb_build_object(
        "product_key", BulkRow.draft["product_key"],
        "block_size", BulkRow.draft["block_size"],
        "option_keys", BulkRow.draft["option_keys"],
    )  # fmt: skip
    rows = session.execute(
        sa.select(chosen, sa.func.count(BulkRow.key.distinct()))
        .where(BulkRow.bulk_id == bulk.id, BulkRow.key.is_not(None), ~_BEFORE)
        .group_by(chosen)
    )
    return [(facts, count) for facts, count in rows]


def content_of(session: Session, bulk: Bulk) -> bytes:
    """Return a digest of the drafts of all rows; the digest changes if a draft changes or a row is deleted."""
    drafts = sa.select(BulkRow.line, sa.cast(BulkRow.draft, sa.Text)).where(BulkRow.bulk_id == bulk.id)
    digest = hashlib.sha256()
    for line, draft in session.execute(drafts.order_by(BulkRow.line)):
        digest.update(f"{line} {draft}\n".encode())
    return digest.digest()
