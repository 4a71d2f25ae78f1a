"""The preview of an uploaded file: its rows with their errors, its costs, and saving of corrected cells."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import (
    request,
)
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import (
    Bulk,
    BulkRow,
    mend,
    outdated_rows,
    rows_of,
)
from models.bulk.preview import (
    RowNote,
    content_of,
    count_left_out,
    count_rows,
    notes_of,
    orders_within_limits,
    products_in,
)
from models.contracts.costs import Amount, Costs
from models.errors import LimitReached
from models.orders.orders import basket_of
from models.states import Kind
from web.portal.bulk.columns import COLUMNS, Cells, Checker, Column, cell_error_text, decrypted_cells
from web.portal.page.session import principal
from web.resources import resources

AT_ONCE = 100
"""Maximum number of rows on one page of the preview."""


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of the file as the preview shows it: its line number, its cells, and the error texts of its wrong cells.

    `cells` and `wrong` are by column key. `note` says what the row has in common with another one, None if nothing.
    """

    line: int
    cells: Mapping[str, str]
    wrong: Mapping[str, str]
    note: RowNote | None


@dataclass(frozen=True, slots=True)
class Preview:
    """An uploaded file whose rows are not sent as requests yet, as its preview page shows it.

    `account` is the main account for which it is. `rows`, `wrong_rows` and `wrong_cells` are numbers over the whole
    file. `before` is the number of valid rows that were ordered before from another file, `twice` the number of those
    that repeat an earlier row of this file; neither are sent. `shown` are the rows of this page: only rows with errors
    if the file has any. `content` is a digest of all valid rows. `costs` is the price of all rows to be sent, None for
    link requests and while rows are wrong. `same` are the rows, by line number, that would order a location again with
    another content. `after` is the line number after which the next page begins, 0 on the last
    page.
    """

    bulk: Bulk
    account: Account
    columns: Sequence[Column]
    rows: int
    wrong_rows: int
    wrong_cells: int
    before: int
    twice: int
    shown: Sequence[ShownRow]
    content: bytes
    costs: Costs | None
    same: Mapping[int, RowNote]
    after: int
    at_once: int
    """How many of the rows to be sent the limits of the company allow now; the others wait."""
    limit: LimitReached | None
    """The limit for which the others wait; None if all are sent at once."""

    @property
    def ordered(self) -> int:
        """Return the number of rows that will be sent as requests: valid, not ordered before, and not repeated."""
        return self.rows - self.wrong_rows - self.before - self.twice

    @property
    def fingerprint(self) -> str:
        """Return a hash of the rows to be sent, their prices and the number of warnings; changes with any of them."""
        sums = (self.costs.monthly.net, self.costs.one_off.net) if self.costs is not None else ()
        facts = (self.bulk.id, self.content, self.before, self.twice, len(self.same), sums)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def preview_of(session: Session, bulk: Bulk, after: int) -> Preview:
    """Return the preview of an uploaded file, with the page of its rows that begins after the line number `after`.

    First checks those rows anew that have become invalid since they were checked.
    """
    _recheck(session, bulk)
    rows, wrong_rows, wrong_cells = count_rows(session, bulk)
    at_once, limit = rows, None
    if bulk.kind is Kind.ORDER and not wrong_rows:
        usual = resources().settings.limits
        at_once, limit = orders_within_limits(session, bulk, principal(), resources().clock(), usual)
    listed = rows_of(session, bulk, wrong=wrong_rows > 0, after=after, most=AT_ONCE)
    notes = notes_of(session, bulk) if bulk.kind is Kind.ORDER and not wrong_rows else {}
    return Preview(
        bulk,
        session.get_one(Account, bulk.main_id),
        COLUMNS[bulk.kind],
        rows,
        wrong_rows,
        wrong_cells,
        *count_left_out(session, bulk),
        [_shown_row(row, notes.get(row.line)) for row in listed],
        content_of(session, bulk),
        _costs(session, bulk) if bulk.kind is Kind.ORDER and not wrong_rows else None,
        {line: note for line, note in notes.items() if note.is_ordered},
        listed[-1].line if len(listed) == AT_ONCE else 0,
        at_once,
        limit,
    )


def save_corrections(session: Session, bulk: Bulk) -> None:
    """Save the cells of the submitted form, check their rows again, and delete the rows that the user left out."""
    typed: dict[int, dict[str, str]] = {}
    for name, value in request.form.items():
        if place := re.fullmatch(r"cell-(\d{1,6})-([a-z_]+)", name):
            typed.setdefault(int(place[1]), {})[place[2]] = " ".join(value.split())
    left_out = [int(line) for line in request.form.getlist("without") if line.isdecimal() and len(line) < 7]
    fresh: list[tuple[int, Cells]] = []
    for row in rows_of(session, bulk, lines=[line for line in typed if line not in left_out]):
        mended = {key: value for key, value in typed[row.line].items() if key in (row.errors or {})}
        fresh.append((row.line, decrypted_cells(resources().vault, row.cells) | mended))
    account = session.get_one(Account, bulk.main_id)
    checker = Checker(session, resources().vault, account, bulk.kind, bulk.locale)
    mend(session, bulk, checker.check(fresh), left_out)


def _shown_row(row: BulkRow, note: RowNote | None) -> ShownRow:
    wrong = {column: cell_error_text(column, error) for column, error in (row.errors or {}).items()}
    return ShownRow(row.line, decrypted_cells(resources().vault, row.cells), wrong, note)


def _costs(session: Session, bulk: Bulk) -> Costs:
    monthly = one_off = 0
    for facts, count in products_in(session, bulk):
        basket = basket_of(session, facts["product_key"], facts["block_size"], facts["option_keys"])
        monthly += count * sum(product.monthly_cents for product in basket.products)
        one_off += count * sum(product.one_off_cents for product in basket.products)
    return Costs(Amount(monthly), Amount(one_off))


def _recheck(session: Session, bulk: Bulk) -> None:
    """Check those rows of an order file anew that were valid when they were checked and are not valid any more.

    Such a row names a product withdrawn since, or an option that needs details now.
    """
    if bulk.kind is not Kind.ORDER or not (rows := outdated_rows(session, bulk)):
        return
    session.refresh(bulk, with_for_update=True)
    if bulk.sent_at is None:
        checker = Checker(session, resources().vault, session.get_one(Account, bulk.main_id), bulk.kind, bulk.locale)
        mend(session, bulk, checker.check([(row.line, row.cells) for row in rows]), ())
