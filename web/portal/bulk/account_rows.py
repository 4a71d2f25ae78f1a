"""The checks of the rows of a file about accounts, by the same rules as for a single request, and their quotes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.uploads import CheckedRow
from models.calendar_days import read_day
from models.changes.file_rows import quote_row
from models.contracts.catalogue import Product, ProductKind, price_list
from models.errors import AlreadyRequested, CannotClose, Forbidden, InvalidField, NotFound, RuleBroken
from models.orders.area_code_of_address import restored_postal_code
from models.orders.orders import restored_area_code
from models.states import Kind
from models.values import Locale, typed_customer_number
from tasks.bulk.account_rows import is_of_company
from web.portal.bulk.cell_checks import Errors, faults_of, number_or_text, validate
from web.portal.bulk.columns import BROKEN_RULE, COLUMNS, OBSTACLE, Cells
from web.portal.page.login_session import principal
from web.request_bodies import AddedNumbersBody, CancellationBody, ChangeBody, DetachmentBody, MoveBody

_Body = dict[str, Any]
_Facts = dict[str, Any]


def check_account_rows(
    session: Session, main: Account, kind: Kind, locale: Locale, now: datetime, rows: Sequence[tuple[int, Cells]]
) -> list[CheckedRow]:
    """Check the rows, each given as line number and cells by column key; return a result for each, in order.

    `main` is the main account for which the file is. A row may be about the main account, or a sub-account whose
    contracts the main account pays for (of a file of detachments, any sub-account); each trunk, or account, once in a
    file. `locale` is the language saved with the requests. Saves nothing.
    """
    numbers = {typed_customer_number(cells["customer_number"]) or "" for _line, cells in rows}
    found = session.scalars(sa.select(Account).where(Account.customer_number.in_(numbers))).all()
    ours = {one.customer_number: one for one in found if is_of_company(session, kind, one, main.id)}
    seen: set[tuple[str, str]] = set()
    return [_check(session, kind, locale, now, line, cells, ours, seen) for line, cells in rows]


def _check(
    session: Session,
    kind: Kind,
    locale: Locale,
    now: datetime,
    line: int,
    cells: Cells,
    ours: Mapping[str, Account],
    seen: set[tuple[str, str]],
) -> CheckedRow:
    """Check one row. `ours` are the accounts that it may be about, by number; `seen` the trunks of rows before.

    Adds the row's customer number and SIP user (empty if it is about the whole account) to `seen`.
    """
    errors = faults_of(cells)
    number = typed_customer_number(cells["customer_number"]) or cells["customer_number"]
    facts = {"customer_number": number, **_FACTS[kind](session, cells, now, number, errors)}
    if errors:
        return CheckedRow(line, cells, errors, None)
    account = ours.get(number)
    if account is None:
        wrong = "not_sub_account" if kind is Kind.DETACH else "not_of_company"
        return CheckedRow(line, cells, {"customer_number": [wrong, None]}, None)
    try:
        draft = quote_row(session, principal(), account, kind, facts, locale, now)
    except (AlreadyRequested, CannotClose, Forbidden, InvalidField, NotFound, RuleBroken) as error:
        return CheckedRow(line, cells, _wrong_cell(kind, error), None)
    about = number, draft.get("sip_user", "")
    if about in seen:
        wrong = "trunk_twice" if "sip_user" in draft else "account_twice"
        return CheckedRow(line, cells, {"customer_number": [wrong, None]}, None)
    seen.add(about)
    return CheckedRow(line, cells, None, draft)


def _day(cells: Cells, column: str) -> str | None:
    """Return the cell's day as an ISO date, and a text that is no day as it is; None for an empty cell."""
    day = read_day(cells[column])
    return day.isoformat() if day is not None else cells[column].strip() or None


def _sip_user(cells: Cells) -> str | None:
    return cells["sip_user"].strip() or None


def _text(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


def _change(session: Session, cells: Cells, now: datetime, number: str, errors: Errors) -> _Facts:
    tariffs = [product for product in price_list(session, now).values() if product.kind is ProductKind.TRUNK]
    wanted = cells["product"].strip().casefold()
    tariff = _named(tariffs, wanted)
    body: _Body = {
        "customer_number": number,
        "product": tariff.key if tariff is not None else "",
        "channels": number_or_text(cells["channels"] or (str(tariff.channels) if tariff is not None else "1")),
        "effective_on": _day(cells, "effective_on"),
        "sip_user": _sip_user(cells),
    }
    checked = validate(ChangeBody, body, cells, Kind.CHANGE, errors)
    if tariff is None:
        errors.setdefault("product", ["not_offered" if wanted else "missing", [p.key for p in tariffs if p.orderable]])
    if checked is None:
        return {}
    facts = {"sip_user": checked.sip_user, "product_key": checked.product, "channels": checked.channels}
    return {**facts, "effective_on": _text(checked.effective_on)}


def _named(tariffs: Sequence[Product], wanted: str) -> Product | None:
    return next((one for one in tariffs if wanted in map(str.casefold, (one.key, one.name_de, one.name_en))), None)


def _numbers(session: Session, cells: Cells, _now: datetime, number: str, errors: Errors) -> _Facts:
    body: _Body = {
        "customer_number": number,
        "numbers": {
            "area_code": restored_area_code(session, cells["area_code"]),
            "block_size": number_or_text(cells["block_size"]),
        },
        "effective_on": _day(cells, "effective_on"),
        "sip_user": _sip_user(cells),
    }
    checked = validate(AddedNumbersBody, body, cells, Kind.NUMBERS, errors)
    if checked is None:
        return {}
    facts = {"sip_user": checked.sip_user, "effective_on": _text(checked.effective_on)}
    return {**facts, **checked.numbers.model_dump()}


def _move(session: Session, cells: Cells, _now: datetime, number: str, errors: Errors) -> _Facts:
    area_code = restored_area_code(session, cells["area_code"])
    place = {name: cells[name] for name in ("street", "city")}
    body: _Body = {
        "customer_number": number,
        "location": {**place, "postal_code": restored_postal_code(session, cells["postal_code"], cells["city"])},
        "numbers": {"area_code": area_code} if area_code else None,
        "effective_on": _day(cells, "effective_on"),
    }
    checked = validate(MoveBody, body, cells, Kind.MOVE, errors)
    if checked is None:
        return {}
    code = checked.numbers.area_code if checked.numbers is not None else None
    return {**checked.location.model_dump(), "area_code": code, "effective_on": _text(checked.effective_on)}


def _cancellation(_session: Session, cells: Cells, _now: datetime, number: str, errors: Errors) -> _Facts:
    body = {"customer_number": number, "last_day": _day(cells, "last_day")}
    checked = validate(CancellationBody, body, cells, Kind.CANCEL, errors)
    return {"last_day": _text(checked.last_day)} if checked is not None else {}


def _detachment(_session: Session, cells: Cells, _now: datetime, number: str, errors: Errors) -> _Facts:
    body = {"customer_number": number, "effective_on": _day(cells, "effective_on")}
    checked = validate(DetachmentBody, body, cells, Kind.DETACH, errors)
    return {"effective_on": _text(checked.effective_on)} if checked is not None else {}


_FACTS: Mapping[Kind, Callable[[Session, Cells, datetime, str, Errors], _Facts]] = {
    Kind.CHANGE: _change,
    Kind.NUMBERS: _numbers,
    Kind.MOVE: _move,
    Kind.CANCEL: _cancellation,
    Kind.DETACH: _detachment,
}
"""The functions that read a row's cells as the facts of its draft, and add the cells' errors, by the file's kind."""


def _as_saved(allowed: object) -> object:
    """Return the valid values as they are read back from the saved row, so that a row that stays wrong stays equal."""
    match allowed:
        case date():
            return allowed.isoformat()
        case tuple() | list():
            return [_as_saved(one) for one in allowed]
        case Mapping():
            return {name: _as_saved(one) for name, one in allowed.items()}
        case _:
            return allowed


def _wrong_cell(
    kind: Kind, error: AlreadyRequested | CannotClose | Forbidden | InvalidField | NotFound | RuleBroken
) -> Errors:
    whole: list[Any]
    match error:
        case InvalidField(field=field, code=code, allowed=allowed):
            column = next((one.key for one in COLUMNS[kind] if one.path == field), "customer_number")
            return {column: [code, _as_saved(allowed)]}
        case NotFound() if kind is not Kind.MOVE:
            return {"sip_user": ["no_such_trunk", None]}
        case NotFound():
            whole = ["no_trunk", None]
        case AlreadyRequested():
            whole = ["change_running" if kind is Kind.CHANGE else "already_running", None]
        case CannotClose(code=code, facts=facts):
            whole = [OBSTACLE, [code, *facts]]
        case RuleBroken(reason=reason):
            whole = [BROKEN_RULE, str(reason)]
        case _:
            whole = ["not_detachable" if kind is Kind.DETACH else "not_changeable", None]
    return {"customer_number": whole}
