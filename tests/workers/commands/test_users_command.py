"""`standorte users …`: resetting a lost second factor."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.db.session import Database
from models.messages.outbox import Message
from models.people.audit_log import AuditEntry
from models.people.logins import Login, begin_login
from models.people.second_factors import RecoveryCode, SecondFactor, renew_recovery_codes
from models.people.users import User
from tests.factories import give_app
from workers.commands.users import app

pytestmark = pytest.mark.usefixtures("database_settings", "demo_data")
MAXI, STAFF = "maxi.mustermensch@example.com", "backoffice@example.com"


def reset(email: str) -> Result:
    return CliRunner().invoke(app, [email, "--proof", "called back on the number of the contract"])


@pytest.mark.parametrize("email", [MAXI, STAFF])
def test_a_lost_factor_is_reset_and_the_person_is_told(owner_database: Database, email: str) -> None:
    database = owner_database
    with database.transaction() as session:
        user = session.scalars(sa.select(User).where(User.email == email)).one()
        give_app(session, user)
        renew_recovery_codes(session, user, database.now())
        begin_login(session, user, "", "", database.now())
    for said in ("1 removed", "no second factor"):
        result = reset(email.upper())
        assert result.exit_code == 0 and said in result.stdout
    with database.transaction() as session:
        for table in (SecondFactor, RecoveryCode, Login):
            assert session.scalars(sa.select(table)).all() == []
        entries = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == "factors_reset")).all()
        # Maxi has two accounts, our staff none.
        assert [entry.account_id is None for entry in entries] == ([True] if email == STAFF else [False, False])
        assert {entry.facts["proof"] for entry in entries} == {"called back on the number of the contract"}
        [mail] = session.scalars(sa.select(Message).where(Message.template == "login_changed"))
        assert (mail.recipient_address, mail.facts["what"]) == (email, "factors_reset")


def test_nobody_with_that_address() -> None:
    result = reset("nobody@example.com")
    assert result.exit_code == 1 and "Nobody signs in" in result.stderr
