"""Tests of `standorte accounts create`, which opens the first account of a new customer."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder
from models.db.session import Database
from models.messages.outbox import Message
from models.people.audit_log import AuditEntry
from models.people.users import User, administrators_of
from models.states import AccountRole, AccountState
from tests.factories import make_user
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")

TYPED = {
    "name": "Muster [Nord] GmbH",
    "street": "Alter Markt 1",
    "postal-code": "33602",
    "city": "Bielefeld",
    "contact-name": "Maxi Muster",
    "contact-email": "Maxi@Muster.example.com",
    "contact-phone": "0521 99998-0",
    "holder-form": "company",
    "holder-register-number": "HRB 12345, Amtsgericht Bielefeld",
}


def create(*options: str, **changes: str | None) -> Result:
    """Run `standorte accounts create` with the options in `TYPED`, and return the result.

    `changes` replace options by name; None leaves an option out. `options` are further words of the command line.
    """
    typed = TYPED | {name.replace("_", "-"): value for name, value in changes.items()}
    words = [word for name, value in typed.items() if value is not None for word in (f"--{name}", value)]
    return CliRunner().invoke(cli, ["accounts", "create", *words, *options])


def test_an_account_is_opened_once_with_holder_and_administrator(database: Database) -> None:
    said = create()
    assert said.exit_code == 0, said.output
    number = said.stdout.split()[0]
    assert f"{number} has this name and address already." in create().stdout
    with database.transaction() as session:
        account = session.scalars(sa.select(Account)).one()
        assert (account.customer_number, account.role, account.state) == (
            number, AccountRole.STANDALONE, AccountState.ACTIVE,
        )  # fmt: skip
        assert (account.contact_email, account.contact_phone) == ("maxi@muster.example.com", "+49521999980")
        holder = session.scalars(sa.select(ContractHolder)).one()
        assert (holder.name, holder.street, holder.register_number) == (
            TYPED["name"], TYPED["street"], TYPED["holder-register-number"],
        )  # fmt: skip
        [user] = administrators_of(session, account.id)
        assert (user.email, user.name, user.password_hash) == ("maxi@muster.example.com", "Maxi Muster", None)
        [mail] = session.scalars(sa.select(Message))
        assert (mail.template, mail.recipient_address) == ("login_created", user.email)
        log = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
        assert [entry.deed for entry in log] == ["account_created", "administrator_added"]
        assert {(entry.account_id, entry.user_id, entry.by_staff) for entry in log} == {(account.id, None, True)}


def test_a_number_of_the_carriers_own_is_given_out_once(database: Database) -> None:
    first = create("--print-link", customer_number="7654321", admin_email="kim@example.com", admin_name="Kim Beispiel")
    assert first.exit_code == 0 and first.stdout.startswith("7654321 is opened, with the administrator kim@example.com")
    assert first.stdout.splitlines()[-1].startswith("http://127.0.0.1:8000/passwort/")
    again = create(customer_number="7654321", name="Another GmbH")
    assert again.exit_code == 1 and "--customer-number: 7654321 was given out before" in again.stderr
    with database.transaction() as session:
        assert len(session.scalars(sa.select(Account)).all()) == 1
        assert session.scalars(sa.select(Message)).all() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"postal_code": "3360"}, ["--postal-code is not five digits."]),
        ({"postal_code": "10115"}, ["--postal-code belongs to another town: emergency calls would go astray."]),
        ({"street": "Alter Markt"}, ["--street has no house number."]),
        ({"contact_email": "nobody", "name": " "}, ["--name is empty.", "--contact-email is not an e-mail address."]),
        ({"contact_phone": "call us"}, ["--contact-phone is not "]),
        ({"holder_form": "club"}, ["--holder-form is not company, person or other."]),
        ({"holder_register_number": None}, ["--holder-register-number is empty."]),
        ({"holder_form": "person", "holder_born_on": "yesterday"}, ["--holder-born-on is no date of birth"]),
        ({"customer_number": "12"}, ["--customer-number is not seven digits"]),
        ({"lang": "fr"}, ["--lang is de or en."]),
    ],
)
def test_a_mistake_names_its_option_and_opens_nothing(
    database: Database, changes: dict[str, str | None], said: list[str]
) -> None:
    refused = create(**changes)
    assert refused.exit_code == 1, refused.output
    for words in said:
        assert words in refused.stderr
    with database.transaction() as session:
        assert session.scalars(sa.select(Account)).all() == []


def test_staff_administer_no_account_and_nothing_is_left_behind(database: Database) -> None:
    with database.transaction() as session:
        staff = make_user(session, is_staff=True).email
    refused = create(admin_email=staff, admin_name="Bo")
    assert refused.exit_code == 1 and "belongs to the staff" in refused.stderr
    with database.transaction() as session:
        assert session.scalars(sa.select(Account)).all() == []
        assert len(session.scalars(sa.select(User)).all()) == 1
