"""`standorte destinations …`: show and change which destinations of calls are high-risk (often used for fraud)."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from models.db.session import Database
from models.people.audit_log import AuditEvent, record_of_carrier
from models.telephony.allowed_destinations import follow_high_risk
from models.telephony.high_risk import HighRiskPrefix
from workers.commands.resources import open_database, out, refuse

app = typer.Typer(no_args_is_help=True, help="High-risk destinations of calls.")

Prefix = Annotated[str, typer.Argument(help="The first digits in E.164.", metavar="+252")]


@app.command("list")
def show() -> None:
    """List the prefixes of high-risk destinations, each with the reason."""
    table = Table("prefix", "reason", box=None)
    with open_database() as database, database.transaction() as session:
        for row in session.query(HighRiskPrefix).order_by(HighRiskPrefix.prefix):
            table.add_row(f"+{row.prefix}", escape(row.reason))
    out.print(table)


@app.command()
def add(prefix: Prefix, reason: Annotated[str, typer.Option(help="Why; for the carrier's staff.")]) -> None:
    """Make numbers with a prefix high-risk destinations, which only trunks with a permission may call.

    Safe to run twice: the reason is replaced. Trunks are updated at the registrar within seconds.
    """
    digits = _digits(prefix)
    with open_database() as database:
        with database.transaction() as session:
            found = session.get(HighRiskPrefix, digits)
            if found is None or found.reason != reason:
                session.merge(HighRiskPrefix(prefix=digits, reason=reason))
                _record(session, AuditEvent.HIGH_RISK_ADDED, digits, reason, database)
        _follow(database, digits)


@app.command()
def remove(prefix: Prefix) -> None:
    """Take a prefix off the list of high-risk destinations. Safe to run twice.

    Trunks are updated at the registrar within seconds.
    """
    digits = _digits(prefix)
    with open_database() as database:
        with database.transaction() as session:
            found = session.get(HighRiskPrefix, digits)
            if found is not None:
                session.delete(found)
                _record(session, AuditEvent.HIGH_RISK_REMOVED, digits, found.reason, database)
        _follow(database, digits)


def _digits(typed: str) -> str:
    digits = typed.removeprefix("+").removeprefix("00")
    if not re.fullmatch("[1-9][0-9]{0,7}", digits):
        refuse("A prefix has one to eight digits and begins with a country code, such as +252.")
    if "49".startswith(digits):
        refuse("Germany as a whole cannot be high-risk.")
    return digits


def _record(session: Session, deed: AuditEvent, digits: str, reason: str, database: Database) -> None:
    record_of_carrier(session, None, deed, database.now(), {"prefix": f"+{digits}", "reason": reason})


def _follow(database: Database, digits: str) -> None:
    last: int | None = 0
    while last is not None:
        with database.transaction() as session:
            last = follow_high_risk(session, digits, database.now(), after=last)
    out.print("Saved. The trunks concerned follow within seconds.", highlight=False)
