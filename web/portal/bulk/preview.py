"""The preview of an uploaded file: its rows with their errors, its costs, and saving of corrected cells."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import (
    request,
)
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import Bulk, BulkRow, rows_of
from models.bulk.left_out import RowNote, choose_rows, lines_not_ordered, notes_of, rows_left_out
from models.bulk.preview import content_of, count_rows, days_of_orders, outdated_rows, products_in
from models.bulk.uploads import mend
from models.contracts.costs import Amount, Costs
from models.orders.baskets import basket_of
from models.proofs.order_placement import OrderDays
from models.states import Kind
from web.portal.bulk.columns import COLUMNS, Cells, Column, cell_error_text, decrypted_cells
from web.portal.bulk.row_checks import Checker
from web.portal.bulk.texts import wrong_cells_text
from web.portal.page.session import principal
from web.resources import resources

AT_ONCE = 100
"""Maximum number of rows on one page of the preview."""


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of the file as the preview shows it: its line number, its cells, and the error texts of its wrong cells.

    `cells` and `wrong` are by column key. `note` says what the row has in common with another row, another file or a
    sub-account, or that a person has left it out; None if nothing.
    """

    line: int
    cells: Mapping[str, str]
    wrong: Mapping[str, str]
    note: RowNote | None
    wrong_text: str
    """All errors in one text, each with the heading of its column."""


@dataclass(frozen=True, slots=True)
class Preview:
    """An uploaded file whose rows are not sent as requests yet, as its preview page shows it.

    `account` is the main account for which the file is, `columns` are those of the table. `rows`, `wrong_rows` and
    `wrong_cells` are numbers over the whole file; rows that a person has left out count among `rows` only. `notes` are
    the notes about rows, by line number: why a row is left out. `shown` are the rows of this page: only rows with
    errors if the file has any. `chosen` are the rows that a person has left out, read only while other rows are wrong.
    `content` is a digest of the drafts of all rows and of what a person chose for them. `costs` is the price of all
    rows to be sent, None for link requests and while rows are wrong. `after` is the line number after which the next
    page begins, 0 on the last page. `days` says how many orders the limits of the company allow on which day; None for
    link requests and while rows are wrong.
    """

    bulk: Bulk
    account: Account
    columns: Sequence[Column]
    rows: int
    wrong_rows: int
    wrong_cells: int
    notes: Mapping[int, RowNote]
    shown: Sequence[ShownRow]
    chosen: Sequence[ShownRow]
    content: bytes
    costs: Costs | None
    after: int
    days: OrderDays | None

    @property
    def before(self) -> int:
        """Return the number of rows that are not sent because they were ordered before from another file."""
        return sum(note.before is not None for note in self.notes.values())

    @property
    def twice(self) -> int:
        """Return the number of rows that are not sent because they repeat an earlier row of this file."""
        return sum(note.repeats is not None for note in self.notes.values())

    @property
    def same(self) -> Mapping[int, RowNote]:
        """Return the notes about rows whose name and address a sub-account or an earlier row has, by line number."""
        return {line: note for line, note in self.notes.items() if note.is_same_site}

    @property
    def by_person(self) -> int:
        """Return the number of rows that a person has left out."""
        return sum(note.chosen for note in self.notes.values())

    @property
    def left_out(self) -> int:
        """Return the number of rows that will not be sent, whether a person or a rule leaves them out."""
        return len(lines_not_ordered(self.notes))

    @property
    def ordered(self) -> int:
        """Return the number of rows that will be sent as requests: they are valid and not left out."""
        return self.rows - self.wrong_rows - self.left_out

    @property
    def later(self) -> int:
        """Return the number of rows whose day is not known: they can be sent only once open orders have ended."""
        return self.ordered - sum(count for _day, count in self.days.days) if self.days is not None else 0

    @property
    def fingerprint(self) -> str:
        """Return a hash of the rows, what is left out, the prices and the warnings; it changes with any of them."""
        sums = (self.costs.monthly.net, self.costs.one_off.net) if self.costs is not None else ()
        facts = (self.bulk.id, self.content, self.before, self.twice, sorted(self.same), self.left_out, sums)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def preview_of(session: Session, bulk: Bulk, after: int) -> Preview:
    """Return the preview of an uploaded file, with the page of its rows that begins after the line number `after`.

    First checks again those rows that have become invalid since they were checked, and saves the result.
    """
    _recheck(session, bulk)
    rows, wrong_rows, wrong_cells = count_rows(session, bulk)
    notes = notes_of(session, bulk)
    but = lines_not_ordered(notes)
    priced = bulk.kind is Kind.ORDER and not wrong_rows
    usual, now = resources().settings.limits, resources().clock()
    listed = rows_of(session, bulk, wrong=wrong_rows > 0, after=after, most=AT_ONCE)
    chosen = rows_left_out(session, bulk, wrong=True, most=AT_ONCE) if wrong_rows else []
    return Preview(
        bulk,
        session.get_one(Account, bulk.main_id),
        COLUMNS[bulk.kind],
        rows,
        wrong_rows,
        wrong_cells,
        notes,
        [_shown_row(bulk.kind, row, notes.get(row.line)) for row in listed],
        [_shown_row(bulk.kind, row, notes.get(row.line)) for row in chosen],
        content_of(session, bulk),
        _costs(session, bulk, but, now) if priced else None,
        listed[-1].line if len(listed) == AT_ONCE else 0,
        days_of_orders(session, bulk, but, principal(), now, usual) if priced else None,
    )


def save_corrections(session: Session, bulk: Bulk) -> None:
    """Save the cells of the submitted form, check their rows again, and save which rows the user leaves out."""
    typed: dict[int, dict[str, str]] = {}
    for name, value in request.form.items():
        if place := re.fullmatch(r"cell-(\d{1,6})-([a-z_]+)", name):
            typed.setdefault(int(place[1]), {})[place[2]] = " ".join(value.split())
    fresh: list[tuple[int, Cells]] = []
    for row in rows_of(session, bulk, lines=list(typed)):
        mended = {key: value for key, value in typed[row.line].items() if key in (row.errors or {})}
        fresh.append((row.line, decrypted_cells(resources().vault, row.cells) | mended))
    account = session.get_one(Account, bulk.main_id)
    checker = Checker(session, resources().vault, account, bulk.kind, bulk.locale, resources().clock())
    mend(session, bulk, checker.check(fresh))
    save_choices(session, bulk)


def save_choices(session: Session, bulk: Bulk) -> None:
    """Save which rows the user leaves out.

    Of the rows in the form's fields `listed`, those also in `without` (ticked) are left out and the others are not.
    Rows that the form does not list keep their choice.
    """
    choose_rows(session, bulk, _lines("listed"), _lines("without"))


def _lines(name: str) -> set[int]:
    return {int(line) for line in request.form.getlist(name) if line.isdecimal() and len(line) < 7}


def _shown_row(kind: Kind, row: BulkRow, note: RowNote | None) -> ShownRow:
    wrong = {column: cell_error_text(column, error) for column, error in (row.errors or {}).items()}
    told = wrong_cells_text(kind, row.errors or {})
    return ShownRow(row.line, decrypted_cells(resources().vault, row.cells), wrong, note, told)


def _costs(session: Session, bulk: Bulk, but: Collection[int], now: datetime) -> Costs:
    monthly = one_off = 0
    for facts, count in products_in(session, bulk, but):
        basket = basket_of(session, facts["product_key"], facts["block_size"], facts["option_keys"], now)
        monthly += count * sum(product.monthly_cents for product in basket.products)
        one_off += count * sum(product.one_off_cents for product in basket.products)
    return Costs(Amount(monthly), Amount(one_off))


def _recheck(session: Session, bulk: Bulk) -> None:
    """Check again the rows of an order file that were valid when they were checked and are not valid any more.

    Such a row names a product that was withdrawn since then, or an option that needs details now.
    """
    if bulk.kind is not Kind.ORDER or not (rows := outdated_rows(session, bulk, resources().clock())):
        return
    session.refresh(bulk, with_for_update=True)
    if bulk.sent_at is None:
        checker = Checker(
            session,
            resources().vault,
            session.get_one(Account, bulk.main_id),
            bulk.kind,
            bulk.locale,
            resources().clock(),
        )
        mend(session, bulk, checker.check([(row.line, row.cells) for row in rows]))
