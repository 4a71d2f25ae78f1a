"""The progress of a sent bulk file: how many rows have which result, and which rows need attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.bulk.left_out import LEFT_OUT
from models.requests.requests import Request
from models.states import ENDED, Status


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a sent bulk file, as numbers of rows.

    `rows` is the number of all rows, `open` of those without a result yet, `repeated` of those that repeat an order,
    and `refused` of those that were refused. `left_out` is the number of rows that were left out before the bulk was
    sent; `refused` does not include them. `by_status` has the number of the bulk's requests with each status.
    """

    rows: int
    open: int
    repeated: int
    refused: int
    left_out: int
    by_status: Mapping[Status, int]

    @property
    def wanted(self) -> int:
        """Return the number of rows that are or will become requests: all but those repeated, refused or left out."""
        return self.rows - self.repeated - self.refused - self.left_out

    @property
    def ended_requests(self) -> int:
        """Return the number of the bulk file's requests that have ended."""
        return sum(self.by_status.get(status, 0) for status in ENDED)

    @property
    def ended(self) -> int:
        """Return the number of finished rows: repeated, refused, left out, or with a request that has ended."""
        return self.repeated + self.refused + self.left_out + self.ended_requests


def progress_of(session: Session, bulk: Bulk) -> Progress:
    """Return the numbers of the bulk file's rows by result, and of its requests by status."""
    counted = sa.select(BulkRow.fate, sa.func.count()).where(BulkRow.bulk_id == bulk.id).group_by(BulkRow.fate)
    fates: dict[RowFate | None, int] = {row[0]: row[1] for row in session.execute(counted)}
    of_left_out = sa.select(sa.func.count()).where(BulkRow.bulk_id == bulk.id, BulkRow.refusal.in_(LEFT_OUT))
    left_out = session.scalar(of_left_out) or 0
    statuses = session.execute(
        sa.select(Request.status, sa.func.count()).where(Request.bulk_id == bulk.id).group_by(Request.status)
    )
    return Progress(
        rows=sum(fates.values()),
        open=fates.get(None, 0),
        repeated=fates.get(RowFate.REPEATED, 0),
        refused=fates.get(RowFate.REFUSED, 0) - left_out,
        left_out=left_out,
        by_status={row[0]: row[1] for row in statuses},
    )


def stuck_rows(session: Session, bulk: Bulk, most: int) -> list[tuple[BulkRow, Request | None]]:
    """Return up to `most` rows that need attention, each with its request (None if none was created).

    Such a row was refused, repeats another order, or has a request that is pending, held or has ended without success.
    Rows that were left out before the bulk was sent are not among them. The rows are in the order of the file.
    """
    fine = (Status.ACKNOWLEDGED, Status.IN_PROGRESS, Status.COMPLETED)
    rows = session.execute(
        sa.select(BulkRow, Request)
        .outerjoin(Request, Request.id == BulkRow.request_id)
        .where(
            BulkRow.bulk_id == bulk.id,
            BulkRow.fate.in_([RowFate.REFUSED, RowFate.REPEATED]) | Request.status.not_in(fine),
            BulkRow.refusal.is_(None) | BulkRow.refusal.not_in(LEFT_OUT),
        )
        .order_by(BulkRow.line)
        .limit(most)
    )
    return [(row[0], row[1]) for row in rows]


def left_out_rows(session: Session, bulk: Bulk, most: int) -> list[BulkRow]:
    """Return up to `most` rows that were left out before the bulk file was sent, in the order of the file."""
    query = sa.select(BulkRow).where(BulkRow.bulk_id == bulk.id, BulkRow.refusal.in_(LEFT_OUT))
    return list(session.scalars(query.order_by(BulkRow.line).limit(most)))
