"""Tests of the commands `standorte users …`, with which staff manage people.

They list people, create the first one of an account, sign people out, reset second factors, and export or erase data.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.db.session import Database
from models.messages.outbox import Message, MessageState
from models.people.audit_log import AuditEntry
from models.people.login_sessions import Login, begin_login
from models.people.password_links import user_by_reset
from models.people.rights import Role
from models.people.second_factors import RecoveryCode, SecondFactor, renew_recovery_codes
from models.people.users import User
from models.staff.erasing_people import ERASED_NAME, erase, open_erasures
from models.values import utc_now
from models.vault import Vault
from tests.factories import give_app, join, make_account, make_main, make_user
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")
MAXI, STAFF = "maxi.mustermensch@example.com", "backoffice@example.com"


def test_a_person_s_data_is_written_for_staff(database: Database, tmp_path: Path) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
    shown = CliRunner().invoke(cli, ["users", "export", manager.email.upper()])
    data = json.loads(shown.stdout)
    assert data["roles"] == [{"customer_number": main.customer_number, "role": "administrator"}]
    file = tmp_path / "data.json"
    assert CliRunner().invoke(cli, ["users", "export", manager.email, "--out", str(file)]).exit_code == 0
    assert json.loads(file.read_text()) == data
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nobody_has_no_data() -> None:
    assert CliRunner().invoke(cli, ["users", "export", "nobody@example.com"]).exit_code == 1


def test_staff_erase_a_person_but_not_an_only_administrator(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        member = make_user(session)
        join(session, member, main, Role.LOCAL_MEMBER)
        address, id = member.email, member.id
    refused = CliRunner().invoke(cli, ["users", "erase", manager.email, "--yes"])
    assert refused.exit_code == 1 and main.customer_number in refused.stderr
    assert CliRunner().invoke(cli, ["users", "erase", address], input="n\n").exit_code == 1
    assert CliRunner().invoke(cli, ["users", "erase", address, "--yes"]).exit_code == 0
    assert CliRunner().invoke(cli, ["users", "erase", address, "--yes"]).exit_code == 0
    with database.transaction() as session:
        [(erasure, user)] = open_erasures(session)
        # The last mail has to leave first.
        assert not erase(session, erasure, user, utc_now())
        session.execute(sa.update(Message).values(state=MessageState.SENT, sent_at=utc_now(), due_at=None))
        assert erase(session, erasure, user, utc_now())
    with database.transaction() as session:
        assert session.get_one(User, id).name == ERASED_NAME
        assert open_erasures(session) == []


def test_one_person_or_everybody_is_signed_out(database: Database) -> None:
    with database.transaction() as session:
        people = [make_user(session), make_user(session), make_user(session, is_staff=True)]
        for person in people * 2:
            begin_login(session, person, "", "", utc_now())
        emails = [person.email for person in people]

    def signed_in() -> list[str]:
        with database.transaction() as session:
            return sorted(set(session.scalars(sa.select(User.email).join(Login, Login.user_id == User.id))))

    def sign_out(*typed: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["users", "sign-out", *typed], input=answer)

    for wrong in ((), (emails[0], "--everybody"), ("nobody@example.com",)):
        assert sign_out(*wrong).exit_code == 1
    assert sign_out("--everybody", answer="n\n").exit_code == 1
    assert signed_in() == sorted(emails)
    assert sign_out(emails[0].upper()).stdout == "Signed out of 2 browsers.\n"
    assert signed_in() == sorted(emails[1:])
    assert sign_out("--everybody", "--yes").stdout == "Signed out of 4 browsers.\n"
    assert sign_out("--everybody", "--yes").stdout == "Signed out of 0 browsers.\n"
    assert signed_in() == []


def reset(email: str) -> Result:
    typed = ["users", "reset-factors", email, "--proof", "called back on the number of the contract"]
    return CliRunner().invoke(cli, typed)


@pytest.mark.usefixtures("demo_data")
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
    assert result.exit_code == 1 and "Nobody signs in as" in result.stderr


def users(*typed: str) -> Result:
    return CliRunner().invoke(cli, ["users", *typed])


def test_the_first_member_of_staff_gets_a_link_by_mail_or_on_the_terminal(database: Database) -> None:
    created = users("create", "--staff", "Bo@Example.com", "--name", "Bo Backoffice")
    assert created.exit_code == 0, created.output
    assert "bo@example.com is created: staff." in created.stdout
    again = users("create", "--staff", "bo@example.com", "--name", "Bo Backoffice")
    assert again.exit_code == 0 and "is staff already" in again.stdout
    with database.transaction() as session:
        user = session.scalars(sa.select(User)).one()
        assert (user.is_staff, user.password_hash, user.name) == (True, None, "Bo Backoffice")
        [mail] = session.scalars(sa.select(Message))
        assert (mail.template, mail.recipient_address) == ("login_created", "bo@example.com")
        entry = session.scalars(sa.select(AuditEntry)).one()
        assert (entry.deed, entry.account_id, entry.user_id, entry.by_staff) == ("login_created", None, None, True)
        assert entry.facts == {"user_id": user.id}
    printed = users("create", "--staff", "bo@example.com", "--name", "Bo Backoffice", "--again", "--print-link")
    path = printed.stdout.splitlines()[-1].removeprefix("http://127.0.0.1:8000")
    _, word, id, issued, token = path.split("/")
    with database.transaction() as session:
        assert (word, session.scalars(sa.select(sa.func.count()).select_from(Message)).one()) == ("passwort", 1)
        vault = Vault("for-development-only: the key of the tests")
        assert user_by_reset(session, vault, int(id), int(issued), token, utc_now()) is not None


def test_the_first_administrator_of_an_account_and_no_second_one(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session)
        number = account.customer_number
        known = make_user(session, name="Kim Bekannt")
        staff = make_user(session, is_staff=True)
        addresses = known.email, staff.email
    refused = users("create", addresses[1], "--name", "Bo", "--account", number)
    assert refused.exit_code == 1 and "belongs to the staff" in refused.stderr
    added = users("create", addresses[0], "--name", "Kim Bekannt", "--account", number)
    assert added.exit_code == 0 and f"had a login already, is administrator of {number} now" in added.stdout
    assert "already" in users("create", addresses[0], "--name", "Kim Bekannt", "--account", number).stdout
    second = users("create", "other@example.com", "--name", "Jo", "--account", number)
    assert second.exit_code == 1 and addresses[0] in second.stderr and "invites others" in second.stderr
    with database.transaction() as session:
        assert len(session.scalars(sa.select(User)).all()) == 2
        [mail] = session.scalars(sa.select(Message))
        assert (mail.facts["path"], mail.proof, mail.facts["customer_number"]) == ("/anmelden", None, number)
        entry = session.scalars(sa.select(AuditEntry)).one()
        assert (entry.deed, entry.user_id, entry.by_staff) == ("administrator_added", None, True)
    customer = users("create", "--staff", addresses[0], "--name", "Kim")
    assert customer.exit_code == 1 and "address of their own" in customer.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["create", "a@example.com", "--name", "A"], "--staff, or --account"),
        (["create", "a@example.com", "--name", "A", "--staff", "--account", "1234567"], "--staff, or --account"),
        (["create", "müller@example.com", "--name", "A", "--staff"], "no umlauts before the @"),
        (["create", "nobody", "--name", "A", "--staff"], "EMAIL: nobody is no address"),
        (["create", "a@example.com", "--name", "http://evil.example", "--staff"], "--name is a person's name"),
        (["create", "a@example.com", "--name", " ", "--staff"], "--name is a person's name"),
        (["create", "a@example.com", "--name", "A", "--staff", "--lang", "fr"], "--lang is de or en"),
        (["create", "a@example.com", "--name", "A", "--account", "1234567"], "There is no account 1234567"),
        (["disable", "a@example.com"], "Nobody signs in as"),
        (["enable", "a@example.com"], "Nobody signs in as"),
        (["list", "--account", "1234567"], "There is no account 1234567"),
    ],
)
def test_an_error_names_what_is_wrong(database: Database, typed: list[str], said: str) -> None:
    refused = users(*typed)
    assert (refused.exit_code, said in refused.stderr) == (1, True), refused.output
    with database.transaction() as session:
        assert session.scalars(sa.select(User)).all() == []


def test_the_list_names_who_is_who_and_who_is_shut_out(database: Database) -> None:
    assert "Nobody." in users("list").stdout
    with database.transaction() as session:
        main, manager = make_main(session)
        staff = make_user(session, is_staff=True, name="Bo [b]", password_hash=None)
        number, address = main.customer_number, staff.email
    said = users("disable", manager.email)
    assert said.exit_code == 0 and f"Account {number} has no administrator now" in said.stdout
    again = users("disable", manager.email)
    assert again.exit_code == 0 and "disabled already" in again.stdout and number not in again.stdout
    listed = users("list").stdout
    assert f"{number} administrator" in listed and "Bo [b]" in listed and "not yet" in listed
    assert manager.email in users("list", "--disabled").stdout and address not in users("list", "--disabled").stdout
    assert address in users("list", "--staff").stdout and manager.email not in users("list", "--staff").stdout
    assert manager.email in users("list", "--account", number).stdout
    # Its way out: another first administrator.
    assert users("create", "new@example.com", "--name", "Jo Neu", "--account", number).exit_code == 0
    assert "can sign in again" in users("enable", manager.email).stdout
    assert "is not disabled" in users("enable", manager.email).stdout
    refused = users("create", "--staff", address, "--name", "Bo")
    assert refused.exit_code == 0
    users("disable", address)
    refused = users("create", "--staff", address, "--name", "Bo", "--again")
    assert refused.exit_code == 1 and f"users enable {address}" in refused.stderr
