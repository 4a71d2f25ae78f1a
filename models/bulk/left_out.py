"""Rows of a bulk file that are not ordered, because a person leaves them out or because their location exists.

A location exists if a sub-account or an earlier row of the file has the row's name and address.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from models.accounts.accounts import Account
from models.bulk.bulk import CAME_TO_NOTHING, MOST_ROWS, Bulk, BulkRow, RowChoice, RowFate
from models.orders.orders import Location
from models.orders.same_sites import SiteKey, same_sites, site_key
from models.requests.requests import Request
from models.states import Kind

BY_PERSON, SAME_ACCOUNT, SAME_LINE = "left_out", "same_account", "same_line"
LEFT_OUT = (BY_PERSON, SAME_ACCOUNT, SAME_LINE)
"""The values of `BulkRow.refusal` for rows that were left out before the bulk was sent."""

IS_LEFT_OUT = BulkRow.choice.is_not_distinct_from(RowChoice.LEAVE_OUT)
"""An SQL condition: a person has left the row out."""

_placed = aliased(BulkRow)


@dataclass(frozen=True, slots=True)
class RowNote:
    """Why a row of a bulk file is not ordered, or what a person decided about it.

    Each field below is None or False if it does not apply.
    `before`: the earlier file in which the row's content was ordered. `repeats`: the line number of an equal earlier
    row. `account`: the sub-account that has the row's name and address. `same_line`: the line number of an earlier row
    with its name and address. `chosen`: a person has left the row out. `wanted`: a person wants the row to be ordered
    although its name and address are those of `account` or of the row `same_line`.
    """

    before: Bulk | None = None
    repeats: int | None = None
    account: Account | None = None
    same_line: int | None = None
    chosen: bool = False
    wanted: bool = False

    @property
    def is_same_site(self) -> bool:
        """Return whether the row has the name and address of a sub-account or of an earlier row of the bulk file."""
        return self.account is not None or self.same_line is not None

    @property
    def is_ordered(self) -> bool:
        """Return whether the row is ordered although its location exists, because a person wants it a second time."""
        return self.is_same_site and self.wanted

    @property
    def can_be_chosen(self) -> bool:
        """Return whether a person may decide about the row: False if it repeats an order of an earlier file or row."""
        return self.before is None and self.repeats is None


def notes_of(session: Session, bulk: Bulk) -> Mapping[int, RowNote]:
    """Return, by line number, a note for each row that is left out, repeats an order or has a location that exists.

    A location exists if a sub-account or an earlier row has its name and address. Of every kind of bulk file
    but orders only the rows that a person has left out have a note.
    """
    rows = session.execute(
        sa.select(BulkRow.line, BulkRow.key, BulkRow.draft["location"], BulkRow.choice)
        .where(BulkRow.bulk_id == bulk.id, BulkRow.key.is_not(None) | IS_LEFT_OUT)
        .order_by(BulkRow.line)
    ).all()
    notes = {line: RowNote(chosen=True) for line, _, _, choice in rows if choice is RowChoice.LEAVE_OUT}
    if bulk.kind is not Kind.ORDER:
        return notes
    kept = [(line, key, Location(**facts), choice) for line, key, facts, choice in rows if line not in notes]
    before = _ordered_before(session, bulk)
    main = session.get_one(Account, bulk.main_id)
    known = same_sites(session, main, {place.postal_code for _, _, place, _ in kept})
    lines_by_key: dict[bytes, int] = {}
    lines_by_site: dict[SiteKey, int] = {}
    for line, key, place, choice in kept:
        site, wanted = site_key(place), choice is RowChoice.ORDER
        if key in before:
            notes[line] = RowNote(before=before[key])
        elif key in lines_by_key:
            notes[line] = RowNote(repeats=lines_by_key[key])
        elif site in known or site in lines_by_site:
            notes[line] = RowNote(account=known.get(site), same_line=lines_by_site.get(site), wanted=wanted)
        lines_by_key.setdefault(key, line)
        if key not in before:
            lines_by_site.setdefault(site, line)
    return notes


def lines_not_ordered(notes: Mapping[int, RowNote]) -> set[int]:
    """Return the line numbers of those rows in `notes` that will not be ordered when the bulk file is sent."""
    return {line for line, note in notes.items() if not note.is_ordered}


def choose_rows(session: Session, bulk: Bulk, listed: Collection[int], left_out: Collection[int]) -> None:
    """Save which rows of the bulk file a person leaves out: the rows of the form whose line numbers are in `left_out`.

    `listed` are the line numbers of the rows in the form; `left_out` may name further rows. A row whose name and
    address a sub-account or an earlier row has is left out by default. If it is in `listed` and not in `left_out`, the
    person's wish to order it all the same is saved. A row that repeats an order of an earlier file or an earlier row
    cannot be chosen. The bulk must be locked and not sent. Flushes.
    """
    assert bulk.sent_at is None
    notes = notes_of(session, bulk)
    lines = [*{*listed, *left_out}]
    for row in session.scalars(sa.select(BulkRow).where(BulkRow.bulk_id == bulk.id, BulkRow.line.in_(lines))):
        note = notes.get(row.line, RowNote())
        if row.line not in left_out:
            row.choice = RowChoice.ORDER if note.is_same_site else None
        elif note.is_same_site:
            # Left out by default, with its reason.
            row.choice = None
        elif note.can_be_chosen:
            row.choice = RowChoice.LEAVE_OUT
    session.flush()


def record_left_out(session: Session, bulk: Bulk) -> None:
    """Mark the rows that are left out of a bulk as refused, each with its reason; call it just before the bulk is sent.

    Also deletes the link codes in these rows, and flushes. Rows that repeat an earlier row or an earlier file are not
    marked here: the worker recognises them when it turns the rows into requests.
    """
    notes = {line: note for line, note in notes_of(session, bulk).items() if note.can_be_chosen and not note.is_ordered}
    rows = sa.select(BulkRow).where(BulkRow.bulk_id == bulk.id, BulkRow.line.in_(list(notes)))
    for row in session.scalars(rows):
        note = notes[row.line]
        row.fate = RowFate.REFUSED
        if note.chosen:
            row.refusal = BY_PERSON
        elif note.account is not None:
            row.refusal, row.about = SAME_ACCOUNT, note.account.customer_number
        else:
            row.refusal, row.about = SAME_LINE, str(note.same_line)
        row.forget_code()
    session.flush()


def rows_left_out(
    session: Session, bulk: Bulk, *, wrong: bool = False, after: int = 0, most: int = MOST_ROWS
) -> list[BulkRow]:
    """Return up to `most` rows that are not ordered, in the order of the file, beginning after the line `after`.

    Before the bulk is sent, these are the rows that a person left out, that repeat another row, or whose name and
    address a sub-account or an earlier row has; with `wrong`, for a bulk with errors, only those that a person left
    out. After it was sent, these are the rows that were refused or repeat an order, whatever `wrong` is.
    """
    query = sa.select(BulkRow).where(BulkRow.bulk_id == bulk.id, BulkRow.line > after)
    if bulk.sent_at is not None:
        query = query.where(BulkRow.fate.in_([RowFate.REFUSED, RowFate.REPEATED]))
    elif wrong:
        query = query.where(IS_LEFT_OUT)
    else:
        query = query.where(BulkRow.line.in_(list(lines_not_ordered(notes_of(session, bulk)))))
    return list(session.scalars(query.order_by(BulkRow.line).limit(most)))


def orders_repeated(session: Session, rows: Collection[BulkRow]) -> Mapping[bytes, tuple[int, Bulk]]:
    """Return, by key, the earlier order that each repeated row among `rows` repeats: its line number and bulk file.

    The key is the hash of an order's content. The earlier order was placed for the same main account, perhaps from
    another file.
    """
    keys = [row.key for row in rows if row.fate is RowFate.REPEATED]
    query = (
        sa.select(BulkRow.key, BulkRow.line, Bulk)
        .join(Bulk, Bulk.id == BulkRow.bulk_id)
        .where(
            BulkRow.main_id.in_({row.main_id for row in rows}),
            BulkRow.key.in_(keys),
            BulkRow.fate == RowFate.PLACED,
        )
    )
    return {key: (line, bulk) for key, line, bulk in session.execute(query) if key is not None}


def _ordered_before(session: Session, bulk: Bulk) -> Mapping[bytes, Bulk]:
    """Return, by key, the bulk files in which the content of rows of this bulk file was ordered before.

    A row's key is a hash of its content. Orders that were rejected or cancelled do not count.
    """
    query = (
        sa.select(BulkRow.key, Bulk)
        .join(_placed, (_placed.main_id == BulkRow.main_id) & (_placed.key == BulkRow.key))
        .join(Bulk, Bulk.id == _placed.bulk_id)
        .join(Request, Request.id == _placed.request_id)
        .where(BulkRow.bulk_id == bulk.id, _placed.fate == RowFate.PLACED, Request.status.not_in(CAME_TO_NOTHING))
    )
    return {key: found for key, found in session.execute(query) if key is not None}
