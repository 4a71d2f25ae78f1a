"""Tests of `standorte users import`, which takes over people and their roles from a CSV file."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account
from models.db.session import Database
from models.messages.outbox import Message
from models.people.audit_log import AuditEntry
from models.people.rights import Role
from models.people.users import Membership, User
from models.staff.erasing_people import ask_for_erasure
from tests.factories import NOW, join, make_account, make_user
from workers.commands.users import app

pytestmark = pytest.mark.usefixtures("database_settings")
HEADER = "customer_number;email;name;role;language"


@pytest.fixture
def accounts(owner_database: Database) -> list[Account]:
    """Return two accounts without users."""
    with owner_database.transaction() as session:
        return [make_account(session), make_account(session)]


def run(tmp_path: Path, *lines: str, options: tuple[str, ...] = ()) -> Result:
    """Write `lines` below the header to a CSV file, and import it by `standorte users import` with these options.

    Return the result of the command.
    """
    file = tmp_path / "people.csv"
    file.write_text("\n".join([HEADER, *lines, ""]))
    return CliRunner().invoke(app, ["import", str(file), *options])


def roles(database: Database) -> list[tuple[str, ...]]:
    """Return one row for each role of a user in an account, sorted by e-mail address.

    A row is e-mail address, name, language, customer number and role.
    """
    what = User.email, User.name, User.locale, Account.customer_number, Membership.role
    query = sa.select(*what).join(Membership, Membership.user_id == User.id).join(Account).order_by(User.email)
    with database.transaction() as session:
        return [tuple(row) for row in session.execute(query.order_by(Account.id))]


def test_people_and_their_roles_are_taken_over_once(
    owner_database: Database, accounts: list[Account], tmp_path: Path
) -> None:
    first, second = (account.customer_number for account in accounts)
    lines = (
        f"{first};Ada@Example.com;Ada Admin;administrator;en",
        f"{first};bo@example.com;Bo Beispiel;local_member;",
        f"{second};ada@example.com;Another Name;location_manager;de",
    )
    dry = run(tmp_path, *lines, options=("--dry-run",))
    assert (dry.exit_code, "3  roles would be given" in dry.stdout, roles(owner_database)) == (0, True, [])
    done = run(tmp_path, *lines)
    assert (done.exit_code, "3  roles given" in done.stdout) == (0, True)
    expected = [
        ("ada@example.com", "Ada Admin", "en", first, Role.ADMINISTRATOR),
        ("ada@example.com", "Ada Admin", "en", second, Role.LOCATION_MANAGER),
        ("bo@example.com", "Bo Beispiel", "de", first, Role.LOCAL_MEMBER),
    ]
    assert roles(owner_database) == expected
    again = run(tmp_path, *lines)
    assert (again.exit_code, "0  roles given" in again.stdout, "3  there already" in again.stdout) == (0, True, True)
    assert roles(owner_database) == expected
    with owner_database.transaction() as session:
        entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
        ada, bo = session.scalars(sa.select(User).order_by(User.email))
        assert [(entry.deed, entry.account_id, entry.by_staff, entry.facts) for entry in entries] == [
            ("user_entered", accounts[0].id, True, {"user_id": ada.id, "role": "administrator"}),
            ("user_entered", accounts[0].id, True, {"user_id": bo.id, "role": "local_member"}),
            ("user_entered", accounts[1].id, True, {"user_id": ada.id, "role": "location_manager"}),
        ]
        assert (ada.password_hash, bo.password_hash) == (None, None)
        assert session.scalars(sa.select(Message)).all() == []


def test_somebody_with_a_login_gets_the_role(owner_database: Database, accounts: list[Account], tmp_path: Path) -> None:
    with owner_database.transaction() as session:
        user = make_user(session)
        email, name, password = user.email, user.name, user.password_hash
    assert run(tmp_path, f"{accounts[0].customer_number};{email};Typed Otherwise;local_member;en").exit_code == 0
    assert roles(owner_database) == [(email, name, "de", accounts[0].customer_number, Role.LOCAL_MEMBER)]
    with owner_database.transaction() as session:
        assert session.scalars(sa.select(User)).one().password_hash == password


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("9999999;a@example.com;A;administrator;", "customer_number", "no_account"),
        ("{closed};a@example.com;A;administrator;", "customer_number", "account_closed"),
        ("{open};nobody;A;administrator;", "email", "not_an_email_address"),
        ("{open};münch@example.com;A;administrator;", "email", "not_ascii_before_at"),
        ("{open};a@example.com;;administrator;", "name", "missing"),
        ("{open};a@example.com;{long};administrator;", "name", "too_long"),
        ("{open};a@example.com;see www.example.com/x;administrator;", "name", "web_address"),
        ("{open};a@example.com;#REF!;administrator;", "name", "error_value"),
        ("{open};a@example.com;A;chief;", "role", "not_a_role"),
        ("{open};a@example.com;A;administrator;fr", "language", "not_a_language"),
        ("{open};member@example.com;A;administrator;", "role", "other_role"),
        ("{open};staff@example.com;A;administrator;", "email", "staff"),
        ("{open};erased@example.com;A;administrator;", "email", "being_erased"),
        ("{open};disabled@example.com;A;administrator;", "email", "disabled"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(
    owner_database: Database, accounts: list[Account], tmp_path: Path, row: str, column: str, reason: str
) -> None:
    with owner_database.transaction() as session:
        join(session, make_user(session, email="member@example.com"), accounts[0], Role.LOCAL_MEMBER)
        make_user(session, email="staff@example.com", is_staff=True)
        make_user(session, email="disabled@example.com").disabled_at = NOW
        ask_for_erasure(session, make_user(session, email="erased@example.com"), NOW)
        account = session.get_one(Account, accounts[1].id)
        account.state = type(account.state).CLOSED
    before = roles(owner_database)
    numbers = {"open": accounts[0].customer_number, "closed": accounts[1].customer_number, "long": "A" * 201}
    good = f"{accounts[0].customer_number};good@example.com;Good;location_manager;"
    done = run(tmp_path, good, row.format(**numbers))
    assert (done.exit_code, "1  roles given" in done.stdout, "1  not taken over" in done.stdout) == (1, True, True)
    report = (tmp_path / "people.csv.errors.csv").read_text("utf-8-sig").splitlines()
    assert [line.split(";")[:3] for line in report[1:]] == [["3", column, reason]]
    [new] = set(roles(owner_database)) - set(before)
    assert new[0] == "good@example.com"


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("nothing")
    assert CliRunner().invoke(app, ["import", str(file)]).exit_code == 2


def test_people_without_a_password_are_told_once_and_only_if_the_operator_says_so(
    owner_database: Database, accounts: list[Account], tmp_path: Path
) -> None:
    with owner_database.transaction() as session:
        known = make_user(session, email="known@example.com")
        assert known.password_hash is not None
    first, second = (account.customer_number for account in accounts)
    lines = (
        f"{first};ada@example.com;Ada Admin;local_member;en",
        f"{second};ada@example.com;Ada Admin;administrator;en",
        f"{first};known@example.com;Known;administrator;",
        f"{first};nobody;N;administrator;",
    )
    assert "by mail" not in run(tmp_path, *lines).stdout
    run(tmp_path, *lines, options=("--tell", "--dry-run"))
    with owner_database.transaction() as session:
        assert session.scalars(sa.select(Message)).all() == []
    assert "1  people get a link by mail" in run(tmp_path, *lines, options=("--tell",)).stdout
    assert "by mail" not in run(tmp_path, *lines, options=("--tell",)).stdout
    with owner_database.transaction() as session:
        [mail] = session.scalars(sa.select(Message))
    assert (mail.template, mail.recipient_address, mail.locale) == ("login_created", "ada@example.com", "en")
    assert (mail.facts["customer_number"], mail.facts["role"]) == (first, "local_member")
    assert mail.proof is not None
