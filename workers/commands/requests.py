"""`standorte requests …`: what the carrier's back office sees of the requests, and what it can do."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session, selectinload

from models.errors import Forbidden, IllegalTransition, NotAwaited, TooLate
from models.messages import messages_of
from models.orders import call_off
from models.people import User
from models.proofs import latest_document
from models.proving import decide_document
from models.queries import recent_requests, timelines
from models.requests import Request
from models.states import Reason, Status
from models.telephony import SipTrunk
from models.values import Locale, utc_now
from models.wording import next_action, sentence, status_text
from workers.commands.hints import hint_after_commit
from workers.commands.resources import known_account, known_locale, open_database, out, refuse, when

app = typer.Typer(no_args_is_help=True, help="Orders and link requests.")

STYLES = {
    Status.COMPLETED: "green",
    Status.HELD: "yellow",
    Status.PENDING: "yellow",
    Status.REJECTED: "red",
    Status.FAILED: "red",
    Status.CANCELLED: "dim",
}

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The request's id.")]
LanguageOption = Annotated[str, typer.Option("--lang", help="Language of the timeline: de or en.")]


@app.command("list")
def list_requests(
    status: Annotated[list[Status] | None, typer.Option(help="Only these; may be given twice.")] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Only this main account's.", metavar="NUMBER")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 50,
) -> None:
    """The requests, the newest first."""
    table = Table(box=None)
    for heading in ("id", "kind", "main", "account", "status", "step", "reason", "changed"):
        table.add_column(heading, no_wrap=heading in ("id", "account"))
    with open_database() as database, database.transaction() as session:
        main = known_account(session, account) if account else None
        for request in recent_requests(session, main=main, statuses=status or (), limit=limit):
            table.add_row(
                str(request.id),
                request.kind,
                request.main.customer_number,
                request.customer_number,
                Text(request.status, style=STYLES.get(request.status, "")),
                request.step,
                request.reason or "",
                when(request.updated_at),
            )
    out.print(table if table.row_count else "No requests.")


@app.command()
def show(request_id: IdArgument, language: LanguageOption = "de") -> None:
    """One request: where it stands, what is next, and its timeline in the customer's words."""
    locale = known_locale(language)
    with open_database() as database, database.transaction() as session:
        request = _request(session, request_id)
        out.print(Panel(Group(_facts(session, request, locale), _timeline(session, request, locale))))


@app.command()
def retry(request_id: IdArgument) -> None:
    """Try a held or failed request again, at once."""
    with open_database() as database:
        with database.transaction() as session:
            request = _request(session, request_id, lock=True)
            try:
                request.retry(utc_now())
            except IllegalTransition:
                refuse(f"Only held and failed requests can be tried again; this one is {request.status}.")
        hint_after_commit()
    out.print(f"Request {request.id} goes on with {request.step}.", highlight=False)


@app.command()
def cancel(request_id: IdArgument) -> None:
    """Call a request off for the carrier. The account that an order has reserved is closed."""
    with open_database() as database, database.transaction() as session:
        request = _request(session, request_id, lock=True)
        try:
            call_off(request, Reason.CANCELLED_BY_BACK_OFFICE, utc_now())
        except TooLate:
            refuse(f"Too late: the request is {request.status}, step {request.step}, or in a worker's hands.")
    out.print(f"Request {request.id} is cancelled.", highlight=False)


@app.command("release-address")
def release_address(
    request_id: IdArgument,
    by: Annotated[str, typer.Option(help="Who has looked at the document: somebody of the staff.", metavar="EMAIL")],
    refuse_it: Annotated[bool, typer.Option("--refuse", help="The document proves nothing.")] = False,
) -> None:
    """Accept the document that was handed in as address proof, or refuse it. `requests document` shows it."""
    with open_database() as database:
        with database.transaction() as session:
            request = _request(session, request_id, lock=True)
            try:
                decide_document(session, _staff(session, by), request, release=not refuse_it, now=utc_now())
            except NotAwaited:
                refuse("No document waits to be looked at.")
            except Forbidden:
                refuse(f"{by} does not belong to the staff.")
        hint_after_commit()
    done = "refused" if refuse_it else "released"
    out.print(f"The document of request {request.id} is {done}.", highlight=False)


@app.command()
def document(
    request_id: IdArgument,
    file: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where to put it.", metavar="FILE")],
) -> None:
    """Write the document that was handed in as address proof to a file; the last one, if there were several."""
    with open_database() as database, database.transaction() as session:
        found = latest_document(session, _request(session, request_id))
        if found is None:
            refuse("No document was handed in.")
        file.write_bytes(found.content)
        what = f"{found.name} ({found.media_type}), handed in {when(found.uploaded_at)}, is now in {file}"
    out.print(what, highlight=False, markup=False, soft_wrap=True)


def _staff(session: Session, email: str) -> User:
    user = session.scalar(sa.select(User).where(User.email == email.strip().lower()))
    if user is None:
        refuse(f"There is no user {email}.")
    return user


def _request(session: Session, typed: str, *, lock: bool = False) -> Request:
    try:
        query = sa.select(Request).where(Request.id == uuid.UUID(typed))
    except ValueError:
        refuse(f"{typed!r} is not a request's id; `standorte requests list` shows them.")
    if lock:
        query = query.with_for_update()
    request = session.scalar(
        query.options(
            selectinload(Request.main),
            selectinload(Request.account),
            selectinload(Request.requester),
            selectinload(Request.trunk).selectinload(SipTrunk.blocks),
        )
    )
    if request is None:
        refuse(f"There is no request {typed}.")
    return request


def _facts(session: Session, request: Request, locale: Locale) -> Table:
    facts = Table(box=None, show_header=False, padding=(0, 1))
    facts.add_column(style="dim")
    status = Text(status_text(request.status, locale), style=STYLES.get(request.status, "bold"))
    facts.add_row("request", f"{request.kind} {request.id}")
    facts.add_row("status", status + Text(f" ({request.status}), step {request.step}"))
    if request.reason:
        facts.add_row("reason", request.reason)
    facts.add_row("account", f"{request.customer_number} under {request.main.customer_number}")
    facts.add_row("asked for by", _who(request.requester))
    if request.trunk is not None:
        numbers = ", ".join(block.display for block in request.trunk.blocks)
        facts.add_row("trunk", f"{request.trunk.sip_user}, {request.trunk.channels} channels, {numbers}")
    if request.attempts:
        facts.add_row("attempts", str(request.attempts))
    if request.due_at:
        facts.add_row("due", when(request.due_at) + (", in a worker's hands" if request.lease else ""))
    following = next_action(request, locale)
    if following is not None:
        until = f" (until {when(following.until)})" if following.until else ""
        facts.add_row("next", f"{following.actor}: {following.what}{until}")
    for message in messages_of(session, [request.id]):
        facts.add_row("mail", f"{message.template} to {message.recipient_address}: {message.state}")
    return facts


def _timeline(session: Session, request: Request, locale: Locale) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), title="", title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    for entry in timelines(session, [request.id])[request.id]:
        table.add_row(when(entry.at, "%d.%m.%Y %H:%M:%S"), sentence(entry, locale))
    return table


def _who(user: User | None) -> str:
    return f"{user.name} <{user.email}>" if user is not None else "reconciliation"
