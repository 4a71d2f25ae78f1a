"""The preview of an uploaded bulk file (rows, errors, costs), and functions that save the user's corrections."""

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
from models.bulk.bulk import ON_ACCOUNTS, Bulk, BulkRow, RowChoice, rows_of
from models.bulk.left_out import RowNote, choose_rows, lines_not_ordered, notes_of, rows_left_out
from models.bulk.preview import (
    content_of,
    costs_before_and_after,
    count_rows,
    days_of_orders,
    outdated_rows,
    products_in,
)
from models.bulk.uploads import mend
from models.contracts.costs import Amount, Costs
from models.orders.baskets import basket_of
from models.proofs.order_placement import OrderDays
from models.states import Kind
from web.portal.bulk.columns import COLUMNS, Cells, Column, cell_error_text, decrypted_cells
from web.portal.bulk.request_texts import effect_text
from web.portal.bulk.row_checks import Checker
from web.portal.bulk.texts import wrong_cells_text
from web.portal.page.login_session import principal
from web.resources import resources

AT_ONCE = 100
"""Maximum number of rows on one page of the preview."""


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of a bulk file as the preview shows it: its line number, its cells, and the error texts of its wrong cells.

    `cells` and `wrong` are by column key. `note` says why the row is left out: the user left it out, or it repeats
    another row, file or sub-account. If the user wants such a row sent all the same, `note` says what the row repeats.
    None if there is nothing to say.
    """

    line: int
    cells: Mapping[str, str]
    wrong: Mapping[str, str]
    note: RowNote | None
    wrong_text: str
    """All errors in one text, each with the heading of its column."""
    monthly: tuple[int, int] | None
    """What the contract costs a month, net in cents, before and after the request; None for other kinds of rows."""
    effect: str
    """What the request does, beyond what the cells say; empty if they say it all, or the row is wrong."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The data of the preview page, which an uploaded bulk file has until it is sent.

    `account` is the main account for which the file is, `columns` are the columns of its table. `rows`, `wrong_rows`
    and `wrong_cells` are counts over the whole file; a row that the user has left out counts in `rows` only. `notes`
    says, by line number, why rows are left out or what they repeat. `shown` are the rows of this page, only wrong ones
    if the file has any. `chosen` are rows that the user has left out; empty unless other rows are wrong. `content` is a
    digest of all rows and of the user's choices about them. `costs` is the price of all rows to be sent. `days` says
    how many of them become orders on which day, under the company's limits. Both are None for link requests and while
    rows are wrong. `after` is the line number after which the next page begins, 0 on the last page.
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
    changed: tuple[int, int, int] | None
    """For a file about accounts without wrong rows, in cents, net: monthly before, monthly after, and one-off."""

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
        """Return, by line number, the notes on rows whose name and address a sub-account or an earlier row has, too."""
        return {line: note for line, note in self.notes.items() if note.is_same_site}

    @property
    def by_person(self) -> int:
        """Return the number of rows that the user has left out."""
        return sum(note.chosen for note in self.notes.values())

    @property
    def left_out(self) -> int:
        """Return the number of rows that will not be sent, because the user or a rule leaves them out."""
        return len(lines_not_ordered(self.notes))

    @property
    def ordered(self) -> int:
        """Return the number of rows that will be sent as requests: they are valid and not left out."""
        return self.rows - self.wrong_rows - self.left_out

    @property
    def later(self) -> int:
        """Return the number of rows that become orders only after present orders have ended, on an unknown day.

        The reason is the company's limit on open orders. 0 for link requests and while rows are wrong.
        """
        return self.ordered - sum(count for _day, count in self.days.days) if self.days is not None else 0

    @property
    def has_costs(self) -> bool:
        """Return whether the table has the monthly costs of each row before and after, which wrong rows do not have.

        A move and a detachment leave them as they are.
        """
        return not self.wrong_cells and self.bulk.kind in ON_ACCOUNTS - {Kind.MOVE, Kind.DETACH}

    @property
    def has_effects(self) -> bool:
        """Return whether the table says what each row does (`effect_text`), which is unknown of wrong rows."""
        return not self.wrong_cells and self.bulk.kind in ON_ACCOUNTS - {Kind.CHANGE}

    @property
    def fingerprint(self) -> str:
        """Return a hash of what the user confirms by sending the file: rows, which of them are left out, and prices.

        If the hash differs when the file is sent, something has changed since the page was shown.
        """
        sums = (self.costs.monthly.net, self.costs.one_off.net) if self.costs is not None else self.changed or ()
        facts = (self.bulk.id, self.content, self.before, self.twice, sorted(self.same), self.left_out, sums)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def preview_of(session: Session, bulk: Bulk, after: int) -> Preview:
    """Return the preview of an uploaded file, with the page of rows that begins after the line number `after`.

    First check again, and save, the rows that have become invalid since they were checked.
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
        costs_before_and_after(session, bulk, but) if bulk.kind in ON_ACCOUNTS and not wrong_rows else None,
    )


def save_corrections(session: Session, bulk: Bulk) -> None:
    """Save the cells of the submitted form, check the rows with these cells again, and save which rows to leave out.

    The form fields of the cells are named `cell-<line number>-<column key>`. Only cells that were wrong are changed.
    """
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
    """Save which rows of the file the user leaves out, by the submitted form.

    The form field `listed` has the line numbers of the rows on the page, `without` those of the ticked rows. Ticked
    rows are left out, the other listed rows are not. Rows that are not listed keep their choice.
    """
    choose_rows(session, bulk, _lines("listed"), _lines("without"))


def _lines(name: str) -> set[int]:
    return {int(line) for line in request.form.getlist(name) if line.isdecimal() and len(line) < 7}


def _shown_row(kind: Kind, row: BulkRow, note: RowNote | None) -> ShownRow:
    wrong = {column: cell_error_text(column, error) for column, error in (row.errors or {}).items()}
    told = wrong_cells_text(kind, row.errors or {})
    draft = row.draft or {}
    monthly = (draft["monthly_before"], draft["monthly_after"]) if "monthly_before" in draft else None
    effect = effect_text(kind, draft) if draft else ""
    return ShownRow(row.line, decrypted_cells(resources().vault, row.cells), wrong, note, told, monthly, effect)


def _costs(session: Session, bulk: Bulk, but: Collection[int], now: datetime) -> Costs:
    monthly = one_off = 0
    for facts, count in products_in(session, bulk, but):
        basket = basket_of(session, facts["product_key"], facts["block_size"], facts["option_keys"], now)
        monthly += count * sum(product.monthly_cents for product in basket.products)
        one_off += count * sum(product.one_off_cents for product in basket.products)
    return Costs(Amount(monthly), Amount(one_off))


def _recheck(session: Session, bulk: Bulk) -> None:
    """Check the rows of an order file again that were valid but are no longer valid, and save the result.

    For example, a product of the row was withdrawn since, or an option needs details by now. Locks the file, and does
    nothing if it is sent already.
    """
    if bulk.kind in ON_ACCOUNTS:
        _recheck_account_rows(session, bulk)
        return
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


def _recheck_account_rows(session: Session, bulk: Bulk) -> None:
    """Check the rows of a file about accounts again, and save those whose quotes or errors differ by now.

    A contract can change in many ways meanwhile, so all rows are looked at. Locks the file if anything differs, and
    does nothing if it is sent already.
    """
    checker = Checker(
        session,
        resources().vault,
        session.get_one(Account, bulk.main_id),
        bulk.kind,
        bulk.locale,
        resources().clock(),
    )
    rows = {row.line: row for row in rows_of(session, bulk) if row.choice is not RowChoice.LEAVE_OUT}
    found = checker.check([(line, row.cells) for line, row in rows.items()])
    differing = [one for one in found if (one.errors, one.draft) != (rows[one.line].errors, rows[one.line].draft)]
    if differing:
        session.refresh(bulk, with_for_update=True)
        if bulk.sent_at is None:
            mend(session, bulk, differing)
