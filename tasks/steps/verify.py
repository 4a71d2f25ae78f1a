"""The step `verify`: check a request against the business rules, and wait for the proofs that it needs.

A link needs a proof of ownership; a switch also needs the consent of the present main account; an order needs proofs of
the contact's e-mail address and of the connection address; more than 100 numbers of a trunk need a certificate of need.
Orders and changes above a sum that the company has set first need the approval of a second person of the company.
A move needs a proof of its new address. Detaching, a change of a contract, more numbers, a move and a cancellation wait
here for the day for which they were requested.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import promote
from models.accounts.locks import lock_accounts
from models.calendar_days import end_of_day
from models.changes.cancellations import change_before, ensure_can_end
from models.changes.changes import earlier_change, ensure_asked_from_within, ensure_changeable
from models.changes.making_moves import ensure_movable
from models.errors import AlreadyAttached, CannotClose, NoNumbersAvailable, RuleBroken
from models.links.collective_invoices import is_billed_together
from models.links.links import find_proof
from models.links.switches import ensure_may_switch
from models.orders.area_code_of_address import confirm_or_ask
from models.orders.baskets import ordered_basket
from models.people.audit_log import AuditEvent
from models.people.invitations import ensure_administered
from models.proofs.certificates import needs_certificate
from models.proofs.deadlines import CERTIFICATE_REMINDED_BEFORE, VALID_FOR
from models.proofs.main_consents import open_main_consent
from models.proofs.proofs import (
    AddressProof,
    CodedProof,
    Consent,
    Decision,
    EmailProof,
    MainConsent,
)
from models.proofs.required_proofs import is_proved_by_company, opened_proofs
from models.proofs.shared_proofs import another_has_address, another_has_contact
from models.requests.approvals import AWAITING
from models.requests.moved_blocks import reserve_replacements
from models.requests.requests import Request
from models.requests.reserved_numbers import reserve_numbers
from models.states import Actor, Kind, ProofMethod, Reason, Status
from tasks.steps.approval import wait_for_approval
from tasks.steps.proof_mails import (
    ask_for_address,
    ask_for_consent,
    ask_for_email,
    ask_main_for_consent,
    ask_main_newcomers,
    ask_newcomers,
    remind_of_certificate,
)
from tasks.steps.step import IN_USE, NO_NUMBERS, Hold, Outcome, Postpone, Wait, Work

TIME_TO_REVIEW = timedelta(days=3)
LOOK_FOR_EARLIER = timedelta(seconds=2)
"""How long a change waits before it checks again whether an earlier change of the same trunk is done."""
LOOK_FOR_ANSWER = timedelta(hours=1)
"""How long a request waits before it checks again whether staff have answered about its area code.

Usually the answer makes the request due earlier.
"""


def verify(work: Work, request: Request) -> Outcome:
    """Check the request against the business rules, and ask people for the proofs that it needs.

    Returns None if the request may go on. Returns a wait while a proof is missing or the contact's e-mail address has
    to be corrected, and a postponement until the day for which the request was made. Returns a hold if the number pool
    is empty, if an account to be closed acts as a main account, or until staff confirm that the area code fits the
    address. Raises `RuleBroken` if a rule is broken or the time for a proof is over. Safe to run twice: a proof is
    requested once, with reminders at their times.
    """
    match request.kind:
        case Kind.ORDER:
            return _verify_order(work, request)
        case Kind.LINK:
            return _verify_link(work, request)
        case Kind.SWITCH:
            return _verify_switch(work, request)
        case Kind.DETACH:
            return _verify_detach(work, request)
        case Kind.CHANGE:
            return _verify_change(work, request)
        case Kind.NUMBERS:
            return _verify_numbers(work, request)
        case Kind.MOVE:
            return _verify_move(work, request)
        case Kind.CANCEL:
            return _verify_cancellation(work, request)


def _verify_order(work: Work, request: Request) -> Outcome:
    assert request.area_code is not None and request.block_size is not None
    assert request.account is not None
    ordered_basket(work.session, request)
    place = request.account
    # First of all: nobody outside the company is asked about what the company may not want.
    if (wait := wait_for_approval(work, request)) is not None:
        return wait
    # Asked before the proofs, which take days, and needed after them.
    may_have_numbers = confirm_or_ask(work.session, place.postal_code, place.city, request.area_code, work.now)
    # Both proofs are requested at the same time: a letter takes days.
    proofs = opened_proofs(work.book, request, request.requester, work.now)
    waits = []
    if proofs.email is not None and proofs.awaits_email:
        waits.append(_wait_for_email(work, request, proofs.email))
    if proofs.address is not None and proofs.awaits_address:
        waits.append(_wait_for_address(work, request, proofs.address))
    if waits:
        return replace(waits[0], again_at=min(wait.again_at for wait in waits))
    if not may_have_numbers:
        return Hold(Reason.AREA_CODE_UNCONFIRMED, LOOK_FOR_ANSWER)
    # Made a main account here, so that no link request can attach it while its order is provisioned.
    promote(work.session, request.main_id)
    if not work.pool.has(request.area_code, request.block_size):
        return NO_NUMBERS
    request.note(work.now, "order_verified")
    return None


def _wait_for_email(work: Work, request: Request, proof: EmailProof) -> Wait:
    _end_or_renew(work, request, proof, another_has_contact)
    if proof.refused_at is not None:
        return Wait(Actor.REQUESTER, Reason.CONTACT_REFUSED, proof.expires_at, proof.wakes_at())
    if proof.start_sending(work.now):
        ask_for_email(work, request, proof)
    return Wait(Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED, proof.expires_at, proof.wakes_at())


def _wait_for_address(work: Work, request: Request, proof: AddressProof) -> Wait:
    if work.book.document(request) is not None:
        # The back office has to act: the customer's deadline does not run.
        until = _review_until(work, request, Reason.DOCUMENT_IN_REVIEW)
        proof.expires_at = max(proof.expires_at, until)
        return Wait(Actor.CARRIER, Reason.DOCUMENT_IN_REVIEW, until, until)
    _end_or_renew(work, request, proof, another_has_address)
    if proof.start_sending(work.now):
        ask_for_address(work, request, proof)
    return Wait(Actor.CONTACT, Reason.ADDRESS_NOT_PROVED, proof.expires_at, proof.wakes_at())


def _verify_link(work: Work, request: Request) -> Outcome:
    proof = find_proof(work.session, request, work.now)
    if proof is None:
        return _wait_for_owner(work, request)
    request.account = work.session.get_one(Account, proof.account_id)
    request.note(work.now, f"proved_{proof.method}")
    return None


def _verify_switch(work: Work, request: Request) -> Outcome:
    """Wait for the proof of ownership, then for the consent of the account's present main account, if it has one.

    Until ownership is proved, the result does not reveal whether the account has a main account. If it has none by the
    time that ownership is proved, no consent is needed, and the account is attached as by a link.
    """
    proof = find_proof(work.session, request, work.now)
    if proof is None:
        return _wait_for_owner(work, request)
    account = work.session.get_one(Account, proof.account_id)
    # Locked, so that nobody detaches it between the question and the answer's consequences.
    lock_accounts(work.session, [account.id])
    consent = work.session.get(MainConsent, request.id)
    if consent is None:
        request.note(work.now, f"proved_{proof.method}")
    if account.main_id is not None:
        ensure_may_switch(work.session, request, account)
        consent = consent or open_main_consent(work.session, request, account, work.now)
        if (wait := _wait_for_main(work, request, account, consent)) is not None:
            return wait
        request.note(work.now, "main_consented")
    # Only now: who asks sees nothing of the account before both have agreed.
    request.account = account
    return None


def _wait_for_main(work: Work, request: Request, account: Account, consent: MainConsent) -> Wait | None:
    """Return the wait for the answer of the account's present main account; None if that account has agreed.

    Queues the mails that ask for the answer when they are due. Raises `AlreadyAttached` if a different main account was
    asked, and `RuleBroken` if the main account has declined or has not answered in time.
    """
    if consent.main_id != account.main_id:
        raise AlreadyAttached(account.customer_number)
    if consent.decision is Decision.ACCEPTED:
        return None
    if consent.decision is Decision.DECLINED:
        raise RuleBroken(Reason.DECLINED_BY_MAIN)
    if work.now >= consent.expires_at:
        raise RuleBroken(Reason.PROOF_EXPIRED)
    if consent.start_sending(work.now):
        ask_main_for_consent(work, request, account, consent)
    else:
        ask_main_newcomers(work, request, account, consent)
    return Wait(Actor.OTHER_ACCOUNT, Reason.MAIN_CONSENT_AWAITED, consent.expires_at, consent.wakes_at())


def _wait_for_owner(work: Work, request: Request) -> Wait:
    """Return the wait for the consent of the account's administrators, and queue the mails that ask for it.

    Raises `RuleBroken` if they have declined or not answered in time, or if the requester has chosen another kind of
    proof, which was not given.
    """
    consent = _consent(work, request)
    if consent is None:
        raise RuleBroken(Reason.OWNERSHIP_NOT_PROVEN)
    return _wait_for_consent(work, request, consent)


def _consent(work: Work, request: Request) -> Consent | None:
    if request.asked_proof is not ProofMethod.CONSENT:
        return None
    consent = work.session.get(Consent, request.id)
    if consent is None:
        consent = Consent(request_id=request.id, issue=1, sent_issue=0)
        consent.ask(work.now)
        work.session.add(consent)
    return consent


def _wait_for_consent(work: Work, request: Request, consent: Consent) -> Wait:
    if consent.decision is Decision.DECLINED:
        raise RuleBroken(Reason.DECLINED_BY_OWNER)
    if work.now >= consent.expires_at:
        raise RuleBroken(Reason.PROOF_EXPIRED)
    if consent.start_sending(work.now):
        ask_for_consent(work, request, consent)
    else:
        ask_newcomers(work, request, consent)
    return Wait(Actor.OTHER_ACCOUNT, Reason.CONSENT_AWAITED, consent.expires_at, consent.wakes_at())


def _verify_detach(work: Work, request: Request) -> Outcome:
    account = request.account
    assert account is not None
    if account.main_id != request.main_id:
        raise RuleBroken(Reason.NOT_ATTACHED)
    if is_billed_together(work.session, account) and request.requested_by is not None:
        raise RuleBroken(Reason.BILLED_TOGETHER)
    if (early := _too_early(work, request)) is not None:
        return early
    ensure_administered(work.session, account, work.now)
    return None


def _verify_change(work: Work, request: Request) -> Outcome:
    ensure_changeable(work.session, request)
    if (wait := wait_for_approval(work, request)) is not None:
        return wait
    if (early := _too_early(work, request)) is not None:
        return early
    # After days without workers, several are due at once.
    if earlier_change(work.session, request) is not None:
        return Postpone(work.now + LOOK_FOR_EARLIER)
    return None


def _verify_numbers(work: Work, request: Request) -> Outcome:
    ensure_changeable(work.session, request)
    if request.reserved_block_id is None:
        ensure_asked_from_within(work.session, request, AuditEvent.NUMBERS_ASKED)
    account = request.account
    assert account is not None and request.area_code is not None
    confirmed = confirm_or_ask(work.session, account.postal_code, account.city, request.area_code, work.now)
    if (wait := wait_for_approval(work, request)) is not None:
        if confirmed and not needs_certificate(work.session, request):
            # While the pool has none, the approval goes first.
            with suppress(NoNumbersAvailable):
                reserve_numbers(work.pool, request, work.now)
        return wait
    # The customer can hand it in while the back office answers.
    if (wait := _wait_for_certificate(work, request)) is not None:
        return wait
    if not confirmed:
        return Hold(Reason.AREA_CODE_UNCONFIRMED, LOOK_FOR_ANSWER)
    try:
        # At once, however late the day is: until then nobody else gets the block.
        reserve_numbers(work.pool, request, work.now)
    except NoNumbersAvailable:
        return NO_NUMBERS
    return _too_early(work, request)


def _verify_move(work: Work, request: Request) -> Outcome:
    """Reserve the new numbers, and wait for the proof of the new address, for staff, and for the day.

    An address that was proved once stays proved for this move, also if the account gets another main account.
    """
    codes, place = ensure_movable(work.session, request), request.place
    answers = [confirm_or_ask(work.session, place.postal_code, place.city, code, work.now) for code in codes]
    wait = _wait_for_new_address(work, request)
    # Also while the proof is missing, so that nobody else gets them.
    in_stock = _reserve_replacements(work, request)
    if wait is not None:
        return wait
    if request.address_proved_at is None:
        request.address_proved_at = work.now
        request.note(work.now, "address_proved")
    if not all(answers):
        return Hold(Reason.AREA_CODE_UNCONFIRMED, LOOK_FOR_ANSWER)
    return _too_early(work, request) if in_stock else NO_NUMBERS


def _wait_for_new_address(work: Work, request: Request) -> Wait | None:
    """Return the wait for the proof of a move's new address; None if the address is proved, also by an older order."""
    if request.address_proved_at is not None or is_proved_by_company(work.session, request):
        return None
    proofs = opened_proofs(work.book, request, request.requester, work.now)
    if proofs.address is None or not proofs.awaits_address:
        return None
    return _wait_for_address(work, request, proofs.address)


def _reserve_replacements(work: Work, request: Request) -> bool:
    """Reserve the new numbers of a move; return False if the pool has too few."""
    if request.area_code is None:
        return True
    try:
        reserve_replacements(work.session, work.pool, request, work.now)
    except NoNumbersAvailable:
        return False
    return True


def _wait_for_certificate(work: Work, request: Request) -> Wait | None:
    """Return the wait for a certificate of need, or for the back office that looks at one; None if none is needed.

    The time to hand it in begins when it is asked for. Reminds 7 and 2 days before its end. Raises `RuleBroken` if that
    time is over. A request that has reserved its numbers needs none any more.
    """
    if request.reserved_block_id is not None or not needs_certificate(work.session, request):
        return None
    request.need_until = until = request.need_until or end_of_day(work.now + VALID_FOR)
    if work.book.document(request) is not None:
        review = _review_until(work, request, Reason.CERTIFICATE_IN_REVIEW)
        request.need_until = max(until, review)
        return Wait(Actor.CARRIER, Reason.CERTIFICATE_IN_REVIEW, review, review)
    if work.now >= until:
        raise RuleBroken(Reason.PROOF_EXPIRED)
    ahead = [until - before for before in CERTIFICATE_REMINDED_BEFORE if work.now < until - before]
    # Not at once after a refusal, whose mail says until when.
    if request.reason is Reason.NEED_NOT_PROVED and len(ahead) < len(CERTIFICATE_REMINDED_BEFORE):
        remind_of_certificate(work, request, len(ahead))
    return Wait(Actor.REQUESTER, Reason.NEED_NOT_PROVED, until, min([*ahead, until]))


def _review_until(work: Work, request: Request, reason: Reason) -> datetime:
    """Return the end of the day until which the back office looks at a document.

    `reason` is the reason for which a request waits for this review. If the request names a day already, that day is
    kept, or today if it is over.
    """
    if request.reason is reason and request.waiting_until is not None:
        return max(request.waiting_until, end_of_day(work.now))
    return end_of_day(work.now + TIME_TO_REVIEW)


def _verify_cancellation(work: Work, request: Request) -> Outcome:
    if (early := _too_early(work, request)) is not None:
        return early
    # After days without workers, changes from before the end are due at once, too.
    if change_before(work.session, request) is not None:
        return Postpone(work.now + LOOK_FOR_EARLIER)
    try:
        ensure_can_end(work.session, request)
    except CannotClose:
        return IN_USE
    return None


def _too_early(work: Work, request: Request) -> Postpone | None:
    """Return a postponement until the day for which the request was made; None if that day has come.

    None, too, for a request that takes effect at once.
    """
    return Postpone(request.effective_at) if work.now < request.effective_at else None


def _end_or_renew(
    work: Work, request: Request, proof: CodedProof, another_waits: Callable[[Session, Request], bool]
) -> None:
    """Raise `RuleBroken` if the request is pending and its proof has expired; renew the proof if necessary.

    The proof, which other orders may share, is renewed only for a request that is not pending yet. It gets a new code
    if it is stale (valid for less than seven days), or if no other order waits for it. `another_waits` returns whether
    another order does. There is no new code before a pause (`proof.new_after`) since the present code was requested, so
    that nobody gets mails too often.
    """
    # While it waited for an approval, nobody was asked for the proof.
    if request.status is Status.PENDING and request.reason not in AWAITING:
        if work.now >= proof.expires_at:
            raise RuleBroken(Reason.PROOF_EXPIRED)
    elif work.now >= proof.asked_at + proof.new_after and (
        proof.is_stale(work.now) or not another_waits(work.session, request)
    ):
        proof.renew(work.now)
