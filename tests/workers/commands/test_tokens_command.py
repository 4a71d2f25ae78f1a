"""`standorte tokens …`: creating, listing and revoking API tokens."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account, account_by_number
from models.db.session import Database
from models.people.api_tokens import ApiToken, principal_by_token
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
        principal = principal_by_token(session, token)
        main = account_by_number(session, "1111111")
        assert principal is not None
        assert main is not None
        assert principal.email == "maxi.mustermensch@example.com"
        assert principal.scopes == frozenset(Scope)
        assert may(principal, Action.ORDER, main)


def test_a_token_can_act_for_somebody_else_and_be_for_reading_only(database: Database) -> None:
    token = create("--user", "Sam.Standort@example.com", "--scope", "read").strip()

    with database.transaction() as session:
        principal = principal_by_token(session, token)
    assert principal is not None
    assert (principal.email, principal.scopes) == ("sam.standort@example.com", frozenset({Scope.READ}))


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
        assert principal_by_token(session, token) is None
    listed = run("list", "--account", "1111111").stdout
    assert "ERP" in listed
    assert token not in listed
    assert "ERP" not in run("list", "--account", "2000221").stdout
    assert run("revoke", "999999").exit_code == 1
