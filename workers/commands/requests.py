"""`standorte requests …`: show, retry and cancel requests, and decide on address documents, for the carrier's staff."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import sqlalchemy as sa
import typer
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

from models.emails import stored_spellings
from models.errors import Forbidden, IllegalTransition, NotAwaited, NotFound, TooLate
from models.orders.orders import cancel_and_release
from models.people.rights import Principal
from models.people.users import User, principal_of
from models.proofs.document_refusals import MOST_NOTE, Refusal, refusal_reasons
from models.proofs.documents import latest_document
from models.requests.requests import Request
from models.staff.request_actions import decide_on_document
from models.states import Reason, RefusalReason, Status
from models.values import Locale
from models.views.back_office import RequestDetails, request_details
from models.views.request_lists import recent_requests
from tasks.wording.labels import status_text
from tasks.wording.next_steps import next_action
from tasks.wording.timeline import sentence
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
    """List requests of all kinds (orders, links, changes and others), the newest first."""
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
    """Show one request: its status, who has to act next and how, its mails, and its timeline as customers see it."""
    locale = known_locale(language)
    with open_database() as database, database.transaction() as session:
        now = database.now()
        whole = request_details(session, _id(request_id), now)
        if whole is None:
            _refuse_unknown(request_id)
        out.print(Panel(Group(_facts(whole, locale, now), _timeline(whole, locale))))


@app.command()
def retry(request_id: IdArgument) -> None:
    """Retry a held or failed request now, from the step at which the request stopped. Refused for any other status."""
    with open_database() as database, database.transaction() as session:
        request = _request(session, request_id, lock=True)
        try:
            request.retry(database.now())
        except IllegalTransition:
            refuse(f"Only held and failed requests can be tried again; this one is {request.status}.")
    out.print(f"Request {request.id} goes on with {request.step}.", highlight=False)


@app.command()
def cancel(request_id: IdArgument) -> None:
    """Cancel a request on the carrier's behalf; for an order, also close the account that was reserved for it.

    Refused if a worker is processing the request, if it has ended (unless it has failed), if the account is being
    attached or detached, or if the trunk of an order exists already (unless the order has failed).
    """
    with open_database() as database, database.transaction() as session:
        request = _request(session, request_id, lock=True)
        try:
            cancel_and_release(request, Reason.CANCELLED_BY_BACK_OFFICE, database.now())
        except TooLate:
            refuse(f"Too late: the request is {request.status}, step {request.step}, or in a worker's hands.")
    out.print(f"Request {request.id} is cancelled.", highlight=False)


@app.command("release-address")
def release_address(
    request_id: IdArgument,
    by: Annotated[str, typer.Option(help="Who has looked at the document: somebody of the staff.", metavar="EMAIL")],
    refuse_it: Annotated[bool, typer.Option("--refuse", help="The document proves nothing.")] = False,
    reason: Annotated[
        RefusalReason | None, typer.Option(help="With --refuse: why; the customer reads it.", show_default=False)
    ] = None,
    note: Annotated[str, typer.Option(help="With --refuse: a note to the customer.")] = "",
) -> None:
    """Accept, or with --refuse refuse, the document uploaded as address proof of an order or as certificate of need.

    The decision is recorded in the name of the member of staff that --by names. `requests document` writes the document
    to a file.
    """
    id = _id(request_id)
    if refuse_it and reason is RefusalReason.OTHER and not note.strip():
        refuse("Say with --note why the document is refused.")
    with open_database() as database, database.transaction() as session:
        refusal = _refusal(_request(session, request_id), reason, note) if refuse_it else None
        try:
            decide_on_document(session, _staff(session, by), id, None, database.now(), refusal=refusal)
        except NotFound:
            _refuse_unknown(request_id)
        except NotAwaited:
            refuse("No document waits to be looked at.")
        except Forbidden:
            refuse(f"{by} does not belong to the staff.")
    done = "refused" if refuse_it else "released"
    out.print(f"The document of request {id} is {done}.", highlight=False)


def _refusal(request: Request, reason: RefusalReason | None, note: str) -> Refusal:
    """Return the refusal of the request's document, with a reason and the staff's note to the customer.

    `reason` None stands for: the document does not show what it is to prove. Ends the command with a message if the
    reason is not possible for this kind of document.
    """
    possible = refusal_reasons(request)
    if reason is None:
        reason = next(one for one in possible if one in (RefusalReason.DOES_NOT_SHOW, RefusalReason.NO_NEED))
    if reason not in possible:
        refuse(f"That is no reason here. Say one of: {', '.join(possible)}.")
    return Refusal(reason, note.strip()[:MOST_NOTE])


@app.command()
def document(
    request_id: IdArgument,
    file: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where to put it.", metavar="FILE")],
) -> None:
    """Write the document uploaded as address proof of an order, or as certificate of need, to a file.

    If several documents were uploaded, the latest is written.
    """
    with open_database() as database, database.transaction() as session:
        found = latest_document(session, _request(session, request_id))
        if found is None:
            refuse("No document was handed in.")
        file.write_bytes(found.content)
        what = f"{found.name} ({found.media_type}), handed in {when(found.uploaded_at)}, is now in {file}"
    out.print(what, highlight=False, markup=False, soft_wrap=True)


def _staff(session: Session, email: str) -> Principal:
    user = session.scalar(sa.select(User).where(User.email.in_(stored_spellings(email))))
    if user is None:
        refuse(f"There is no user {email}.")
    if user.disabled_at is not None:
        refuse(f"{email} is disabled: nothing is done in this name.")
    return principal_of(session, user)


def _id(typed: str) -> uuid.UUID:
    try:
        return uuid.UUID(typed)
    except ValueError:
        refuse(f"{typed!r} is not a request's id; `standorte requests list` shows them.")


def _request(session: Session, typed: str, *, lock: bool = False) -> Request:
    request = session.get(Request, _id(typed), with_for_update=lock)
    if request is None:
        _refuse_unknown(typed)
    return request


def _refuse_unknown(typed: str) -> NoReturn:
    refuse(f"There is no request {typed}.")


def _facts(whole: RequestDetails, locale: Locale, now: datetime) -> Table:
    request = whole.request
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
    following = next_action(request, locale, now)
    if following is not None:
        until = f" (until {when(following.until)})" if following.until else ""
        facts.add_row("next", f"{following.actor}: {following.what}{until}")
    for message in whole.messages:
        facts.add_row("mail", f"{message.template} to {message.recipient_address}: {message.state}")
    return facts


def _timeline(whole: RequestDetails, locale: Locale) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), title="", title_justify="left")
    table.add_column(style="dim", no_wrap=True)
    for entry in whole.timeline:
        table.add_row(when(entry.at, "%d.%m.%Y %H:%M:%S"), sentence(entry, locale))
    return table


def _who(user: User | None) -> str:
    return f"{user.name} <{user.email}>" if user is not None else "reconciliation"
