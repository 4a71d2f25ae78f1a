"""The receipt mail for a bulk (a file of many requests): template variables and attachment."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.company_limits import Limit
from models.bulk.bulk import ON_ACCOUNTS, Bulk, BulkRow, RowFate
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
from tasks.wording.file_kinds import CONTENTS, WHAT_HAPPENS
from tasks.wording.formats import long_date
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

    `draft` is the checked request as a dict, `fate` the row's result so far (None: not processed
    yet), `customer_number` that of the account ordered, to be linked or changed. `lines` are pairs of product name and
    agreed price; empty unless the row became a request that costs something.
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
        "contents": CONTENTS[bulk.kind],
        "what_happens": WHAT_HAPPENS.get(bulk.kind, ""),
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

    `kind` is that of the file, by which it has other columns.
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
    if kind in ON_ACCOUNTS:
        asked = (_text(key, row.draft[key], locale) for _title, key in _ASKED[kind])
        return f"{', '.join(filter(None, (row.customer_number, *asked)))}: {fate}"
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
    if kind in ON_ACCOUNTS:
        columns = (*_ASKED[kind], *(_COSTS if kind is not Kind.DETACH else ()))
        titles: list[Cell] = [_("Customer number"), _("Result"), *(_(title) for title, _key in columns)]
        return [titles, *(_cells_of(row, [key for _title, key in columns], locale) for row in rows)]
    headings: list[Cell] = [
        _("Customer number"), _("Result"), _("Location"), _("Street"), _("Postal code"), _("City"),
        _("Contact person"), _("E-mail address"), _("Area code"), _("Products"),
        _("Monthly, net in euros"), _("One-off, net in euros"),
    ]  # fmt: skip
    return [headings, *(_order_cells(row, locale) for row in rows)]


_ASKED: Mapping[Kind, Sequence[tuple[str, str]]] = {
    Kind.CHANGE: (
        (N_("SIP user"), "sip_user"), (N_("Product"), "product_key"), (N_("Channels"), "channels"),
        (N_("From"), "effective_on"),
    ),
    Kind.NUMBERS: (
        (N_("SIP user"), "sip_user"), (N_("Area code"), "area_code"), (N_("Phone numbers"), "block_size"),
        (N_("From"), "effective_on"),
    ),
    Kind.MOVE: (
        (N_("Street"), "street"), (N_("Postal code"), "postal_code"), (N_("City"), "city"),
        (N_("Area code"), "area_code"), (N_("From"), "effective_on"),
    ),
    Kind.CANCEL: ((N_("Last day"), "last_day"),),
    Kind.DETACH: ((N_("From"), "effective_on"),),
}  # fmt: skip
"""The columns of the table that say what was asked for: headings, and keys of the row's draft."""
_DAYS = ("effective_on", "last_day")
_COSTS = (
    (N_("Monthly before, net in euros"), "monthly_before"),
    (N_("Monthly after, net in euros"), "monthly_after"),
    (N_("One-off, net in euros"), "one_off"),
)


def _cells_of(row: ReceivedRow, keys: Sequence[str], locale: Locale) -> list[Cell]:
    return [row.customer_number, translate(locale, FATES[row.fate]), *(_cell(key, row.draft[key]) for key in keys)]


def _text(key: str, value: str | int | None, locale: Locale) -> str:
    if value is None:
        return ""
    text = str(value)
    return long_date(date.fromisoformat(text), locale) if key in _DAYS else isolated(text)


def _cell(key: str, value: str | int | None) -> Cell:
    if value is None:
        return ""
    if key in _DAYS:
        return date.fromisoformat(str(value))
    return Decimal(value) / 100 if key in dict(_COSTS).values() else value


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
