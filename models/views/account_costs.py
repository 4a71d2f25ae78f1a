"""The costs of a main account and its sub-accounts in a month: page by page, in total, and for a single account.

People who may see an account's contract may see its costs. For an account that was attached by a link or a collective
invoice, only the months since then are shown: its company has not agreed to more. An account that was closed by a
cancellation is shown in the months in which it had a contract, each in the list of the main account that it had then.
Each statement reads the contract lines of many accounts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, aliased

from models.accounts.accounts import Account
from models.calendar_days import BERLIN, Month, berlin_day, first_moment
from models.changes.planned_events import PlannedEvent, planned_events, tariff_keys, with_planned
from models.contracts.catalogue import PriceLine, ProductKind, all_products
from models.contracts.contracts import Contract, ContractItem
from models.contracts.costs import Amount
from models.contracts.monthly_costs import Charge, LineChange, RunningLine, changes_in, charge_of
from models.db.paging import BadCursor, Page, read_cursor, write_cursor
from models.db.word_search import matching
from models.errors import InvalidField
from models.proofs.proofs import MainConsent
from models.requests.effective_days import LONGEST_AHEAD
from models.requests.requests import Request
from models.states import ENDED, AccountState, Kind, Origin, Status
from models.values import CUSTOMER_NUMBER

EARLIEST = Month(2000, 1)
"""The first month whose costs can be requested."""


def latest_month(now: datetime) -> Month:
    """Return the last month whose costs can be requested at `now`: the last one for which a change can be planned."""
    return Month.of(berlin_day(now) + LONGEST_AHEAD)


def month_asked_for(text: str | None, now: datetime) -> Month:
    """Return the month that a text such as '2026-11' names; the current month if `text` is None.

    Raises `InvalidField` if the text names no month, or one after `latest_month`.
    """
    if text is None:
        return Month.of(berlin_day(now))
    try:
        month = Month.read(text)
    except ValueError:
        month = None
    latest = latest_month(now)
    if month is None or month > latest:
        raise InvalidField("month", "unknown_month", str(latest))
    return month


@dataclass(frozen=True, slots=True)
class AccountCosts:
    """The costs of an account in a month: `charges` has one charge for each of its contract lines.

    The charges are sorted by contract, tariffs first, then by begin. A line that begins or ends in the month is
    included even if no day of it is charged. `changes` are the beginnings and ends of lines in the month.
    """

    account: Account
    charges: Sequence[Charge]
    changes: Sequence[LineChange]

    @property
    def net(self) -> int:
        """Return the sum of all charges in net euro cents."""
        return sum(charge.net for charge in self.charges)


def costs_page(
    session: Session, main: Account, month: Month, search: str = "", *, after: str | None = None, limit: int = 50
) -> Page[AccountCosts]:
    """Return a page of the costs of `main` and its sub-accounts in the month, sorted by customer number.

    Only accounts that have a contract in the month are included. Each word of `search` must occur in the account's
    customer number, name, street or city. `after` is the cursor from the previous page (None: first page), `limit` the
    page size. Runs four statements at most. Raises `BadCursor` if `after` is no cursor of this list.
    """
    query = sa.select(Account).where(_seen(main, month, search), _has_contract(month))
    if after is not None:
        [number] = read_cursor(after, str)
        if not CUSTOMER_NUMBER.fullmatch(number):
            raise BadCursor(after)
        query = query.where(Account.customer_number > number)
    accounts = session.scalars(query.order_by(Account.customer_number).limit(limit + 1)).all()
    page = accounts[:limit]
    following = write_cursor(page[-1].customer_number) if len(accounts) > limit else None
    return Page(_costs(session, page, month), following)


def costs_of_account(session: Session, account: Account, month: Month) -> AccountCosts:
    """Return the costs of one account in the month, also in a month before it was attached to its main account.

    Runs three statements at most.
    """
    return _costs(session, [account], month)[0]


def total_costs(session: Session, main: Account, month: Month, search: str = "") -> Amount:
    """Return the total of the costs on all pages of `costs_page`. Runs four statements at most for any number of pages.

    The database counts contract lines with the same price and days, so that each such group is computed once.
    """
    seen = _seen(main, month, search)
    planned = planned_events(session, seen, month.after)
    changing = Contract.id == sa.any_(_ids(sorted({coming.contract_id for coming in planned})))
    alike = _lines(month).where(seen, ~changing).subquery().c
    columns = (
        alike.monthly_cents,
        alike.one_off_cents,
        sa.func.greatest(alike.began, month.first - timedelta(days=1)).label("began"),
        sa.func.least(alike.ended, month.after).label("ended"),
    )
    net = 0
    for row in session.execute(sa.select(*columns, sa.func.count().label("times")).group_by(*columns)):
        line = RunningLine(0, PriceLine("", row.monthly_cents, row.one_off_cents), row.began, row.ended)
        net += row.times * charge_of(line, month).net
    if planned:
        lines = [_line(row) for row in session.execute(_lines(month).where(changing))]
        net += sum(charge_of(line, month).net for line in with_planned(lines, planned, tariff_keys(session)))
    return Amount(net)


def _seen(main: Account, month: Month, search: str) -> sa.ColumnElement[bool]:
    """Return an SQL condition: the costs of `Account` in the month are shown to `main`, and it matches `search`."""
    since = sa.or_(Account.origin == Origin.ORDER, Account.attached_at < first_moment(month.after))
    # Another name: queries for what is planned have requests of their own.
    ending = aliased(Request)
    ended = sa.select(ending.account_id).where(
        ending.main_id == main.id,
        ending.kind == Kind.CANCEL,
        ending.status == Status.COMPLETED,
        ending.costs_from < month.after,
    )
    moving = aliased(Request)
    # The month of a switch belongs to the new main account.
    moved = sa.select(moving.account_id).where(
        moving.kind == Kind.SWITCH,
        MainConsent.request_id == moving.id,
        MainConsent.main_id == main.id,
        MainConsent.costs_from < month.after,
        MainConsent.moved_at >= first_moment(month.after),
    )
    # An array, by which accounts are found by their key: a condition on each account would read all of them.
    left = sa.func.array(ended.union_all(moved).scalar_subquery(), type_=postgresql.ARRAY(sa.BigInteger))
    closed = sa.and_(Account.state == AccountState.CLOSED, Account.id == sa.any_(left))
    of_main = sa.or_(Account.id == main.id, sa.and_(Account.main_id == main.id, since), closed)
    columns = (Account.customer_number, Account.name, Account.street, Account.city)
    return sa.and_(of_main, *matching(search.split(), *columns))


def _has_contract(month: Month) -> sa.ColumnElement[bool]:
    running = _overlaps(month, Contract.started_at, Contract.ended_at)
    # What ends with the first moment of the month is a change of the month.
    will_be_over = sa.exists().where(
        Request.account_id == Account.id,
        Request.kind == Kind.CANCEL,
        Request.status.not_in(ENDED),
        Request.effective_on < month.first,
    )
    return sa.and_(sa.exists().where(Contract.account_id == Account.id, running), ~will_be_over)


def _overlaps(month: Month, began: Any, ended: Any) -> sa.ColumnElement[bool]:
    # What ends with the first moment of the month is a change of the month.
    is_over = ended < first_moment(month.first)
    return sa.and_(began < first_moment(month.after), sa.or_(ended.is_(None), ~is_over))


_BEGAN = sa.func.coalesce(ContractItem.started_at, Contract.started_at)
# The earlier one: `least` passes over null.
_ENDED = sa.func.least(ContractItem.ended_at, Contract.ended_at)


def _lines(month: Month) -> sa.Select[*tuple[Any, ...]]:
    """Return the query for the contract lines of all accounts that ran on a day of the month, with their prices.

    `began` and `ended` are the days in Berlin on which a line begins and ends, and may lie outside the month; `ended`
    is null for a line without an end.
    """
    return (
        sa.select(
            Contract.account_id,
            ContractItem.contract_id,
            ContractItem.product_key,
            ContractItem.monthly_cents,
            ContractItem.one_off_cents,
            _day(_BEGAN).label("began"),
            _day(_ENDED).label("ended"),
        )
        .join(ContractItem, ContractItem.contract_id == Contract.id)
        .join(Account, Account.id == Contract.account_id)
        .where(_overlaps(month, _BEGAN, _ENDED))
    )


def _day(at: Any) -> sa.ColumnElement[Any]:
    return sa.cast(sa.func.timezone(BERLIN.key, at), sa.Date)


def _ids(ids: Sequence[int]) -> sa.ColumnElement[Any]:
    return sa.literal(ids, postgresql.ARRAY(sa.BigInteger))


def _line(row: sa.Row[Any]) -> RunningLine:
    price = PriceLine(row.product_key, row.monthly_cents, row.one_off_cents)
    return RunningLine(row.contract_id, price, row.began, row.ended)


def _costs(session: Session, accounts: Sequence[Account], month: Month) -> list[AccountCosts]:
    if not accounts:
        return []
    listed = Account.id == sa.any_(_ids([account.id for account in accounts]))
    lines: dict[int, list[RunningLine]] = defaultdict(list)
    for row in session.execute(_lines(month).where(listed)):
        lines[row.account_id].append(_line(row))
    planned: dict[int, list[PlannedEvent]] = defaultdict(list)
    for coming in planned_events(session, listed, month.after):
        planned[coming.account_id].append(coming)
    tariffs = tariff_keys(session)
    places = {
        key: (list(ProductKind).index(product.kind), place)
        for place, (key, product) in enumerate(all_products(session).items())
    }
    found = []
    for account in accounts:
        own = with_planned(lines[account.id], planned[account.id], tariffs)
        own.sort(key=lambda line: _place(line, places[line.price.product_key]))
        charges = [charge for line in own if (charge := charge_of(line, month)).days or changes_in([line], month)]
        found.append(AccountCosts(account, charges, changes_in(own, month)))
    return found


def _place(line: RunningLine, listed: tuple[int, int]) -> tuple[int, int, date, int]:
    """Return the sort key of a contract line: contract, kind of product, begin, product.

    `listed` are the positions of the product's kind and of the product in the price list.
    """
    kind, product = listed
    return line.contract_id, kind, line.began, product
