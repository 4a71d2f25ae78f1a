"""What a bulk would order, as its page says before the bulk is sent: counts, products and a digest of the content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from models.accounts.accounts import Account
from models.accounts.company_limits import Limits, limits_of
from models.bulk.bulk import CAME_TO_NOTHING, Bulk, BulkRow, RowFate, as_order
from models.errors import LimitReached
from models.orders.orders import Location
from models.orders.same_sites import SiteKey, same_sites, site_key
from models.people.rights import Principal
from models.proofs.order_limits import orders_that_fit
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


@dataclass(frozen=True, slots=True)
class RowNote:
    """What a valid row of an order file has in common with something else; each is None if there is nothing.

    A row that was ordered before in another file (`before`) or is equal to the earlier row of the line `repeats` is not
    ordered. A row with the name and address of a sub-account (`account`), or of the earlier row of the line
    `same_line`, but with another content, is ordered all the same.
    """

    before: Bulk | None = None
    repeats: int | None = None
    account: Account | None = None
    same_line: int | None = None

    @property
    def is_ordered(self) -> bool:
        """Return whether the row is ordered all the same: a location that would be there twice."""
        return self.before is None and self.repeats is None


def notes_of(session: Session, bulk: Bulk) -> Mapping[int, RowNote]:
    """Return a note, by line number, for each valid row of an order file that has something in common with another."""
    rows = session.execute(
        sa.select(BulkRow.line, BulkRow.key, BulkRow.draft["location"])
        .where(BulkRow.bulk_id == bulk.id, BulkRow.key.is_not(None))
        .order_by(BulkRow.line)
    ).all()
    before = _ordered_before(session, bulk)
    places = {line: Location(**facts) for line, _, facts in rows}
    main = session.get_one(Account, bulk.main_id)
    known = same_sites(session, main, {place.postal_code for place in places.values()})
    notes: dict[int, RowNote] = {}
    lines_by_key: dict[bytes, int] = {}
    lines_by_site: dict[SiteKey, int] = {}
    for line, key, _ in rows:
        site = site_key(places[line])
        if key in before:
            notes[line] = RowNote(before=before[key])
        elif key in lines_by_key:
            notes[line] = RowNote(repeats=lines_by_key[key])
        elif site in known or site in lines_by_site:
            notes[line] = RowNote(account=known.get(site), same_line=lines_by_site.get(site))
        lines_by_key.setdefault(key, line)
        if key not in before:
            lines_by_site.setdefault(site, line)
    return notes


def _ordered_before(session: Session, bulk: Bulk) -> Mapping[bytes, Bulk]:
    """Return the earlier bulk for each key of the bulk's rows whose content was ordered before."""
    query = (
        sa.select(BulkRow.key, Bulk)
        .join(_placed, (_placed.main_id == BulkRow.main_id) & (_placed.key == BulkRow.key))
        .join(Bulk, Bulk.id == _placed.bulk_id)
        .join(Request, Request.id == _placed.request_id)
        .where(BulkRow.bulk_id == bulk.id, _placed.fate == RowFate.PLACED, Request.status.not_in(CAME_TO_NOTHING))
    )
    return {key: found for key, found in session.execute(query) if key is not None}


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


def orders_within_limits(
    session: Session, bulk: Bulk, principal: Principal, now: datetime, usual: Limits
) -> tuple[int, LimitReached | None]:
    """Return how many of the rows that will be ordered the company's limits allow now, and the limit that ends them.

    The limit is None if they allow all. `usual` are the limits of companies that have none of their own.
    """
    limits = limits_of(session, bulk.main_id, usual)
    most = min(limits.open_orders, limits.blocks) + 1
    first = sa.select(BulkRow.key, sa.func.min(BulkRow.line).label("line"))
    first = first.where(BulkRow.bulk_id == bulk.id, BulkRow.key.is_not(None), ~_BEFORE).group_by(BulkRow.key)
    lines = first.order_by(sa.literal_column("line")).limit(most).subquery()
    drafts = sa.select(BulkRow.draft).where(BulkRow.bulk_id == bulk.id, BulkRow.line.in_(sa.select(lines.c.line)))
    orders = [as_order(draft) for draft in session.scalars(drafts.order_by(BulkRow.line)) if draft is not None]
    return orders_that_fit(session, principal, session.get_one(Account, bulk.main_id), orders, now, usual)


def content_of(session: Session, bulk: Bulk) -> bytes:
    """Return a digest of the drafts of all rows; the digest changes if a draft changes or a row is deleted."""
    drafts = sa.select(BulkRow.line, sa.cast(BulkRow.draft, sa.Text)).where(BulkRow.bulk_id == bulk.id)
    digest = hashlib.sha256()
    for line, draft in session.execute(drafts.order_by(BulkRow.line)):
        digest.update(f"{line} {draft}\n".encode())
    return digest.digest()
