"""`standorte trunks …`: suspend and resume SIP trunks for the carrier; import and adopt those of a running Kamailio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from models.errors import Forbidden, NotFound, TrunkClosed
from models.telephony.suspension import resume_for_carrier, suspend_for_carrier
from models.telephony.trunk_takeover import TrunkFate, count_unadopted
from models.telephony.trunks import TrunkState
from models.vault import Vault
from tasks.ports import GatewayError
from workers.accounts.customer_file import UnusableFile
from workers.accounts.forwarding_import import ForwardingImport
from workers.accounts.trunk_adoption import adopt_unchanged
from workers.accounts.trunk_import import TrunkImport, open_trunks
from workers.commands.import_reports import DryRun, ImportedFile, Report, ReportFile, import_rows, reading
from workers.commands.resources import err, open_database, out, refuse
from workers.gateways.subscribers import KamailioSubscribers
from workers.settings import WorkerSettings

app = typer.Typer(no_args_is_help=True, help="SIP trunks.")

UserArgument = Annotated[str, typer.Argument(metavar="SIP_USER", help="As the dashboard shows it.")]


@app.command()
def suspend(
    sip_user: UserArgument,
    reason: Annotated[str, typer.Option(help="Why, in the customer's words: the portal shows it.")],
) -> None:
    """Suspend a trunk for the carrier: no phone can register with the trunk or call, except 110 and 112.

    Only `trunks resume` lifts the suspension. Safe to run twice; a new reason replaces the earlier reason.
    """
    reason = " ".join(reason.split())
    if not reason:
        refuse("The customer has to read why: --reason.")
    with _changing(sip_user) as (session, now):
        changed = suspend_for_carrier(session, sip_user, reason, now)
    done = "is suspended" if changed else "was suspended for that already"
    out.print(f"Trunk {sip_user} {done}.", highlight=False)


@app.command()
def resume(sip_user: UserArgument) -> None:
    """Lift the carrier's suspension of a trunk; the customer's own suspension stays. Safe to run twice."""
    with _changing(sip_user) as (session, now):
        trunk, changed = resume_for_carrier(session, sip_user, now)
    done = "is not suspended by us any more" if changed else "was not suspended by us"
    stays = "; it stays suspended by the customer" if trunk.state is TrunkState.SUSPENDED else ""
    out.print(f"Trunk {sip_user} {done}{stays}.", highlight=False)


@app.command("import")
def import_trunks(
    file: ImportedFile,
    dry_run: DryRun = False,
    report: ReportFile = None,
) -> None:
    """Import existing trunks from a CSV or XLSX file with headings, after `accounts import` of their customers.

    Columns: customer_number, sip_user, channels, product (of `prices list`), monthly_price (net, in euros), started_on,
    and the optional domain (SIP_DOMAIN without it), secret, numbers (divided by commas; +49521999980/100 are a hundred
    from there on), term_months, notice_months and renewal_months (without them no first term and a month's notice).
    A missing secret and missing numbers are read from the tables subscriber and dbaliases of a running Kamailio
    (REGISTRAR_URL), where nothing is changed before `trunks adopt`.

    Valid rows are imported even if others are not. A trunk that was imported before and adopted is left unchanged. A
    trunk that is not adopted yet gets the secret and numbers that Kamailio has now, unless they were changed in the
    portal. Safe to run twice. Ends with 0 if every row was imported, with 1 if not, and with 2 if no row can be read.
    """
    settings = WorkerSettings()
    path = report or file.with_name(file.name + ".errors.csv")
    path.unlink(missing_ok=True)
    subscribers, vault = KamailioSubscribers(settings.registrar_url), Vault(*settings.secret_keys)
    with Report(path) as findings:
        try:
            with open_database() as database, open_trunks(file) as table, reading(file) as advance:
                run = TrunkImport(
                    database, subscribers, vault, database.now, settings.sip_domain, findings.add, advance, dry=dry_run
                )
                summary = run.run(table)
        except UnusableFile as error:
            refuse(f"{file}: {error}.", code=2)
        except GatewayError as error:
            refuse(f"The registrar's database does not answer: {error}")
    findings.say_where()
    created = f"created; their numbers: {summary.numbers:,}"
    for count, words in (
        (summary.fates[TrunkFate.CREATED], f"would be {created}" if dry_run else created),
        (summary.fates[TrunkFate.REFRESHED], "brought up to date"),
        (summary.fates[TrunkFate.UNCHANGED], "there already"),
        (summary.bad, "not taken over"),
    ):
        out.print(f"{count:>9,}  {words}", highlight=False)
    if summary.digests_only:
        out.print(
            f"{summary.digests_only:>9,}  of them without a SIP password: only its digest is known", highlight=False
        )
    if summary.bad:
        raise typer.Exit(1)


@app.command("import-forwardings")
def import_forwardings(
    file: ImportedFile,
    dry_run: DryRun = False,
    report: ReportFile = None,
) -> None:
    """Import call forwardings from a CSV or XLSX file with headings, between `trunks import` and `trunks adopt`.

    Columns: sip_user, condition (always, busy, no_answer or not_registered), target, after_seconds (only for
    no_answer), and the optional first_number, last_number and hours. Without numbers the forwarding is for all numbers
    of the account, without hours (such as Mo-Fr 18:00-08:00; Sa,Su 00:00-24:00) for the whole week. The rules
    are those of the portal. Nothing is written to the registrar before `trunks adopt`.

    Valid rows are imported even if others are not. A forwarding that exists already is left unchanged, so this is safe
    to run twice. Ends with 0 if every row was imported, with 1 if not, and with 2 if no row can be read at all.
    """
    import_rows(
        ForwardingImport,
        partial(ForwardingImport, dry=dry_run),
        file,
        report,
        "would be created" if dry_run else "created",
    )


@app.command()
def adopt(
    sip_user: Annotated[str | None, typer.Argument(metavar="SIP_USER", help="One trunk; all without it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Adopt imported trunks: from now on the portal manages them, and the registrar gets what the portal has.

    Asks first. The trunks are written to the registrar, with their numbers and settings. A trunk whose password or
    numbers were changed at the registrar since its import is listed and left as it is: import its row once more, and
    adopt it then. SIP users that the portal does not know stay: `standorte reconcile registrar --dry-run` lists them,
    and only `standorte reconcile registrar --allow-removals` removes them. Ends with 0 if every trunk was adopted, and
    with 1 if not.
    """
    settings = WorkerSettings()
    subscribers, vault = KamailioSubscribers(settings.registrar_url), Vault(*settings.secret_keys)
    refused = 0

    def refuse_trunk(sip_user: str, differing: list[str]) -> None:
        nonlocal refused
        refused += 1
        err.print(f"{sip_user}: the registrar has changed since the import: {' and '.join(differing)}", highlight=False)

    with open_database() as database:
        with database.transaction() as session:
            waiting = count_unadopted(session)
        if not yes and waiting and sip_user is None:
            question = f"Trunks that will be written to the registrar: {waiting:,}. Adopt them?"
            typer.confirm(question, abort=True, err=True)
        try:
            adopted = adopt_unchanged(database, subscribers, vault, database.now, refuse_trunk, sip_user)
        except GatewayError as error:
            refuse(f"The registrar's database does not answer: {error}")
    if sip_user is not None and not adopted and not refused:
        refuse(f"No trunk {sip_user} waits for that.")
    out.print(f"Adopted trunks: {adopted:,}; not adopted: {refused:,}.", highlight=False)
    if refused:
        raise typer.Exit(1)


@contextmanager
def _changing(sip_user: str) -> Iterator[tuple[Session, datetime]]:
    """Open a transaction for a change of the trunk with this SIP user; yield its session and the current time.

    Commit at the end of the block. Ends the command with a message if the block raises `NotFound`, `TrunkClosed`, or
    `Forbidden` for a trunk still on order.
    """
    with open_database() as database:
        try:
            with database.transaction() as session:
                yield session, database.now()
        except NotFound:
            refuse(f"There is no trunk {sip_user}.")
        except TrunkClosed:
            refuse(f"Trunk {sip_user} is closed for good.")
        except Forbidden:
            refuse(
                f"Trunk {sip_user} is still on order; `standorte requests list` shows the order, `cancel` calls it off."
            )
