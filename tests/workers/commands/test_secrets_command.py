"""Tests that `standorte secrets reseal` encrypts all stored secrets anew after a change of SECRET_KEY."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
import sqlalchemy.orm
from typer.testing import CliRunner

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.people.second_factors import SecondFactor, new_app
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from models.vault import Vault
from models.views import sealed_secrets
from tests.factories import make_user
from workers.cli import cli
from workers.commands.doctor import CHECKS, Broken
from workers.settings import WorkerSettings
from workers.stack.postgres import EmbeddedPostgres

OLD, NEW = "the old one of 32 characters or more", "the new one of 32 characters or more"


@pytest.fixture
def passwords(
    database: Database,
    superuser: sa.Engine,
    demo_data: None,
    database_settings: None,
    postgres: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[int, str]:
    """Encrypt the SIP passwords of the demo data, and the secret of an authenticator app, with the old key.

    Return the SIP passwords in plain text, by the trunk's id.
    """
    monkeypatch.setenv("OWNER_DATABASE_URL", postgres.url("standorte", DatabaseRole.OWNER))
    found = {}
    with sa.orm.Session(superuser) as session, session.begin():
        for trunk in session.scalars(sa.select(SipTrunk)):
            found[trunk.id] = Vault("a key").open(trunk.secret)
            trunk.secret = Vault(OLD).seal(found[trunk.id])
        session.add(new_app(Vault(OLD), make_user(session).id, "Phone", "JBSWY3DPEHPK3PXP", 0, utc_now()))
    assert len(found) > 2
    return found


def reseal(key: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run `standorte secrets reseal` with this SECRET_KEY; return its exit code and its output."""
    monkeypatch.setenv("SECRET_KEY", key)
    said = CliRunner().invoke(cli, ["secrets", "reseal"])
    return said.exit_code, said.output


def test_after_a_change_of_the_key_the_old_one_is_needed_no_more(
    database: Database, passwords: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_secrets, "PAGE", 2)
    code, said = reseal(f"{NEW},{OLD}", monkeypatch)
    assert (code, said.splitlines()) == (
        0,
        [
            f"SIP passwords: {len(passwords)} encrypted anew, 0 unreadable",
            "second factors: 1 encrypted anew, 0 unreadable",
        ],
    )
    alone = Vault(NEW)
    with database.transaction() as session:
        assert {trunk.id: alone.open(trunk.secret) for trunk in session.scalars(sa.select(SipTrunk))} == passwords
        assert "JBSWY3DPEHPK3PXP" in alone.open(session.scalars(sa.select(SecondFactor.secret)).one())
    assert reseal(f"{NEW},{OLD}", monkeypatch)[1].count(": 0 encrypted anew, 0 unreadable") == 2


def test_what_no_key_opens_stays_as_it_is_and_is_said(
    database: Database, passwords: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = reseal(NEW, monkeypatch)
    assert code == 1
    assert f"SIP passwords: 0 encrypted anew, {len(passwords)} unreadable" in said
    with database.transaction() as session:
        assert {trunk.id: Vault(OLD).open(trunk.secret) for trunk in session.scalars(sa.select(SipTrunk))} == passwords


def test_doctor_says_whether_the_key_opens_what_is_stored(
    passwords: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", OLD)
    assert CHECKS["secret key"](WorkerSettings()) == "opens the oldest and newest secrets"
    monkeypatch.setenv("SECRET_KEY", NEW)
    with pytest.raises(Broken, match="SECRET_KEY does not open SIP passwords"):
        CHECKS["secret key"](WorkerSettings())
