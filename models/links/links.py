"""Link and detach requests: attaching an existing account to a main account, and detaching a sub-account.

An outsider who tries customer numbers and logins learns nothing. It makes no difference whether the customer number
does not exist, belongs to another company, or the login is wrong. In each case the same statements run, one password is
verified, the response is a 202, and the request is later rejected for the same reason.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import (
    Account,
    account_by_number,
)
from models.accounts.company_limits import USUAL_LIMITS, Limit, Limits, lock_limits, take_one
from models.accounts.hierarchy import ensure_may_be_main
from models.accounts.locks import lock_account
from models.calendar_days import berlin_day
from models.db.advisory_locks import take_advisory_lock
from models.errors import AlreadyRequested, Forbidden, InvalidField, RuleBroken, TooEarly
from models.links.collective_invoices import is_billed_together
from models.links.planned_detach import ensure_no_change_is_lost, give_way, running_detach
from models.people.audit_log import AuditEvent, record
from models.people.invitations import ensure_administered
from models.people.repeated_deeds import ensure_not_repeated
from models.people.rights import Action, Principal, may
from models.people.users import User, principal_of
from models.proofs.deadlines import MOST_ISSUES
from models.proofs.ownership import Credentials, ownership_by
from models.proofs.proofs import OwnershipProof
from models.requests.contract_end import ensure_before_end
from models.requests.detach_mails import tell_of_plan
from models.requests.effective_days import day_to_wait_for
from models.requests.new_requests import create_account_request, create_request
from models.requests.receipts import queue_receipt
from models.requests.request_rights import acts_for
from models.requests.requests import Request
from models.states import ATTACHING, ENDED, Kind, ProofMethod, Reason
from models.values import Locale
from models.vault import Vault

ASKED_WITHIN = timedelta(days=1)
MOST_WRONG_CODES = 50
"""The greatest number of wrong link codes that a main account may use in 24 hours.

After that, further rows of its files with a link code are refused.
"""
MOST_OPEN_QUESTIONS = 1000
"""The greatest number of a main account's running requests for consent. Rows of its files that would add more wait."""


@dataclass(frozen=True, slots=True)
class LinkDraft:
    """A link request as it was typed: to attach the account with `customer_number`, with a proof by `method`.

    `means` is what the method needs: credentials, or a link code as a text; None if the method needs neither. `kind` is
    `LINK`, or `SWITCH` if the account may belong to another main account, which then has to consent, too.
    """

    customer_number: str
    method: ProofMethod
    means: Credentials | str | None
    locale: Locale
    kind: Kind = Kind.LINK


def submit_link(
    session: Session,
    vault: Vault,
    principal: Principal,
    main: Account,
    draft: LinkDraft,
    now: datetime,
    bulk_id: uuid.UUID | None = None,
    usual: Limits = USUAL_LIMITS,
) -> Request:
    """Create a request (a link or a switch) to attach an account to `main`; return the request.

    If the credentials or the link code in the draft are right, an ownership proof is saved with the request. If they
    are wrong, the request is created without a proof, and nothing is raised. `bulk_id` is the bulk (the uploaded file
    of requests) that the draft comes from; without one, a receipt to the person is queued. If the person uses an API
    token, the method "administers both accounts" is replaced by consent. `usual` are the limits of companies without
    limits of their own. Holds the lock on the company's limits until the transaction ends.

    Raises `Forbidden` if the person may not link accounts to `main`, `RuleBroken` if `main` is closed or a sub-account,
    `InvalidField` if the customer number is that of `main`, and `AlreadyRequested` if a link or switch between the two
    accounts is running. For a request that needs consent or is a switch, raises `TooEarly` if `main` has made five such
    requests for the account within a day, and `LimitReached` if the company's limit of today is used up; cancelled
    requests count, too.
    """
    if not may(principal, Action.LINK, main):
        raise Forbidden
    ensure_may_be_main(main)
    if draft.customer_number == main.customer_number:
        raise InvalidField("customer_number", "own_account")
    # Before the lock on the pair of accounts: a file's rows have the limits' lock when they come to their next pair.
    lock_limits(session, main.id)
    ensure_not_running(session, main, draft.customer_number)
    method = draft.method
    if method is ProofMethod.ADMINISTERS_BOTH and principal.token_id is not None:
        # A token speaks for its account alone: its person is asked, in the portal or by mail.
        method = ProofMethod.CONSENT
    # A switch asks its present main account, however its ownership is proved.
    if method is ProofMethod.CONSENT or draft.kind is Kind.SWITCH:
        _ensure_not_pestering(session, main, draft.customer_number, now)
        take_one(session, main.id, Limit.CONSENTS, now, usual)
    proof = ownership_by(session, vault, draft.customer_number, draft.means, now) if draft.means else None
    request = create_request(
        session,
        Request(
            kind=draft.kind,
            main_id=main.id,
            customer_number=draft.customer_number,
            requested_by=principal.user_id,
            token_id=principal.token_id,
            locale=draft.locale,
            asked_proof=method,
            bulk_id=bulk_id,
        ),
        now,
    )
    request.note(
        now,
        "switch_received" if draft.kind is Kind.SWITCH else "link_received",
        customer_number=draft.customer_number,
    )
    if bulk_id is None:
        queue_receipt(session, request, principal, "link_receipt", now)
    if proof is not None:
        proof.request_id = request.id
        session.add(proof)
    session.flush()
    return request


def _ensure_not_pestering(session: Session, main: Account, customer_number: str, now: datetime) -> None:
    """Raise `TooEarly` if `main` has made five requests for consent or a switch for the customer number within a day.

    Customer numbers without an account count, too, so that an outsider sees no difference.
    """
    asked = session.scalars(
        sa.select(Request.created_at)
        .where(
            Request.main_id == main.id,
            Request.customer_number == customer_number,
            sa.or_(Request.asked_proof == ProofMethod.CONSENT, Request.kind == Kind.SWITCH),
            Request.created_at > now - ASKED_WITHIN,
        )
        .order_by(Request.created_at.desc())
        .limit(MOST_ISSUES)
    ).all()
    if len(asked) == MOST_ISSUES:
        raise TooEarly(asked[-1] + ASKED_WITHIN)


def wrong_codes(session: Session, main: Account, now: datetime) -> int:
    """Return how many link requests with a wrong link code `main` has made in the 24 hours before `now`.

    A request for which an ownership proof was recorded later does not count.
    """
    proved = sa.select(OwnershipProof).where(OwnershipProof.request_id == Request.id).exists()
    tried = _asked_by(main).where(
        Request.asked_proof == ProofMethod.LINK_CODE, Request.created_at > now - ASKED_WITHIN, ~proved
    )
    return session.scalar(tried) or 0


def open_questions(session: Session, main: Account) -> int:
    """Return how many running links and switches of `main` ask for consent as the ownership proof."""
    waiting = _asked_by(main).where(Request.asked_proof == ProofMethod.CONSENT, Request.status.not_in(ENDED))
    return session.scalar(waiting) or 0


def _asked_by(main: Account) -> sa.Select[int]:
    return sa.select(sa.func.count()).where(Request.main_id == main.id, Request.kind.in_(ATTACHING))


def find_proof(session: Session, request: Request, now: datetime) -> OwnershipProof | None:
    """Return the proof that the requester of a link request may attach the account; None if there is none yet.

    A proof that was recorded earlier is always returned. Without one, a proof is added to the session and returned if
    the requester administers both the main account and the account to be attached, and did not use an API token.
    """
    proof = session.get(OwnershipProof, request.id)
    # A token reaches its account, not what else its person administers.
    if request.requested_by is None or request.token_id is not None:
        return proof
    account = account_by_number(session, request.customer_number)
    requester = principal_of(session, session.get_one(User, request.requested_by))
    main = session.get_one(Account, request.main_id)
    if proof is not None or account is None:
        return proof
    if not (may(requester, Action.PROVE_OWNERSHIP, account) and may(requester, Action.PROVE_OWNERSHIP, main)):
        return None
    proof = OwnershipProof(
        request_id=request.id,
        account_id=account.id,
        method=ProofMethod.ADMINISTERS_BOTH,
        proved_by=requester.user_id,
        proved_at=now,
    )
    session.add(proof)
    return proof


def submit_detach(
    session: Session,
    principal: Principal,
    account: Account,
    locale: Locale,
    now: datetime,
    effective_on: date | None = None,
    *,
    bulk_id: uuid.UUID | None = None,
) -> Request:
    """Save a request to detach a sub-account from its main account, log it, and return it.

    `effective_on` is the day in Berlin with whose start the account is detached; None, or today, means at once. Two
    sides can plan a detachment: the people of the sub-account and those of the main account. A detach request that is
    planned for another day is cancelled and replaced. If the other side had made it, it is restored should the new
    request end without success. For a planned day, mails to the administrators of both accounts are queued. `bulk_id`
    is the bulk (the uploaded file) to which the request belongs, None if there is none; then only the account's own
    administrators get a mail. Locks the account.

    Raises `Forbidden` if the person may not detach the account, `NotFound` if it was detached meanwhile, `RuleBroken`
    if it is not a sub-account, is on a collective invoice of its main account or has no administrator of its own, and
    `AlreadyRequested` if a request to detach it on the same day or at once is running.

    Raises `InvalidField` if the day is over, more than 366 days away, or later than the day that the other side has
    planned; if people who would lose access to the account have planned a change of its contract; or if its contracts
    are cancelled and end before that day. Raises `TooEarly` if the person has requested to detach the account ten times
    within a day.
    """
    lock_account(session, account)
    main = _main_to_leave(session, principal, account)
    day = day_to_wait_for(effective_on, now)
    planned = running_detach(session, account, lock=True)
    displaced_id = give_way(session, principal, planned, day, now) if planned is not None else None
    _ensure_can_leave(session, account, day, now)
    ensure_not_repeated(session, principal, account, AuditEvent.DETACH_ASKED, now)
    request = create_account_request(
        session,
        principal,
        account,
        Kind.DETACH,
        locale,
        now,
        by_sub_account=not acts_for(principal, main.id),
        displaced_id=displaced_id,
        bulk_id=bulk_id,
        effective_on=day,
    )
    if day is None:
        request.note(now, "detach_received", customer_number=account.customer_number)
    else:
        request.note(now, "detach_scheduled", customer_number=account.customer_number, day=day.isoformat())
        tell_of_plan(session, request, "detach_planned", now, principal.name, is_in_file=bulk_id is not None)
    facts = {"main": main.customer_number} | ({"day": day.isoformat()} if day is not None else {})
    record(session, principal, account, AuditEvent.DETACH_ASKED, Action.DETACH, now, facts)
    session.flush()
    return request


def ensure_detachable(
    session: Session, principal: Principal, account: Account, effective_on: date | None, now: datetime
) -> date | None:
    """Return the day for which the account could be planned to be detached, None for at once; save nothing.

    Raises `AlreadyRequested` if it is to be detached already, on whatever day, and else whatever `submit_detach` raises
    but `TooEarly`.
    """
    _main_to_leave(session, principal, account)
    day = day_to_wait_for(effective_on, now)
    running = running_detach(session, account)
    if running is not None:
        raise AlreadyRequested(str(running.id))
    _ensure_can_leave(session, account, day, now)
    return day


def _main_to_leave(session: Session, principal: Principal, account: Account) -> Account:
    if not may(principal, Action.DETACH, account):
        raise Forbidden
    if account.main_id is None:
        raise RuleBroken(Reason.NOT_ATTACHED, account.customer_number)
    if is_billed_together(session, account):
        raise RuleBroken(Reason.BILLED_TOGETHER, account.customer_number)
    return session.get_one(Account, account.main_id)


def _ensure_can_leave(session: Session, account: Account, day: date | None, now: datetime) -> None:
    ensure_administered(session, account, now)
    ensure_before_end(session, account.id, day or berlin_day(now))
    ensure_no_change_is_lost(session, account, day, now)


def ensure_not_running(session: Session, main: Account, customer_number: str) -> None:
    """Raise `AlreadyRequested` if a link or switch by `main` for the customer number is running.

    Takes an advisory lock until the transaction ends, so that two transactions cannot both create such a request.
    """
    # There is no row yet that could be locked, nor need there be such an account.
    take_advisory_lock(session, f"link {main.id} {customer_number}")
    running = session.scalar(
        sa.select(Request.id).where(
            Request.kind.in_(ATTACHING),
            Request.main_id == main.id,
            Request.customer_number == customer_number,
            Request.status.not_in(ENDED),
        )
    )
    if running is not None:
        raise AlreadyRequested(str(running))
