"""Tests of the commands by which the carrier's staff suspend and resume trunks, and close accounts.

These are `standorte trunks …` and `standorte accounts close`. If the action is not possible, they say why.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.links.collective_invoices import put_on_invoice
from models.people.audit_log import AuditEntry, AuditEvent
from models.states import AccountState, Origin
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState
from models.values import utc_now
from tests.factories import NOW, an_order, make_account, make_bulk, make_main, sites, submit_order
from tests.web.portal.accounts.sites import make_trunk
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")

SIP_USER = "t000000000001"


@pytest.fixture
def number(database: Database) -> str:
    """Create a standalone account with a trunk and ten numbers; return the customer number."""
    with database.transaction() as session:
        account, _ = make_main(session, name="Filiale Köln")
        facts = {"area_code": "0221", "first_number": 49221700340, "size": 10}
        trunk = make_trunk(session, account, SIP_USER)
        session.add(NumberBlock(account_id=account.id, trunk_id=trunk, available_from=NOW, **facts))
        return account.customer_number


def run(*arguments: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(arguments), input=answers)


def trunk(database: Database) -> SipTrunk:
    with database.transaction() as session:
        return session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == SIP_USER)).one()


def state(database: Database, number: str) -> AccountState:
    with database.transaction() as session:
        return session.scalars(sa.select(Account.state).where(Account.customer_number == number)).one()


def logged(database: Database) -> list[tuple[AuditEvent, int | None]]:
    with database.transaction() as session:
        entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
        return [(entry.deed, entry.user_id) for entry in entries]


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.stdout
    return " ".join(result.stderr.split())


@pytest.mark.usefixtures("number")
def test_a_trunk_is_suspended_for_a_reason_and_resumed(database: Database) -> None:
    result = run("trunks", "suspend", SIP_USER, "--reason", "  Missbrauch\n  gemeldet ")
    assert result.exit_code == 0 and result.stdout.endswith(f"Trunk {SIP_USER} is suspended.\n")
    # There is no broker in this test, so the command says that the sweep continues the work.
    assert "The broker does not answer" in result.stderr
    found = trunk(database)
    assert (found.state, found.carrier_reason) == (TrunkState.SUSPENDED, "Missbrauch gemeldet")
    assert found.due_at is not None
    again = run("trunks", "suspend", SIP_USER, "--reason", "Missbrauch gemeldet")
    assert again.stdout.endswith(f"Trunk {SIP_USER} was suspended for that already.\n")
    assert run("trunks", "resume", SIP_USER).stdout.endswith(f"Trunk {SIP_USER} is not suspended by us any more.\n")
    assert run("trunks", "resume", SIP_USER).stdout.endswith(f"Trunk {SIP_USER} was not suspended by us.\n")
    assert trunk(database).state is TrunkState.ACTIVE
    assert logged(database) == [(AuditEvent.TRUNK_SUSPENDED, None), (AuditEvent.TRUNK_RESUMED, None)]


@pytest.mark.usefixtures("number")
def test_what_the_customer_has_suspended_stays(database: Database) -> None:
    run("trunks", "suspend", SIP_USER, "--reason", "Missbrauch")
    with database.transaction() as session:
        found = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == SIP_USER)).one()
        found.suspend(SuspendedBy.CUSTOMER, utc_now())
    assert "it stays suspended by the customer" in run("trunks", "resume", SIP_USER).stdout
    assert trunk(database).state is TrunkState.SUSPENDED


def test_a_trunk_that_cannot_be_suspended_says_why(database: Database, number: str) -> None:
    assert run("trunks", "suspend", SIP_USER).exit_code == 2
    assert "has to read why" in refused("trunks", "suspend", SIP_USER, "--reason", "  ")
    for command in (("suspend", "t9", "--reason", "x"), ("resume", "t9")):
        assert "There is no trunk t9." in refused("trunks", *command)
    for account, closed, words in (
        (AccountState.ORDERED, TrunkState.ACTIVE, "still on order"),
        (AccountState.ACTIVE, TrunkState.CLOSED, "closed for good"),
    ):
        with database.transaction() as session:
            session.execute(sa.update(Account).where(Account.customer_number == number).values(state=account))
            session.execute(sa.update(SipTrunk).values(state=closed))
        assert words in refused("trunks", "suspend", SIP_USER, "--reason", "x")
    assert logged(database) == []


def test_an_account_is_closed_once_that_is_confirmed(database: Database, number: str) -> None:
    declined = run("accounts", "close", number, answers="n\n")
    assert declined.exit_code == 1 and "Close this account for good?" in declined.stderr
    for words in (number, "Filiale Köln", f"SIP trunks: {SIP_USER}", "Numbers: 0221 70034-0 … -9"):
        assert words in declined.stderr
    assert state(database, number) is AccountState.ACTIVE
    result = run("accounts", "close", number, answers="y\n")
    assert result.exit_code == 0 and result.stdout.endswith(f"Account {number} is closed.\n")
    assert state(database, number) is AccountState.CLOSED
    closed = trunk(database)
    assert (closed.state, closed.due_at is not None) == (TrunkState.CLOSED, True)
    with database.transaction() as session:
        assert session.scalars(sa.select(NumberBlock.account_id)).all() == [None]
    assert logged(database) == [(AuditEvent.ACCOUNT_CLOSED, None)]
    assert run("accounts", "close", number).stdout == f"Account {number} is closed already.\n"


def test_an_account_that_cannot_be_closed_says_the_way_out(database: Database, number: str) -> None:
    with database.transaction() as session:
        main, _ = make_main(session)
        sub = make_account(session)
        attach(session, main.id, sub.id, Origin.LINK, NOW)
        busy, manager = make_main(session)
        order = submit_order(session, manager, busy, an_order(), NOW)
        session.flush()
        ordered, id = order.customer_number, str(order.id)
        filing, filer = make_main(session)
        make_bulk(session, filer, filing, sites(1)).send(NOW)
        payer, _ = make_main(session)
        put_on_invoice(session, "SR-1", payer, make_account(session), NOW)
        ways = {
            "7777777": "There is no account 7777777.",
            sub.customer_number: f"is a sub-account of {main.customer_number}. It has to be detached first",
            main.customer_number: "has sub-accounts (1). They have to be detached first",
            busy.customer_number: f"`standorte requests cancel`: {id}",
            ordered: f"`standorte requests cancel {id}` calls it off",
            filing.customer_number: "is being worked on",
            payer.customer_number: "`standorte invoices remove` takes accounts off collective invoice SR-1",
        }
    for account, words in ways.items():
        assert words in refused("accounts", "close", account, "--yes")
    assert logged(database) == []
    assert run("accounts", "close", number, "--yes").exit_code == 0
