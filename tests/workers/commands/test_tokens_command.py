"""Tests of the commands `standorte tokens …`, which create, list and revoke API tokens for the carrier.

A new token is printed once and works; the database has only its hash. A revoked token is refused by the API.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account, account_by_number
from models.calendar_days import BERLIN, end_of_day
from models.db.session import Database
from models.messages.outbox import Message
from models.people.api_tokens import ApiToken, use_token
from models.people.audit_log import AuditEntry
from models.people.rights import Action, Scope, may
from models.states import AccountState
from workers.commands.tokens import app

pytestmark = pytest.mark.usefixtures("database_settings")


@pytest.fixture(autouse=True)
def _company(demo_data: None) -> None:
    """Load the demo data for every test of this module."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def create(*arguments: str) -> str:
    result = run("create", "--account", "1111111", "--name", "ERP", *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_token_is_printed_alone_and_works(database: Database) -> None:
    printed = create()

    token = printed.strip()
    assert printed == f"{token}\n"
    with database.transaction() as session:
        use = use_token(session, token, "192.0.2.1", database.now())
        main = account_by_number(session, "1111111")
        assert use is not None
        principal = use.person
        assert main is not None
        assert principal.email == "maxi.mustermensch@example.com"
        assert principal.scopes == frozenset(Scope)
        assert may(principal, Action.ORDER, main)


def test_a_token_can_act_for_somebody_else_and_be_for_reading_only(database: Database) -> None:
    token = create("--user", "Sam.Standort@example.com", "--scope", "read").strip()

    with database.transaction() as session:
        use = use_token(session, token, "192.0.2.1", database.now())
    assert use is not None
    assert (use.person.email, use.person.scopes) == ("sam.standort@example.com", frozenset({Scope.READ}))


def test_a_token_is_valid_for_as_many_days_as_asked_for_and_for_a_year_at_most(database: Database) -> None:
    create("--days", "30")
    with database.transaction() as session:
        [token] = session.scalars(sa.select(ApiToken))
    assert token.expires_at == end_of_day(token.created_at + timedelta(days=30))
    assert run("create", "--account", "1111111", "--name", "ERP", "--days", "366").exit_code == 2
    expires = f"{token.expires_at.astimezone(BERLIN):%d.%m.%Y}"
    assert expires in run("list").stdout.replace("\n", "")


def test_the_administrators_are_told_and_the_log_names_the_carrier(database: Database) -> None:
    token = create("--user", "sam.standort@example.com").strip()
    with database.transaction() as session:
        told = session.scalars(sa.select(Message).where(Message.template == "api_token_created")).all()
        made = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == "token_created")).one()
    assert "maxi.mustermensch@example.com" in [mail.recipient_address for mail in told]
    assert not any(token in str(mail.facts) or mail.facts["maker"] for mail in told)
    assert (made.user_id, made.by_staff, made.facts) == (None, True, {"name": "ERP"})


def test_the_database_never_has_the_token_itself(database: Database) -> None:
    token = create().strip()

    with database.transaction() as session:
        [kept] = session.scalars(sa.select(ApiToken.token_hash))
    assert token.encode() not in kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--account", "9999999", "--name", "x"], "There is no account 9999999."),
        (["--account", "1111111", "--name", " "], "needs a name"),
        (["--account", "1111111", "--name", "x", "--user", "nobody@example.com"], "has no role"),
        (["--account", "1111111", "--name", "x", "--user", "bremen@example.de"], "has no role in account 1111111"),
        (["--account", "2000421", "--name", "x"], "is closed"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_printed(database: Database, arguments: list[str], message: str) -> None:
    with database.transaction() as session:
        session.execute(
            sa.update(Account).where(Account.customer_number == "2000421").values(state=AccountState.CLOSED)
        )

    result = run("create", *arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_revoked_token_is_listed_and_useless(database: Database) -> None:
    token = create().strip()
    with database.transaction() as session:
        [token_id] = session.scalars(sa.select(ApiToken.id))

    assert run("revoke", str(token_id)).exit_code == 0
    assert run("revoke", str(token_id)).exit_code == 0

    with database.transaction() as session:
        assert use_token(session, token, "192.0.2.1", database.now()) is None
    listed = run("list", "--account", "1111111").stdout
    assert "ERP" in listed
    assert token not in listed
    assert "ERP" not in run("list", "--account", "2000221").stdout
    assert run("revoke", "999999").exit_code == 1
