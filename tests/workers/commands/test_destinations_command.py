"""Tests of the commands `standorte destinations …`, with which staff maintain the list of high-risk destinations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.db.session import Database
from models.people.audit_log import AuditEntry
from models.telephony.high_risk import is_high_risk
from models.telephony.trunks import SipTrunk
from tests.factories import make_main
from tests.web.portal.accounts.sites import make_trunk
from workers.cli import cli

pytestmark = pytest.mark.usefixtures("database_settings")


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["destinations", *words])


@pytest.fixture
def added(database: Database, database_settings: object) -> Iterator[None]:
    """Add two prefixes of high-risk destinations by command, and remove them after the test."""
    assert run("add", "+88216", "--reason", "Thuraya [test]").exit_code == 0
    assert run("add", "0067", "--reason", "Pacific").exit_code == 0
    yield
    for prefix in ("+88216", "67"):
        assert run("remove", prefix).exit_code == 0


@pytest.mark.usefixtures("added")
def test_the_list_is_shown_and_changed(database: Database) -> None:
    shown = run("list").stdout
    assert "+881" in shown and "Thuraya [test]" in shown
    with database.transaction() as session:
        assert is_high_risk(session, "+6744441234")
    assert "within seconds" in run("remove", "+67").stdout
    with database.transaction() as session:
        assert not is_high_risk(session, "+6744441234")
        told = session.execute(sa.select(AuditEntry.deed, AuditEntry.facts).order_by(AuditEntry.id)).all()
        pacific = {"prefix": "+67", "reason": "Pacific"}
        assert told[1:] == [("high_risk_added", pacific), ("high_risk_removed", pacific)]
    assert run("remove", "+67").exit_code == 0
    with database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == len(told)
    for wrong in ("Somalia", "4", "+49"):
        assert run("add", wrong, "--reason", "x").exit_code != 0


@pytest.mark.parametrize(
    ("countries", "high_risk", "concerned"),
    [(None, False, True), (["DE", "NR"], False, True), (["DE"], False, False), (None, True, False)],
)
def test_trunks_follow_a_change_that_concerns_them(
    database: Database, countries: list[str] | None, high_risk: bool, concerned: bool
) -> None:
    with database.transaction() as session:
        trunk = session.get_one(SipTrunk, make_trunk(session, make_main(session)[0]))
        trunk.countries, trunk.high_risk = countries, high_risk
        trunk.rest()
    for words in (("add", "+6749", "--reason", "Nauru"), ("remove", "+6749")):
        assert run(*words).exit_code == 0
        with database.transaction() as session:
            found = session.get_one(SipTrunk, trunk.id)
            assert (found.due_at is not None) is concerned, words
            found.rest()
