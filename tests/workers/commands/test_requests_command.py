"""Tests of the commands `standorte requests …`: staff list and show requests, retry them, and cancel them.

Also of `standorte numbers …`, which fills a number pool and retries the orders that have waited for it.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import account_by_number
from models.db.session import Database
from models.orders.orders import Contact, Location, OrderDraft
from models.people.users import administrators_of, principal_of
from models.requests.requests import Request
from models.states import AccountState, Actor, Reason, Status
from models.telephony.numbers import NumberBlock
from models.values import utc_now
from tests.factories import submit_order
from workers.commands import numbers, requests

pytestmark = pytest.mark.usefixtures("database_settings")


@pytest.fixture(autouse=True)
def _company(demo_data: None) -> None:
    """Load the demo data for every test of this module."""


def order(database: Database, *, area_code: str = "0251", block_size: int = 10) -> Request:
    """Save an order of the demo data's main account, and return its request. No worker has processed it.

    It orders `block_size` numbers in the area code.
    """
    draft = OrderDraft(
        "trunk-2",
        2,
        Location("Filiale Münster", "Hafenweg 2", "48143", "Münster"),
        Contact("Hanna Palmer", "hanna.palmer@example.com", None),
        area_code,
        block_size,
        (),
        "de",
    )
    with database.transaction() as session:
        main = account_by_number(session, "1111111")
        assert main is not None
        maxi = principal_of(session, administrators_of(session, main.id)[0])
        return submit_order(session, maxi, main, draft, utc_now())


def hold(database: Database, request: Request, reason: Reason = Reason.NO_NUMBERS_AVAILABLE) -> None:
    with database.transaction() as session:
        now = utc_now()
        found = session.get_one(Request, request.id)
        found.hold(reason, now, now + timedelta(minutes=15))


def reread(database: Database, request: Request) -> Request:
    with database.transaction() as session:
        return session.get_one(Request, request.id, options=[sa.orm.selectinload(Request.account)])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(requests.app, list(arguments))


def stock(*arguments: str) -> Result:
    return CliRunner().invoke(numbers.app, ["stock", *arguments])


def test_requests_are_listed_the_newest_first_and_by_status_and_account(database: Database) -> None:
    first, second = order(database), order(database)
    hold(database, first)

    listed = run("list").stdout
    assert listed.index(str(second.id)) < listed.index(str(first.id))
    held = run("list", "--status", "held").stdout
    assert str(first.id) in held
    assert str(second.id) not in held
    assert "No requests" in run("list", "--account", "2000089").stdout
    assert run("list", "--account", "9999999").exit_code == 1


def test_one_request_is_shown_with_its_timeline_in_the_customers_words(database: Database) -> None:
    request = order(database)
    hold(database, request)

    shown = run("show", str(request.id)).stdout
    assert "In Klärung (held), step verify" in shown
    assert "Wir haben den Auftrag erhalten" in shown
    assert "Wir kümmern uns" in shown
    assert "We have received your order" in run("show", str(request.id), "--lang", "en").stdout


def test_a_held_request_can_be_tried_again_at_once(database: Database) -> None:
    request = order(database)
    hold(database, request, Reason.INTERNAL_ERROR)

    result = run("retry", str(request.id))

    assert result.exit_code == 0
    again = reread(database, request)
    assert again.status is Status.IN_PROGRESS
    assert again.due_at is not None
    assert again.due_at <= utc_now()


def test_only_held_and_failed_requests_can_be_tried_again(database: Database) -> None:
    result = run("retry", str(order(database).id))

    assert result.exit_code == 1
    assert "this one is acknowledged" in result.stderr


def test_a_cancelled_order_gives_up_its_account(database: Database) -> None:
    request = order(database)
    with database.transaction() as session:
        now = utc_now()
        found = session.get_one(Request, request.id)
        until = now + timedelta(days=14)
        found.wait_for(Actor.REQUESTER, Reason.AREA_CODE_MISMATCH, until, now, until)

    result = run("cancel", str(request.id))

    assert result.exit_code == 0
    cancelled = reread(database, request)
    assert (cancelled.status, cancelled.reason) == (Status.CANCELLED, Reason.CANCELLED_BY_BACK_OFFICE)
    assert cancelled.account is not None
    assert cancelled.account.state is AccountState.CLOSED

    again = run("cancel", str(request.id))
    assert again.exit_code == 1
    assert "Too late" in again.stderr


@pytest.mark.parametrize("typed", ["nonsense", str(uuid.UUID(int=0))])
@pytest.mark.parametrize("verb", ["show", "retry", "cancel"])
def test_a_request_that_is_not_there_is_said_so(verb: str, typed: str) -> None:
    result = run(verb, typed)

    assert result.exit_code == 1
    assert typed in result.stderr


def test_refilling_a_pool_goes_on_with_the_orders_that_waited_for_it(database: Database) -> None:
    waiting, other_size = order(database), order(database, block_size=1)
    other_reason = order(database)
    hold(database, waiting)
    hold(database, other_size)
    hold(database, other_reason, Reason.GATEWAY_REFUSED)

    arguments = ("--area-code", "0251", "--first-subscriber", "99998000", "--size", "10", "--count", "5")
    result = stock(*arguments)

    assert result.exit_code == 0, result.stderr
    assert "5 blocks added" in result.stdout
    assert "1 held order goes on." in result.stdout
    assert reread(database, waiting).status is Status.IN_PROGRESS
    assert reread(database, other_size).status is Status.HELD
    assert reread(database, other_reason).status is Status.HELD
    assert "0 blocks added, 5 there already" in stock(*arguments).stdout
    with database.transaction() as session:
        blocks = session.scalars(sa.select(NumberBlock).where(NumberBlock.area_code == "0251")).all()
    assert len(blocks) == 5
    shown = CliRunner().invoke(numbers.app, ["show", "--area-code", "0251"]).stdout
    assert "Münster" in shown


def test_refilling_says_how_many_orders_go_on(database: Database) -> None:
    for _ in range(2):
        hold(database, order(database))
    said = stock("--area-code", "0251", "--first-subscriber", "99998000", "--size", "10").stdout
    assert "1 block added" in said
    assert "2 held orders go on." in said


@pytest.mark.parametrize(
    ("area_code", "first", "size", "message"),
    [
        ("0999999", "1", "1", "There is no Ortsnetz 0999999"),
        ("0251", "99998003", "10", "begins at a multiple of 10"),
        ("0251", "99998000", "7", "1, 10 or 100"),
        ("0251", "9999 8000", "10", "digits only"),
        ("0251", "999980000000", "10", "13 digits"),
    ],
)
def test_a_pool_takes_only_blocks_that_can_be(area_code: str, first: str, size: str, message: str) -> None:
    result = stock("--area-code", area_code, "--first-subscriber", first, "--size", size)

    assert result.exit_code == 1
    assert message in result.stderr
