"""Tests of `standorte prices …`, with which the carrier sets its prices; a later `standorte migrate` keeps them."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.calendar_days import berlin_day
from models.contracts.catalogue import ProductPrice, price_list
from models.contracts.terms import ContractTerms
from models.db.roles import DatabaseRole
from models.db.session import Database
from models.people.audit_log import AuditEntry
from models.values import utc_now
from workers.cli import cli
from workers.commands.resources import midday
from workers.stack.postgres import EmbeddedPostgres

pytestmark = pytest.mark.usefixtures("database_settings")


def prices(*typed: str) -> Result:
    return CliRunner().invoke(cli, ["prices", *typed])


def test_a_price_is_set_from_a_day_on_and_no_migration_changes_it(
    database: Database, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWNER_DATABASE_URL", postgres.url("standorte", DatabaseRole.OWNER))
    today = berlin_day(utc_now())
    said = prices("set", "trunk-10", "--monthly", "24,5")
    assert said.exit_code == 0 and f"trunk-10 costs 24.50 € a month and 29.00 € once from {today}." in said.stdout
    assert "as was set already" in prices("set", "trunk-10", "--monthly", "24.50").stdout
    migrated = CliRunner().invoke(cli, ["migrate"])
    assert migrated.exit_code == 0, migrated.output
    with database.transaction() as session:
        product = price_list(session, utc_now())["trunk-10"]
        assert (product.monthly_cents, product.one_off_cents) == (2450, 2900)
        [entry] = session.scalars(sa.select(AuditEntry))
        assert (entry.deed, entry.account_id, entry.user_id) == ("price_set", None, None)
        assert entry.facts == {
            "product": "trunk-10", "day": today.isoformat(), "monthly_cents": 2450, "one_off_cents": 2900,
            "term_months": 0, "notice_months": 1, "renewal_months": 0,
        }  # fmt: skip
    assert "24.50 €" in prices("list").stdout


def test_a_product_is_withdrawn_and_sold_again(database: Database) -> None:
    day = berlin_day(utc_now()) + timedelta(days=30)
    again = day + timedelta(days=5)
    said = prices("set", "block-100", "--one-off", "5", "--from", again.strftime("%d.%m.%Y"))
    assert said.exit_code == 0, said.output
    said = prices("withdraw", "block-100", "--from", day.isoformat())
    assert said.exit_code == 0 and f"block-100 is not sold from {day}." in said.stdout
    assert f"What was set for block-100 before stays: from {again}." in said.stdout
    assert "as was set already" in prices("withdraw", "block-100", "--from", day.isoformat()).stdout
    listed = prices("list").stdout
    assert "not sold" in listed.split("from")[1] and day.isoformat() in listed
    on_that_day = prices("list", "--at", day.isoformat()).stdout.splitlines()
    assert next(line for line in on_that_day if line.startswith(" block-100")).rstrip().endswith("not sold")
    with database.transaction() as session:
        deeds = session.scalars(sa.select(AuditEntry.deed).order_by(AuditEntry.id)).all()
        assert deeds == ["price_set", "product_withdrawn"]
    assert "does not deliver it" in prices("set", "fax2mail", "--monthly", "1").stdout


def test_contract_terms_are_set_from_a_day_on_and_the_next_price_keeps_them(database: Database) -> None:
    day = berlin_day(utc_now()) + timedelta(days=30)
    said = prices("set", "trunk-10", "--term", "24", "--renewal", "12", "--from", day.isoformat())
    assert said.exit_code == 0, said.output
    assert "a first term of 24 months, a notice period of 1 month(s) and an extension by 12 months" in said.stdout
    prices("set", "trunk-10", "--monthly", "1", "--from", (day + timedelta(days=1)).isoformat())
    with database.transaction() as session:
        for at, terms in (
            (utc_now(), ContractTerms()),
            (midday(day), ContractTerms(24, 1, 12)),
            (midday(day + timedelta(days=1)), ContractTerms(24, 1, 12)),
        ):
            assert price_list(session, at)["trunk-10"].terms == terms


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["set", "trunk-11", "--monthly", "1"], "There is no product trunk-11. There are: trunk-2, trunk-10"),
        (["set", "trunk-10", "--monthly", "-1"], "--monthly is an amount in euros"),
        (["set", "trunk-10", "--one-off", "1.999"], "--one-off is an amount in euros"),
        (["set", "trunk-10", "--monthly", "1", "--from", "tomorrow"], "--from is a day"),
        (["set", "trunk-10", "--monthly", "1", "--from", "2020-01-01"], "--from: 2020-01-01 is over"),
        (["withdraw", "trunk-10", "--from", "32.01.2027"], "--from is a day"),
        (["set", "trunk-10", "--term", "25"], "less than or equal to 24"),
        (["set", "trunk-10", "--notice", "2"], "less than or equal to 1"),
        (["set", "block-10", "--term", "12"], "block-10 is no trunk"),
        (["withdraw", "nothing"], "There is no product nothing"),
        (["list", "--at", "1"], "--at is a day"),
    ],
)
def test_an_error_names_the_field(database: Database, typed: list[str], said: str) -> None:
    refused = prices(*typed)
    assert refused.exit_code != 0 and said in refused.output, refused.output
    with database.transaction() as session:
        assert session.scalars(sa.select(ProductPrice)).all() == []
