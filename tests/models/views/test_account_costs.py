"""Tests of the list of a company's monthly costs by account.

Pages and sums must be what a simple model finds that checks each line of a contract.
"""

from __future__ import annotations

import random
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import Month, berlin_day, first_moment
from models.contracts.catalogue import PriceLine
from models.contracts.contracts import Contract, ContractItem
from models.contracts.monthly_costs import LineChange, RunningLine, charge_of
from models.db.paging import BadCursor, write_cursor
from models.db.session import Database
from models.requests.new_requests import create_request
from models.requests.requests import Request
from models.states import Kind, Origin, Reason
from models.telephony.trunks import SipTrunk
from models.views.account_costs import AccountCosts, costs_of_account, costs_page, total_costs
from tests.factories import NOW, make_account, make_main
from tests.statements import recorded_statements

MONTHS = [Month(2026, 2).later(place) for place in range(4)]
LAST = datetime(2026, 6, 30, tzinfo=UTC)
KEYS = ("trunk-2", "trunk-10", "trunk-50", "block-10", "block-100")


def add_contract(
    session: Session, account: Account, began: datetime, ended: datetime | None = None, **prices: int
) -> int:
    """Give the account a contract with a trunk from `began` to `ended` (None: no end); return the contract's id.

    `prices` are monthly prices in cents by product key, with "_" in place of "-": each is a line of the contract. Each
    line also costs 100 cents once.
    """
    contract = Contract(account_id=account.id, started_at=began, ended_at=ended)
    session.add(contract)
    session.flush()
    for key, cents in prices.items():
        facts = {"product_key": key.replace("_", "-"), "monthly_cents": cents, "one_off_cents": 100}
        session.add(ContractItem(contract_id=contract.id, **facts))
    facts = {"sip_user": f"t{contract.id:012}", "domain": "sip.example", "secret": b"x", "channels": 2}
    session.add(SipTrunk(account_id=account.id, contract_id=contract.id, created_at=NOW, **facts))
    session.flush()
    return contract.id


def plan(
    session: Session, account: Account, contract: int, user_id: int, product: str, day: date, cents: int
) -> Request:
    """Save a request to change the contract's tariff to `product` on `day`, for `cents` a month and 500 cents once."""
    trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.contract_id == contract)).one()
    line = {"product_key": product, "monthly_cents": cents, "one_off_cents": 500}
    facts: dict[str, Any] = {"price_lines": [line], "replaced_lines": [], "replaced_channels": 2, "channels": 2}
    change = Request(
        kind=Kind.CHANGE, main_id=account.main_id or account.id, account_id=account.id, requested_by=user_id,
        customer_number=account.customer_number, locale="de", product_key=product, changed_trunk_id=trunk.id,
        effective_on=day, **facts,
    )  # fmt: skip
    return create_request(session, change, NOW)


def every_page(session: Session, main: Account, month: Month, search: str = "", limit: int = 7) -> list[AccountCosts]:
    """Return the rows of all pages of the list of costs, in the list's order. Each page has at most `limit` rows."""
    found: list[AccountCosts] = []
    after: str | None = None
    while True:
        page = costs_page(session, main, month, search, after=after, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        after = page.after
        if after is None:
            return found


def moment(dice: random.Random) -> datetime:
    """Draw a moment in the first 180 days of 2026, often a midnight in Berlin or a microsecond before one."""
    midnight = first_moment(date(2026, 1, 1) + timedelta(days=dice.randrange(180)))
    return midnight + timedelta(microseconds=dice.choice([0, 0, -1, dice.randrange(86_400 * 10**6)]))


@pytest.mark.parametrize("seed", range(4))
def test_pages_and_total_are_what_a_look_at_every_line_finds(database: Database, seed: int) -> None:
    dice = random.Random(seed)
    with database.transaction() as session:
        main, _ = make_main(session)
        accounts = [session.get_one(Account, main.id)]
        expected: dict[str, list[tuple[PriceLine, datetime, datetime | None]]] = {}
        for place in range(25):
            account = make_account(session, name=f"Filiale {place}")
            attach(session, main.id, account.id, Origin.ORDER, NOW)
            accounts.append(account)
        for account in accounts:
            lines = expected[account.customer_number] = []
            for _ in range(dice.randrange(3)):
                began, ended = sorted((moment(dice), moment(dice) + timedelta(seconds=1)))
                end = ended if dice.random() < 0.5 and began < ended else None
                contract = add_contract(session, account, began, end)
                for key in dice.sample(KEYS, dice.randrange(4)):
                    price = PriceLine(key, dice.randrange(10_000), dice.choice([0, 990]))
                    within = sorted(min(max(moment(dice), began), end or LAST) for _ in range(2))
                    started, stopped = (at if dice.random() < 0.4 else None for at in within)
                    facts = {**asdict(price), "started_at": started, "ended_at": stopped}
                    session.add(ContractItem(contract_id=contract, **facts))
                    ends = [at for at in (stopped, end) if at is not None]
                    lines.append((price, started or began, min(ends, default=None)))
        session.flush()
    with database.transaction() as session:
        main = session.get_one(Account, main.id)
        for month in MONTHS:
            sums = {
                number: sum(
                    charge_of(RunningLine(0, price, berlin_day(began), ended and berlin_day(ended)), month).net
                    for price, began, ended in lines
                )
                for number, lines in expected.items()
            }
            rows = every_page(session, main, month)
            listed = {row.account.customer_number: row.net for row in rows}
            assert list(listed) == sorted(listed)
            assert {number: net for number, net in listed.items() if net} == {n: net for n, net in sums.items() if net}
            assert total_costs(session, main, month).net == sum(sums.values()) == sum(row.net for row in rows)
            for row in rows:
                alone = costs_of_account(session, row.account, month)
                assert (alone.charges, alone.changes) == (row.charges, row.changes)


def test_planned_changes_are_reckoned_with_in_rows_and_total(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        main, user = session.get_one(Account, main.id), manager.user_id
        plain = add_contract(session, main, NOW, trunk_10=3100)
        sub = make_account(session)
        attach(session, main.id, sub.id, Origin.ORDER, NOW)
        changed = add_contract(session, sub, NOW, trunk_10=3100, block_10=310)
        plan(session, sub, changed, user, "trunk-50", date(2026, 5, 11), 9300)
        plan(session, sub, changed, user, "trunk-2", date(2026, 5, 21), 620)
        cancelled = plan(session, main, plain, user, "trunk-50", date(2026, 5, 11), 9300)
        cancelled.cancel(Reason.CANCELLED_BY_REQUESTER, NOW)
        # Only the channels change then.
        plan(session, main, plain, user, "trunk-10", date(2026, 5, 12), 3100)
        session.flush()
        by_number = {row.account.id: row for row in every_page(session, main, Month(2026, 5))}
        row = by_number[sub.id]
        assert [(one.line.price.product_key, one.days, one.net) for one in row.charges] == [
            ("trunk-10", range(1, 11), 1000),
            ("trunk-50", range(11, 21), 3000 + 500),
            ("trunk-2", range(21, 32), 220 + 500),
            ("block-10", range(1, 32), 310),
        ]
        assert row.changes == [
            LineChange(date(2026, 5, 11), False, "trunk-10"),
            LineChange(date(2026, 5, 11), True, "trunk-50"),
            LineChange(date(2026, 5, 21), False, "trunk-50"),
            LineChange(date(2026, 5, 21), True, "trunk-2"),
        ]
        assert by_number[main.id].net == 3100 and by_number[main.id].changes == []
        assert total_costs(session, main, Month(2026, 5)).net == row.net + 3100
        # Before, nothing of it; afterwards the last tariff alone.
        assert total_costs(session, main, Month(2026, 4)).net == 3100 + 3410
        assert total_costs(session, main, Month(2027, 2)).net == 3100 + 620 + 310
        # A contract that has ended has no changes any more.
        session.get_one(Contract, changed).end(datetime(2026, 4, 30, 22, tzinfo=UTC))
        session.flush()
        assert total_costs(session, main, Month(2026, 5)).net == 3100
        [ending] = [row for row in every_page(session, main, Month(2026, 5)) if row.account.id == sub.id]
        assert ending.net == 0 and [change.day for change in ending.changes] == [date(2026, 5, 1)] * 2


def test_a_cancelled_contract_costs_until_its_last_day(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        main = session.get_one(Account, main.id)
        sub = make_account(session)
        attach(session, main.id, sub.id, Origin.ORDER, NOW)
        contract = add_contract(session, sub, NOW, trunk_10=3100, block_10=310)
        plan(session, sub, contract, manager.user_id, "trunk-50", date(2026, 5, 11), 9300)
        ending = Request(
            kind=Kind.CANCEL, main_id=main.id, account_id=sub.id, requested_by=manager.user_id,
            customer_number=sub.customer_number, locale="de", price_lines=[], replaced_lines=[],
            effective_on=date(2026, 5, 21),
        )  # fmt: skip
        create_request(session, ending, NOW)
        session.flush()
        [row] = every_page(session, main, Month(2026, 5))
        assert [(one.line.price.product_key, one.days) for one in row.charges] == [
            ("trunk-10", range(1, 11)), ("trunk-50", range(11, 21)), ("block-10", range(1, 21)),
        ]  # fmt: skip
        assert {(one.day, one.begins) for one in row.changes} == {
            (date(2026, 5, 11), False), (date(2026, 5, 11), True), (date(2026, 5, 21), False),
        }  # fmt: skip
        assert total_costs(session, main, Month(2026, 5)).net == row.net
        assert total_costs(session, main, Month(2026, 6)).net == 0
        assert every_page(session, main, Month(2026, 6)) == []
        # Taken back, it goes on.
        ending.cancel(Reason.CANCELLED_BY_REQUESTER, NOW)
        session.flush()
        assert total_costs(session, main, Month(2026, 6)).net == 9300 + 310


def test_an_account_is_listed_since_it_was_attached_and_an_ordered_one_before(database: Database) -> None:
    linked_at = datetime(2026, 3, 31, 21, tzinfo=UTC)
    with database.transaction() as session:
        main, _ = make_main(session)
        main = session.get_one(Account, main.id)
        numbers = {}
        for origin in Origin:
            account = make_account(session, name=f"Filiale {origin}")
            numbers[origin] = account.customer_number
            add_contract(session, account, NOW - timedelta(days=300), trunk_10=3000)
            attach(session, main.id, account.id, origin, linked_at)
        stranger, _ = make_main(session)
        add_contract(session, session.get_one(Account, stranger.id), NOW, trunk_10=1)
        session.flush()
        for month, expected in (
            (Month(2026, 2), {numbers[Origin.ORDER]}),
            (Month(2026, 3), set(numbers.values())),
            (Month(2026, 4), set(numbers.values())),
        ):
            rows = every_page(session, main, month)
            assert {row.account.customer_number for row in rows} == expected
            assert total_costs(session, main, month).net == sum(row.net for row in rows) == 3000 * len(expected)
        assert every_page(session, main, Month(2025, 4)) == []
        assert total_costs(session, main, Month(2025, 4)).net == 0
        found = every_page(session, main, Month(2026, 4), "filiale link")
        assert [row.account.customer_number for row in found] == [numbers[Origin.LINK]]
        assert total_costs(session, main, Month(2026, 4), "filiale link").net == 3000


def test_statements_do_not_grow_with_the_accounts_and_unknown_cursors_are_refused(database: Database) -> None:
    counts = []
    for more in (3, 60):
        with database.transaction() as session:
            main, manager = make_main(session)
            main = session.get_one(Account, main.id)
            for _ in range(more):
                account = make_account(session)
                attach(session, main.id, account.id, Origin.ORDER, NOW)
                contract = add_contract(session, account, NOW, trunk_10=3100)
                plan(session, account, contract, manager.user_id, "trunk-2", date(2026, 5, 11), 9300)
        with database.transaction() as session:
            main = session.get_one(Account, main.id)
            for read in (costs_page, total_costs):
                with recorded_statements() as statements:
                    read(session, main, Month(2026, 5))
                counts.append(len(statements))
            for wrong in ("x", write_cursor(1), write_cursor("12345"), write_cursor("1234567", "1234567")):
                with pytest.raises(BadCursor):
                    costs_page(session, main, Month(2026, 5), after=wrong)
    assert counts[:2] == counts[2:] and max(counts) <= 4, counts
