"""Tests of importing call forwardings from a CSV file.

They reach the registrar only when their trunk, which was imported from Kamailio's own tables, is adopted: from then on
the portal writes its rows at the registrar.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from models.accounts.accounts import Account
from models.db.session import Database
from models.people.audit_log import AuditEntry, AuditEvent
from models.telephony.forwarding import CallForwarding, forwardings_of
from models.telephony.high_risk import HighRiskPrefix
from models.telephony.trunk_takeover import adopt_trunks, unadopted_trunks
from models.telephony.trunks import SipTrunk
from models.telephony.weekly_hours import ALL_WEEK, DAY, WEEK
from tests.workers.gateways.kamailio_tables import Network
from tests.workers.gateways.trunk_files import Take, line
from workers.accounts.customer_file import open_file
from workers.accounts.customer_import import Finding
from workers.accounts.forwarding_import import ForwardingImport
from workers.accounts.row_import import RowSummary
from workers.commands.trunks import app

HEADER = "sip_user;condition;target;after_seconds;first_number;last_number"
Forward = Callable[..., tuple[RowSummary, list[Finding]]]


@pytest.fixture
def forward(network: Network, tmp_path: Path) -> Forward:
    """Provide a function that writes lines to a CSV file of forwardings and imports it.

    Its parameters are the lines and, as keywords, `dry` for a dry run and `header` for another header. It returns a
    summary, which counts the rows and what became of them, and all findings: problems of rows, or remarks on them.
    """

    def forward(*lines: str, dry: bool = False, header: str = HEADER) -> tuple[RowSummary, list[Finding]]:
        file = tmp_path / "forwardings.csv"
        file.write_text("\n".join([header, *lines, ""]))
        findings: list[Finding] = []
        with open_file(file, ForwardingImport.required, ForwardingImport.optional) as table:
            run = ForwardingImport(network.runtime.database, findings.append, lambda _: None, dry=dry)
            return run.run(table), findings

    return forward


@pytest.fixture
def trunk(account: Account, take: Take) -> str:
    """Import a trunk with 112 numbers from +49 5219999800 on, and return its SIP user."""
    assert take(line(account.customer_number))[1] == []
    return "old1"


def present(network: Network, account: Account) -> list[CallForwarding]:
    """Return the account's call forwardings in the portal."""
    with network.runtime.database.transaction() as session:
        return list(forwardings_of(session, session.get_one(Account, account.id)))


def test_forwardings_are_taken_over_and_written_by_the_adoption_only(
    network: Network, account: Account, trunk: str, forward: Forward
) -> None:
    before = network.everything()
    lines = (
        f"{trunk};no_answer;030 5556677;25;;",
        f"{trunk};not_registered;+49 171 5556677;;0521 9999800;9",
    )
    assert forward(*lines, dry=True)[0] == RowSummary(created=2)
    assert present(network, account) == []
    assert forward(*lines) == (RowSummary(created=2), [])
    assert forward(*lines) == (RowSummary(unchanged=2), [])
    said = [
        (found.condition, found.target, found.after_seconds, found.numbers, found.enabled)
        for found in present(network, account)
    ]
    assert said == [
        ("no_answer", "+49305556677", 25, None, True),
        ("not_registered", "+491715556677", None, (495219999800, 495219999809), True),
    ]
    with network.runtime.database.transaction() as session:
        entries = sa.select(AuditEntry).where(AuditEntry.deed == AuditEvent.FORWARDING_ADDED).order_by(AuditEntry.id)
        log = [(entry.account_id, entry.by_staff, entry.user_id) for entry in session.scalars(entries)]
    assert log == [(account.id, True, None)] * 2

    assert network.run(allow_removals=True).found == {"not_adopted": 1, "unknown_there": 1}
    network.write()
    assert network.everything() == before
    with network.runtime.database.transaction() as session:
        adopt_trunks(session, network.clock.now, {one.id: one.taken_over_as for one in unadopted_trunks(session)})
    network.write()
    written = {row[2] for row in network.everything()[2] if row[0] == trunk}
    assert {name for name in written if name.startswith("forward")} >= {"forward.no_answer.0"}


def test_a_forwarding_may_hold_at_some_hours_of_the_week(
    network: Network, account: Account, trunk: str, forward: Forward
) -> None:
    header = HEADER + ";hours"
    lines = (
        f'{trunk};always;030 5556677;;;;"Mo-Fr 18:00-08:00; Sa,Su 00:00-24:00"',
        f"{trunk};always;030 5556688;;;;mo-fr 08:00-18:00",
        f"{trunk};not_registered;030 5556699;;;;",
    )
    assert forward(*lines, header=header, dry=True)[0] == RowSummary(created=3)
    assert forward(*lines, header=header) == (RowSummary(created=3), [])
    assert forward(*lines, header=header) == (RowSummary(unchanged=3), [])
    days, nights, always = (found.hours for found in present(network, account))
    assert always == ALL_WEEK
    assert days == tuple((day * DAY + 8 * 60, day * DAY + 18 * 60) for day in range(5))
    assert nights == (
        *((day * DAY + 18 * 60, (day + 1) * DAY + 8 * 60) for day in range(4)),
        (4 * DAY + 18 * 60, WEEK),
    )
    wrong = (
        f"{trunk};always;030 5556600;;;;Mo 17:00-19:00",
        f"{trunk};busy;030 5556600;;;;weekdays",
    )
    findings = forward(*wrong, header=header)[1]
    assert [(found.line, found.column, found.reason) for found in findings] == [
        (2, "condition", "overlap"),
        (3, "hours", "not_hours"),
    ]


def test_what_a_customer_has_changed_is_not_taken_over_again(
    network: Network, account: Account, trunk: str, forward: Forward
) -> None:
    row = f"{trunk};always;030 5556677;;;"
    forward(row)
    with network.runtime.database.transaction() as session:
        found = session.scalars(sa.select(CallForwarding).where(CallForwarding.account_id == account.id)).one()
        found.enabled = False
    assert forward(row) == (RowSummary(unchanged=1), [])
    with network.runtime.database.transaction() as session:
        session.execute(sa.delete(CallForwarding).where(CallForwarding.account_id == account.id))
        session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == trunk)).one().changed(network.clock.now)
    [finding] = forward(row)[1]
    assert (finding.column, finding.reason) == ("sip_user", "adopted")
    assert present(network, account) == []


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("unheard-of;always;030 5556677;;;", "sip_user", "no_trunk"),
        ("old1;sometimes;030 5556677;;;", "condition", "not_a_condition"),
        ("old1;always;;;;", "target", "needs_area_code"),
        ("old1;always;5556677;;;", "target", "needs_area_code"),
        ("old1;always;0900 5556677;;;", "target", "costly_number"),
        ("old1;always;112;;;", "target", "emergency_number"),
        ("old1;always;0171 1;;;", "target", "not_a_phone_number"),
        ("old1;always;0521 9999801;;;", "target", "own_number"),
        ("old1;always;+881 6 51412345;;;", "target", "administrator_confirms"),
        ("old1;no_answer;030 5556677;;;", "after_seconds", "not_in_range"),
        ("old1;no_answer;030 5556677;1000;;", "after_seconds", "not_in_range"),
        ("old1;busy;030 1112233;;;", "condition", "overlap"),
        ("old1;busy;030 5556677;;;0521 9999805", "first_number", "no_first"),
        ("old1;busy;030 5556677;;0521 9999805;0521 9999801", "first_number", "backwards"),
        ("old1;busy;030 5556677;;nonsense;", "first_number", "not_a_phone_number"),
        ("old1;busy;030 5556677;;030 123456;", "first_number", "other_trunk"),
        ("old1;busy;030 5556677;;030 999456;", "first_number", "not_own"),
        ("old1;always;#N/A;;;", "target", "error_value"),
        ("old1;always", "", "too_few_columns"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(
    network: Network,
    account: Account,
    trunk: str,
    take: Take,
    forward: Forward,
    owner_database: Database,
    row: str,
    column: str,
    reason: str,
) -> None:
    with owner_database.transaction() as session:
        session.merge(HighRiskPrefix(prefix="881", reason="satellites"))
    first = forward("old1;busy;030 5556677;;;")
    assert first == (RowSummary(created=1), [])
    if reason == "other_trunk":
        take(line(account.customer_number, "old2"))
    summary, findings = forward(row)
    assert [(found.line, found.column, found.reason) for found in findings] == [(2, column, reason)]
    assert str(findings[0])
    assert summary == RowSummary(bad=1)


def test_of_several_trunks_the_row_names_the_numbers(
    network: Network, account: Account, trunk: str, take: Take, forward: Forward
) -> None:
    take(line(account.customer_number, "old2"))
    summary, findings = forward(f"{trunk};always;0171 5556677;;;", f"{trunk};always;0171 5556677;;0521 9999800;")
    assert [(found.line, found.column, found.reason) for found in findings] == [(2, "first_number", "several_trunks")]
    assert summary == RowSummary(created=1, bad=1)


def test_a_closed_account_gets_none(
    network: Network, account: Account, trunk: str, forward: Forward, owner_database: Database
) -> None:
    with owner_database.transaction() as session:
        found = session.get_one(Account, account.id)
        found.state = type(found.state).CLOSED
    [finding] = forward(f"{trunk};always;030 5556677;;;")[1]
    assert (finding.column, finding.reason) == ("sip_user", "account_closed")


def test_the_command_imports_forwardings(trunk: str, database_settings: None, tmp_path: Path) -> None:
    file = tmp_path / "stock.csv"
    file.write_text("\n".join([HEADER, f"{trunk};always;030 5556677;;;", f"{trunk};never;030 5556677;;;"]))
    dry = CliRunner().invoke(app, ["import-forwardings", "--dry-run", str(file)])
    assert (dry.exit_code, "1  would be created" in dry.stdout) == (1, True)
    real = CliRunner().invoke(app, ["import-forwardings", str(file)])
    assert (real.exit_code, "1  created" in real.stdout, "line 3, condition" in real.stderr) == (1, True, True)
    assert (tmp_path / "stock.csv.errors.csv").exists()
    file.write_text("\n".join([HEADER, f"{trunk};always;030 5556677;;;"]))
    again = CliRunner().invoke(app, ["import-forwardings", str(file)])
    assert (again.exit_code, "1  there already" in again.stdout) == (0, True)
    file.write_text("nothing")
    assert CliRunner().invoke(app, ["import-forwardings", str(file)]).exit_code == 2
