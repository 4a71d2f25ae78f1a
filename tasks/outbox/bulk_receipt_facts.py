"""The receipt mail for a bulk (a file of orders, link requests or changes): template variables and attachment."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
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
    from tasks.files.exported_tables import Cell

LISTED = 20
"""The most rows of the file that the text of the mail lists; the attached table has all rows."""

FATES = {
    RowFate.PLACED: N_("received"),
    RowFate.REPEATED: N_("requested before, not again"),
    RowFate.REFUSED: N_("not possible"),
    None: N_("waits for earlier answers"),
}
"""By the fate of a row of the file (None: not processed yet): the words that the receipt shows for it."""


@dataclass(frozen=True, slots=True)
class ReceivedRow:
    """A row of a bulk file as the receipt shows it.

    `draft` is the checked order, link request or change as a dict, `fate` the row's result so far (None: not processed
    yet), `customer_number` that of the account ordered, to be linked or changed. `lines` are pairs of product name and
    agreed price; empty unless the row became an order or a change.
    """

    draft: dict[str, Any]
    fate: RowFate | None
    customer_number: str
    lines: Sequence[tuple[str, PriceLine]]


def bulk_facts(session: Session, bulk_id: uuid.UUID, locale: Locale) -> tuple[dict[str, Any], list[ReceivedRow]]:
    """Return the template variables of the receipt mail for the bulk file with this id, and all rows of the file.

    The rows are for the attached table (`bulk_table`); the mail itself lists the first 20 (`LISTED`) and says how many
    more there are. Raises SQLAlchemy's `NoResultFound` if there is no such bulk file.
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
    """Return a list with one attachment: an XLSX table of the bulk file's rows and their results.

    `kind` is that of the file: files of orders have other columns than files of link requests or changes.
    """
    from tasks.files import exported_tables  # a large import, made only for this receipt

    _ = partial(translate, locale)
    with exported_tables.xlsx_of(_cells(kind, rows, locale), _("Receipt")) as file:
        return [Attachment(_("Receipt.xlsx"), exported_tables.XLSX, file.read())]


def _waits(bulk: Bulk, locale: Locale) -> str:
    """Return sentences that say which limit of the company delays the file's next rows, and when there is room again.

    Empty if no limit delays them.
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
    """Return a row of the file as a line of text for the mail: its location or customer number, and its result.

    `kind` is that of the whole file. A placed order is shown with its products instead of a result.
    """
    fate = translate(locale, FATES[row.fate])
    if kind is Kind.LINK:
        return f"{row.customer_number}: {fate}"
    if kind is Kind.CHANGE:
        return f"{row.customer_number}, {row.draft['sip_user']}: {fate}"
    place = row.draft["location"]
    name, street, city = (isolated(place[part]) for part in ("name", "street", "city"))
    where = f"{name}, {street}, {place['postal_code']} {city}"
    if row.fate is not RowFate.PLACED:
        return f"{where}: {fate}"
    return f"{row.customer_number}: {where}, {', '.join(name for name, _line in row.lines)}"


def _cells(kind: Kind, rows: Sequence[ReceivedRow], locale: Locale) -> list[list[Cell]]:
    """Return the receipt's table as a list of rows, each a list of cells; the first row has the headings."""
    _ = partial(translate, locale)
    if kind is Kind.LINK:
        links: list[list[Cell]] = [[row.customer_number, _(FATES[row.fate])] for row in rows]
        return [[_("Customer number"), _("Result")], *links]
    if kind is Kind.CHANGE:
        changed: list[Cell] = [
            _("Customer number"), _("Result"), _("SIP user"), _("Product"), _("Channels"), _("From"),
            _("Monthly before, net in euros"), _("Monthly after, net in euros"), _("One-off, net in euros"),
        ]  # fmt: skip
        return [changed, *(_change_cells(row, locale) for row in rows)]
    headings: list[Cell] = [
        _("Customer number"), _("Result"), _("Location"), _("Street"), _("Postal code"), _("City"),
        _("Contact person"), _("E-mail address"), _("Area code"), _("Products"),
        _("Monthly, net in euros"), _("One-off, net in euros"),
    ]  # fmt: skip
    return [headings, *(_order_cells(row, locale) for row in rows)]


def _change_cells(row: ReceivedRow, locale: Locale) -> list[Cell]:
    draft = row.draft
    return [
        row.customer_number,
        translate(locale, FATES[row.fate]),
        draft["sip_user"],
        draft["product_key"],
        draft["channels"],
        date.fromisoformat(draft["effective_on"]) if draft["effective_on"] else "",
        *(Decimal(draft[name]) / 100 for name in ("monthly_before", "monthly_after", "one_off")),
    ]


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
