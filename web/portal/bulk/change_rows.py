"""The checks of the rows of a file of changes, by the same rules as for a single change, and what each row costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.uploads import CheckedRow
from models.calendar_days import read_day
from models.changes.changes import quote_change, trunk_to_change
from models.contracts.catalogue import Product, ProductKind, price_list
from models.errors import AlreadyRequested, Forbidden, InvalidField, NotFound, RuleBroken
from models.requests.approvals import paying_account
from models.states import Kind
from models.values import Locale, typed_customer_number
from web.portal.bulk.cell_checks import Errors, faults_of, number_or_text, validate
from web.portal.bulk.columns import Cells
from web.portal.page.login_session import principal
from web.request_bodies import ChangeBody


def check_changes(
    session: Session, main: Account, locale: Locale, now: datetime, rows: Sequence[tuple[int, Cells]]
) -> list[CheckedRow]:
    """Check the rows, each given as line number and cells by column key; return a result for each, in order.

    `main` is the main account for which the file is. A row may change a trunk of the main account, or of a sub-account
    whose contracts the main account pays for; each trunk once in a file. `locale` is the language saved with the
    changes. Saves nothing.
    """
    numbers = {typed_customer_number(cells["customer_number"]) or "" for _line, cells in rows}
    found = session.scalars(sa.select(Account).where(Account.customer_number.in_(numbers))).all()
    ours = {account.customer_number: account for account in found if paying_account(session, account).id == main.id}
    tariffs = [product for product in price_list(session, now).values() if product.kind is ProductKind.TRUNK]
    seen: set[int] = set()
    return [_check(session, locale, now, line, cells, ours, tariffs, seen) for line, cells in rows]


def _check(
    session: Session,
    locale: Locale,
    now: datetime,
    line: int,
    cells: Cells,
    ours: Mapping[str, Account],
    tariffs: Sequence[Product],
    seen: set[int],
) -> CheckedRow:
    """Check one row. `ours` are the accounts that may be changed, by customer number; `seen` the trunks of rows before.

    Adds the row's trunk to `seen`.
    """
    errors = faults_of(cells)
    number = typed_customer_number(cells["customer_number"]) or cells["customer_number"]
    wanted = cells["product"].strip().casefold()
    tariff = next((one for one in tariffs if wanted in map(str.casefold, (one.key, one.name_de, one.name_en))), None)
    day = read_day(cells["effective_on"])
    body = {
        "customer_number": number,
        "product": tariff.key if tariff is not None else "",
        "channels": number_or_text(cells["channels"] or (str(tariff.channels) if tariff is not None else "1")),
        "effective_on": day.isoformat() if day is not None else cells["effective_on"].strip() or None,
        "sip_user": cells["sip_user"].strip() or None,
    }
    checked = validate(ChangeBody, body, cells, Kind.CHANGE, errors)
    if tariff is None:
        offered = [one.key for one in tariffs if one.orderable]
        errors.setdefault("product", ["not_offered" if wanted else "missing", offered])
    if checked is None or errors:
        return CheckedRow(line, cells, errors, None)
    account = ours.get(number)
    if account is None:
        return CheckedRow(line, cells, {"customer_number": ["not_of_company", None]}, None)
    try:
        trunk = trunk_to_change(session, principal(), account, checked.sip_user)
        quote = quote_change(session, principal(), account, trunk.id, checked.as_draft(locale), now)
    except (AlreadyRequested, Forbidden, InvalidField, NotFound, RuleBroken) as error:
        return CheckedRow(line, cells, _wrong_cell(error), None)
    if trunk.id in seen:
        return CheckedRow(line, cells, {"customer_number": ["trunk_twice", None]}, None)
    seen.add(trunk.id)
    before, after = quote.before.costs, quote.after.costs
    draft = {
        "customer_number": number,
        "sip_user": trunk.sip_user,
        "product_key": checked.product,
        "channels": checked.channels,
        "effective_on": quote.effective_on and quote.effective_on.isoformat(),
        "monthly_before": before.monthly.net,
        "monthly_after": after.monthly.net,
        "one_off": after.one_off.net,
        "shown": quote.shown_text,
    }
    return CheckedRow(line, cells, None, draft)


def _wrong_cell(error: AlreadyRequested | Forbidden | InvalidField | NotFound | RuleBroken) -> Errors:
    match error:
        case InvalidField(field=field, code=code, allowed=allowed):
            said: Any = allowed.isoformat() if isinstance(allowed, date) else allowed
            return {field: [code, said]}
        case AlreadyRequested():
            return {"customer_number": ["change_running", None]}
        case NotFound():
            return {"sip_user": ["no_such_trunk", None]}
        case _:
            return {"customer_number": ["not_changeable", None]}
