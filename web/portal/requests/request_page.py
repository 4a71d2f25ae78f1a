"""The page of one request: its timeline, the next action, and what the user can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import abort, render_template
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.changes.cancellations import agreed_cancellation
from models.changes.quotes import agreed_quote
from models.people.rights import Action, may
from models.people.users import User
from models.proofs.certificates import AWAITED, numbers_with, numbers_without_certificate
from models.proofs.contact_email import corrections_left
from models.proofs.proof_status import ProofKind, ProofState, ProofStatus, proof_statuses
from models.requests.approvals import is_awaited, may_approve
from models.requests.contract_end import last_day_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.same_address import Place
from models.states import ATTACHING, ENDED, PROVING_ADDRESS, ROUTES, AccountState, Kind, Status
from models.telephony.holdings import blocks_of
from models.telephony.numbers import NumberBlock
from models.views import request_lists
from tasks.outbox.what_changes import (
    AddedNumbers,
    ChangedTerms,
    EndedTerms,
    MovedTerms,
    added_numbers,
    changed_terms,
    ended_terms,
    moved_terms,
)
from tasks.outbox.what_was_ordered import PlacedOrder, placed_order
from tasks.wording.document_refusals import refusal_text
from tasks.wording.labels import step_text
from tasks.wording.next_steps import expectation, next_actions, shown_status
from tasks.wording.reasons import reason_text
from tasks.wording.timeline import sentence
from web.portal.page.live_updates import LiveParts, render_live_parts
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.portal.proofs.forms import CodeForm, ContactAddressForm, CredentialsForm, DocumentForm
from web.resources import resources


@dataclass(frozen=True, slots=True)
class RequestPage:
    """A request with the data that its page shows to the user.

    `main` is the main account of the request. For an order, `account` is the ordered account, `order` what was ordered,
    and `numbers` its number blocks. `change` has the terms of a change, `added` those of a request for more numbers,
    `ends` what a cancellation ends, `moved` what a move changes. `place` is the address of an order, or the new one of
    a move. Each is None or empty for other kinds of requests. All but `account` and `place` are also None or empty if
    the user may no longer see the account; `ends` only until the cancellation is completed. `reached` is the account to
    whose dashboard the page links, None if it links to none. `asked` are the statuses of the proofs that the request
    needs. `may_act`: the user may give proofs, cancel and retry. `may_cancel`: the user may cancel the request now.
    `corrections` is how often the user may still correct the contact's e-mail address.

    `needed` and `enough` are about a certificate of need; both are None if the request waits for none. `needed` is the
    number of phone numbers for which the certificate has to show the need. `enough` is the number that the trunk can
    have without a further certificate; None if even a smaller block would need one.
    """

    request: Request
    main: Account | None
    account: Account | None
    order: PlacedOrder | None
    change: ChangedTerms | None
    added: AddedNumbers | None
    ends: EndedTerms | None
    moved: MovedTerms | None
    place: Place | None
    numbers: Sequence[NumberBlock]
    reached: Account | None
    timeline: Sequence[TimelineEntry]
    asked: Sequence[ProofStatus]
    may_act: bool
    may_cancel: bool
    corrections: int
    needed: int | None
    enough: int | None
    approver: User | None
    """The person who has approved or refused the request as the second one; None if nobody has."""
    may_approve: bool
    """Whether the user may approve or refuse the request now, as the second person."""


def get_request_page(session: Session, id: UUID) -> RequestPage:
    """Return the request `id` with the data that its page shows. Abort with 404 unless the user may see the request."""
    found = session.get(Request, id)
    if found is None or not concerns(session, principal(), found):
        abort(404)
    acts = may_change(session, principal(), found)
    ordered = found.account if found.kind is Kind.ORDER else None
    is_told = ordered is not None and _is_still_theirs(found, ordered)
    return RequestPage(
        found,
        # With row-level security, hidden from people to whom the account came later.
        session.get(Account, found.main_id),
        ordered,
        placed_order(session, found, locale()) if is_told else None,
        _change(session, found),
        _added(session, found),
        _ends(session, found),
        _moved(session, found),
        _place(found),
        blocks_of(session, ordered) if ordered is not None and is_told else (),
        _account_reached(found),
        request_lists.timelines(session, [found.id])[found.id],
        proof_statuses(session, [found], resources().clock())[found.id],
        acts,
        acts and found.can_cancel,
        corrections_left(session, found) if acts else 0,
        *_needed(session, found),
        session.get(User, found.approval_by) if found.approval_by is not None else None,
        is_awaited(found, resources().clock()) and may_approve(session, principal(), found),
    )


def _needed(session: Session, request: Request) -> tuple[int | None, int | None]:
    """Return how many numbers the awaited certificate of need has to cover, and how many need no further certificate.

    Both are None if no certificate is awaited or the user may not see the account. The second is None if even a smaller
    block would need a certificate.
    """
    account = request.account
    if request.reason not in AWAITED or account is None or not _is_still_theirs(request, account):
        return None, None
    return numbers_with(session, request), numbers_without_certificate(session, request)


def _change(session: Session, request: Request) -> ChangedTerms | None:
    if request.kind is not Kind.CHANGE or request.account is None or not _is_still_theirs(request, request.account):
        return None
    return changed_terms(session, agreed_quote(request), locale())


def _added(session: Session, request: Request) -> AddedNumbers | None:
    if request.kind is not Kind.NUMBERS or request.account is None or not _is_still_theirs(request, request.account):
        return None
    return added_numbers(session, request, locale())


def _moved(session: Session, request: Request) -> MovedTerms | None:
    if request.kind is not Kind.MOVE or request.account is None or not _is_still_theirs(request, request.account):
        return None
    return moved_terms(session, request)


def _place(request: Request) -> Place | None:
    # With row-level security, the account is hidden from a former main account.
    return request.place if request.kind in PROVING_ADDRESS and request.account is not None else None


def _ends(session: Session, request: Request) -> EndedTerms | None:
    if request.kind is not Kind.CANCEL:
        return None
    # While it is planned, not for a former main account; a closed account has no other reader.
    is_theirs = request.account is not None and _is_still_theirs(request, request.account)
    if request.status is not Status.COMPLETED and not is_theirs:
        return None
    return ended_terms(session, agreed_cancellation(request), last_day_of(request), locale())


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a request as its page shows it; `name` is its name in the user's language.

    `state` is `done`, `current`, `stopped` (at this step the request is held or has ended without success) or `ahead`
    (not reached yet).
    """

    name: str
    state: str


def render(
    page: RequestPage,
    *,
    code: CodeForm | None = None,
    document: DocumentForm | None = None,
    credentials: CredentialsForm | None = None,
    contact: ContactAddressForm | None = None,
) -> str:
    """Render the whole page of a request as HTML.

    A form given as an argument is shown with its input and errors. For the others the page shows an empty form, if the
    request needs that form now.
    """
    forms = (code, document, credentials, contact)
    wrong = next((form for form in forms if form is not None and form.errors), None)
    live = live_parts_of(page, code=code, document=document, credentials=credentials, contact=contact)
    return render_template("requests/request.html", page=page, live=live, wrong=wrong)


def live_parts_of(
    page: RequestPage,
    *,
    code: CodeForm | None = None,
    document: DocumentForm | None = None,
    credentials: CredentialsForm | None = None,
    contact: ContactAddressForm | None = None,
) -> LiveParts:
    """Render the changing parts of a request's page: state, forms for missing proofs, timeline, and order.

    A form given as an argument is shown with its input and errors. For the others the page shows an empty form, if the
    request needs that form now.
    """
    now = resources().clock()
    waits = page.may_act and page.request.waiting_for is not None
    letter = [asked for asked in page.asked if asked.kind is ProofKind.LETTER and asked.state is not ProofState.PROVED]
    missing = ProofState.OPEN, ProofState.DECLINED
    certificate = [asked for asked in page.asked if asked.kind is ProofKind.CERTIFICATE and asked.state in missing]
    consent = [asked for asked in page.asked if asked.kind is ProofKind.CONSENT and asked.state is ProofState.OPEN]
    reason, ended_by_us = page.request.reason, page.request.status in (Status.REJECTED, Status.FAILED)
    facts: dict[str, Any] = {
        "page": page,
        "timeline": [(entry.id, entry.at, sentence(entry, locale())) for entry in page.timeline],
        "turns": next_actions(page.request, locale(), now, page.asked),
        "expected": expectation(page.request, locale(), now, page.asked),
        "why": reason_text(reason, locale(), note=page.request.approval_note)
        if reason is not None and ended_by_us
        else None,
        "status": shown_status(page.request, locale(), now),
        "refusal_text": lambda refusal: refusal_text(refusal.reason, refusal.note, locale()),
        "steps": _steps(page.request),
        "now": now,
        "looked_at": page.request.is_looked_at(now),
        "letter_form": (code or CodeForm()) if waits and letter else None,
        "document_form": (document or DocumentForm()) if waits and (letter or certificate) else None,
        "link_code_form": (code or CodeForm()) if waits and consent else None,
        "credentials_form": (credentials or CredentialsForm()) if waits and consent else None,
        "contact_form": (contact or _contact_form(page)) if waits and page.corrections else None,
        "waits": waits,
    }
    return render_live_parts(
        "requests", ("state", "ways", "timeline", "order"), facts, ended=page.request.status in ENDED
    )


def _contact_form(page: RequestPage) -> ContactAddressForm:
    """Return the form that corrects the contact's e-mail address, filled with the present address."""
    assert page.account is not None
    return ContactAddressForm(email=page.account.contact_email)


def _is_still_theirs(request: Request, account: Account) -> bool:
    """Return whether the page of the request may show the request's account to the user.

    True for an order that is not completed, whose account has no main account yet. Otherwise it is True only if the
    user may view the account. That ends, for example, when the account is detached from the user's main account.
    """
    is_ordered = request.kind is Kind.ORDER and request.status is not Status.COMPLETED
    return is_ordered or may(principal(), Action.VIEW, account)


def _account_reached(request: Request) -> Account | None:
    """Return the account to whose dashboard the page of the request links; None if it links to none.

    None for a detach request, for a link or switch that is not completed, if the account is closed, and if the user may
    not view the account.
    """
    if request.kind is Kind.DETACH or (request.kind in ATTACHING and request.status is not Status.COMPLETED):
        return None
    account = request.account
    if account is None or account.state is AccountState.CLOSED or not _is_still_theirs(request, account):
        return None
    return account


def _steps(request: Request) -> list[Step]:
    route = ROUTES[request.kind]
    place = len(route) if request.status is Status.COMPLETED else route.index(request.step)
    here = "stopped" if request.status in ENDED or request.status is Status.HELD else "current"
    states = ["done"] * place + [here] + ["ahead"] * len(route)
    return [Step(step_text(step, locale()), state) for step, state in zip(route, states, strict=False)]
