"""The receipt of a bulk (an uploaded file of orders or link requests): variables of its mail, and a table."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.company_limits import Limit
from models.bulk.bulk import Bulk, BulkRow, RowFate
from models.bulk.left_out import LEFT_OUT
from models.bulk.progress import progress_of
from models.calendar_days import end_of_day
from models.contracts.catalogue import PriceLine, all_products, price_lines_from_json
from models.contracts.costs import costs_of
from models.proofs.deadlines import VALID_FOR
from models.requests.requests import Request
from models.states import Kind
from models.text_direction import isolated
from models.values import Locale
from tasks.outbox.price_facts import sum_facts
from tasks.ports import Attachment
from tasks.wording.company_limits import WAITS, room_text
from tasks.wording.translate import N_, translate

if TYPE_CHECKING:
    from tasks.files.spreadsheets import Cell

LISTED = 20
"""The most rows of the file that stand in the text of the mail; all are in the attached table."""

FATES = {
    RowFate.PLACED: N_("received"),
    RowFate.REPEATED: N_("requested before, not again"),
    RowFate.REFUSED: N_("not possible"),
    None: N_("waits for earlier answers"),
}
"""The words for what has become of a row of the file, by its fate."""


@dataclass(frozen=True, slots=True)
class ReceivedRow:
    """A row of a bulk file: its checked order or link request (`draft`), and what became of it (None: nothing yet).

    `customer_number` is that of the account ordered or to be linked, `lines` are the ordered products' names and
    prices.
    """

    draft: dict[str, Any]
    fate: RowFate | None
    customer_number: str
    lines: Sequence[tuple[str, PriceLine]]


def bulk_facts(session: Session, bulk_id: uuid.UUID, locale: Locale) -> tuple[dict[str, Any], list[ReceivedRow]]:
    """Return the variables of the receipt's mail for the bulk file with this id, and all of its rows for the table.

    The mail lists the first 20 rows (`LISTED`) and says how many more there are. Raises `NoResultFound` of SQLAlchemy
    if there is no such bulk file.
    """
    bulk = session.scalars(sa.select(Bulk).where(Bulk.id == bulk_id).options(joinedload(Bulk.main))).one()
    rows = _rows(session, bulk, locale)
    assert bulk.sent_at is not None
    fates = Counter(row.fate for row in rows)
    facts: dict[str, Any] = {
        "kind": bulk.kind,
        "file_name": bulk.file_name,
        "customer_number": bulk.main.customer_number,
        "main_account_name": bulk.main.name,
        "ordered_at": bulk.sent_at.isoformat(),
        "until": end_of_day(bulk.sent_at + VALID_FOR).isoformat(),
        "rows": len(rows),
        "left_out": progress_of(session, bulk).left_out,
        "waits": _waits(bulk, locale),
        **{name: fates[fate] for name, fate in _COUNTED.items()},
        "listed": [_listed(bulk.kind, row, locale) for row in rows[:LISTED]],
        "more": max(0, len(rows) - LISTED),
    }
    costs = costs_of(line for row in rows for _name, line in row.lines)
    if bulk.kind is Kind.ORDER and fates[RowFate.PLACED]:
        facts |= sum_facts(costs.monthly, costs.one_off)
    return facts, rows


def bulk_table(kind: Kind, rows: Sequence[ReceivedRow], locale: Locale) -> list[Attachment]:
    """Return the table of a bulk's rows as an attached XLSX file, so that Excel keeps the zeros of postal codes.

    `kind` says whether the bulk has orders or link requests, which have different columns.
    """
    from tasks.files import spreadsheets  # a large import, made only for this receipt

    _ = partial(translate, locale)
    with spreadsheets.xlsx_of(_cells(kind, rows, locale), _("Receipt")) as file:
        return [Attachment(_("Receipt.xlsx"), spreadsheets.XLSX, file.read())]


def _waits(bulk: Bulk, locale: Locale) -> str:
    """Return for which limit of the company the bulk file's next rows wait, and when there is room again, as sentences.

    Empty if they wait for no limit.
    """
    if bulk.waits_for is None:
        return ""
    until = bulk.due_at if bulk.waits_for is not Limit.OPEN_ORDERS else None
    return f"{translate(locale, WAITS[bulk.waits_for])} {room_text(until, locale)}"


_COUNTED = {"placed": RowFate.PLACED, "repeated": RowFate.REPEATED, "refused": RowFate.REFUSED, "waiting": None}


def _rows(session: Session, bulk: Bulk, locale: Locale) -> list[ReceivedRow]:
    names = {key: product.name(locale) for key, product in all_products(session).items()}
    query = (
        sa.select(BulkRow.draft, BulkRow.fate, Request.customer_number, Request.price_lines)
        .outerjoin(Request, Request.id == BulkRow.request_id)
        .where(BulkRow.bulk_id == bulk.id, BulkRow.refusal.is_(None) | BulkRow.refusal.not_in(LEFT_OUT))
        .order_by(BulkRow.line)
    )
    return [
        ReceivedRow(
            draft or {},
            fate,
            number or (draft or {}).get("customer_number", ""),
            [(names[key], line) for key, line in price_lines_from_json(lines or []).items()],
        )
        for draft, fate, number, lines in session.execute(query)
    ]


def _listed(kind: Kind, row: ReceivedRow, locale: Locale) -> str:
    """Return the line about a row of the file in the mail's list: its location or customer number, and its result.

    `kind` says whether the file has orders or link requests. For a placed order the products stand in the line, too.
    """
    fate = translate(locale, FATES[row.fate])
    if kind is Kind.LINK:
        return f"{row.customer_number}: {fate}"
    place = row.draft["location"]
    name, street, city = (isolated(place[part]) for part in ("name", "street", "city"))
    where = f"{name}, {street}, {place['postal_code']} {city}"
    if row.fate is not RowFate.PLACED:
        return f"{where}: {fate}"
    return f"{row.customer_number}: {where}, {', '.join(name for name, _line in row.lines)}"


def _cells(kind: Kind, rows: Sequence[ReceivedRow], locale: Locale) -> list[list[Cell]]:
    """Return the rows of the receipt's table as lists of cells, the headings first."""
    _ = partial(translate, locale)
    if kind is Kind.LINK:
        links: list[list[Cell]] = [[row.customer_number, _(FATES[row.fate])] for row in rows]
        return [[_("Customer number"), _("Result")], *links]
    headings: list[Cell] = [
        _("Customer number"), _("Result"), _("Location"), _("Street"), _("Postal code"), _("City"),
        _("Contact person"), _("E-mail address"), _("Area code"), _("Products"),
        _("Monthly, net in euros"), _("One-off, net in euros"),
    ]  # fmt: skip
    return [headings, *(_order_cells(row, locale) for row in rows)]


def _order_cells(row: ReceivedRow, locale: Locale) -> list[Cell]:
    place, contact, costs = row.draft["location"], row.draft["contact"], costs_of(line for _, line in row.lines)
    return [
        row.customer_number,
        translate(locale, FATES[row.fate]),
        place["name"],
        place["street"],
        place["postal_code"],
        place["city"],
        contact["name"],
        contact["email"],
        row.draft["area_code"],
        ", ".join(name for name, _line in row.lines),
        Decimal(costs.monthly.net) / 100 if row.lines else "",
        Decimal(costs.one_off.net) / 100 if row.lines else "",
    ]
