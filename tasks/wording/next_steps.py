"""The sentences on a request's next step: what happens, who has to act, and how long it usually takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.calendar_days import end_of_day
from models.proofs.proof_status import ProofKind, ProofState, ProofStatus
from models.requests.requests import Request
from models.states import ENDED, Actor, Kind, Reason, Status, StepName
from models.values import Locale
from tasks.wording.formats import long_date
from tasks.wording.labels import status_text
from tasks.wording.reasons import reason_text
from tasks.wording.translate import N_, translate

_EXPECTED: Mapping[tuple[Kind, StepName], str] = {
    (Kind.ORDER, StepName.VERIFY): N_(
        "We are checking the details. That usually takes seconds; then we set up the line."
    ),
    (Kind.ORDER, StepName.PROVISION): N_(
        "We are setting up the line and its numbers. That usually takes less than a minute."
    ),
    (Kind.LINK, StepName.VERIFY): N_(
        "We are checking the proof. That usually takes seconds; then the account is attached to your main account."
    ),
    (Kind.SWITCH, StepName.VERIFY): N_(
        "We are checking the proof. That usually takes seconds; then we ask the present main account, if there is one."
    ),
    (Kind.DETACH, StepName.VERIFY): N_("We are detaching the account. That usually takes seconds."),
    (Kind.CHANGE, StepName.VERIFY): N_("We are changing the contract. That usually takes seconds."),
    (Kind.NUMBERS, StepName.VERIFY): N_("We are assigning the phone numbers. That usually takes seconds."),
    (Kind.MOVE, StepName.VERIFY): N_(
        "We are checking the new address and reserving the phone numbers. That usually takes seconds."
    ),
    (Kind.CANCEL, StepName.VERIFY): N_("We are closing the account. That usually takes seconds."),
}
_EXPECTED_SOON = N_("It is almost done. Then we confirm it by e-mail to all concerned.")
_EXPECTED_OF_PEOPLE: Mapping[Reason, str] = {
    Reason.CONSENT_AWAITED: N_(
        "As soon as somebody agrees, the account is usually attached within a minute, and you get an e-mail. If there "
        "is no answer, we remind them after 7 and after 12 days; after 14 days the request lapses. To protect other "
        "customers we do not say whether there is an account with this customer number: if nobody answers, please "
        "check the number."
    ),
    Reason.MAIN_CONSENT_AWAITED: N_(
        "As soon as one of them agrees, the account comes to your main account within a minute, and you get an e-mail. "
        "Until then it stays where it is. If there is no answer, we remind them after 7 and after 12 days; after 14 "
        "days the request lapses."
    ),
    Reason.EMAIL_NOT_CONFIRMED: N_(
        "The e-mail usually arrives within minutes. Without confirmation we remind after 7 and after 12 days; after "
        "14 days the order lapses."
    ),
    Reason.CONTACT_REFUSED: N_(
        "Without a confirmed e-mail address the line is not set up, and the order lapses after that day."
    ),
    Reason.ADDRESS_NOT_PROVED: N_("A letter usually takes two to four working days. A document may be faster."),
    Reason.DOCUMENT_IN_REVIEW: N_(
        "We usually look at documents within a few working days. The letter's code remains valid."
    ),
    Reason.NEED_NOT_PROVED: N_(
        "We usually look at documents within a few working days, and then reserve the numbers. For fewer numbers, "
        "cancel this order and order anew. Without a document we remind 7 and 2 days before that day; after it the "
        "order lapses."
    ),
    Reason.APPROVAL_AWAITED: N_(
        "As soon as one of them approves it, we go on and you get an e-mail. Without an answer we remind them 7 and 2 "
        "days before that day; after it the request lapses."
    ),
    Reason.APPROVER_MISSING: N_("Without an approval the request lapses after that day."),
    Reason.CERTIFICATE_IN_REVIEW: N_(
        "We usually look at documents within a few working days. Then we reserve the numbers, or write to you what is "
        "missing."
    ),
}

_EXPECTED_WHILE_HELD = N_("You need not do anything. We write to you when it is done, or if we need anything from you.")

_CARRIER_WORKS: Mapping[Kind, str] = {
    Kind.ORDER: N_("We are setting up the new account."),
    Kind.LINK: N_("We are checking and linking the account."),
    Kind.DETACH: N_("We are detaching the account."),
    Kind.CHANGE: N_("We are changing the contract."),
    Kind.NUMBERS: N_("We are assigning the phone numbers."),
    Kind.MOVE: N_("We are moving the account."),
    Kind.CANCEL: N_("We are closing the account."),
    Kind.SWITCH: N_("We are checking the request and taking the account over."),
}

_SCHEDULED: Mapping[Kind, str] = {
    Kind.DETACH: N_("Planned"),
    Kind.CHANGE: N_("Planned"),
    Kind.NUMBERS: N_("Planned"),
    Kind.MOVE: N_("Planned"),
    Kind.CANCEL: N_("Contract cancelled"),
}
_SCHEDULED_WORKS: Mapping[Kind, str] = {
    Kind.DETACH: N_("The account is detached from the main account at the beginning of %(day)s."),
    Kind.CHANGE: N_("We change the contract at the beginning of %(day)s."),
    Kind.NUMBERS: N_("We assign the phone numbers at the beginning of %(day)s."),
    Kind.MOVE: N_(
        "The account moves at the beginning of %(day)s: address, emergency calls and phone numbers together."
    ),
    Kind.CANCEL: N_("The contracts end with the end of %(last_day)s; then we close the account."),
}
_SCHEDULED_EXPECTED: Mapping[Kind, str] = {
    Kind.DETACH: N_(
        "You need not do anything. Until then the side that has asked for it can take it back or choose another day; "
        "the other side can choose an earlier one. When it is done, we confirm it by e-mail to all concerned."
    ),
    Kind.CHANGE: N_(
        "You need not do anything. Until then the change can be taken back. When it is done, we confirm it by e-mail "
        "to all concerned."
    ),
    Kind.NUMBERS: N_(
        "You need not do anything. Until then nobody else gets the numbers, and the order can be taken back. When the "
        "numbers are assigned, we confirm it by e-mail to all concerned."
    ),
    Kind.MOVE: N_(
        "You need not do anything. Until then everything goes on as before at the old address, nobody else gets the "
        "new phone numbers, and the move can be taken back. When it is done, we confirm it by e-mail to all concerned."
    ),
    Kind.CANCEL: N_(
        "You need not do anything. Until then everything goes on as before, and the cancellation can be taken back. "
        "When the account is closed, we confirm it by e-mail to all concerned."
    ),
}


_BY_SEVERAL = (Reason.ADDRESS_NOT_PROVED, Reason.NEED_NOT_PROVED)
"""Reasons why a request waits for a proof that anybody who may act on the request can hand in."""
_LOOKED_AT = N_("We are checking what has come in.")
_LOOKED_AT_EXPECTED = N_("That usually takes seconds. Then it says here whether anything is still missing.")


@dataclass(frozen=True, slots=True)
class NextAction:
    """The next action on a request: who has to act (`actor`), a sentence on what to do (`what`), and the deadline.

    `until` is None if there is no deadline. With `by_several`, everybody who may act on the request can do it, not only
    `actor`; a proof of the address is an example.
    """

    actor: Actor
    what: str
    until: datetime | None
    by_several: bool = False


def shown_status(request: Request, locale: Locale, now: datetime) -> str:
    """Return the displayed name of the request's status at the time `now`, in the language `locale`.

    A pending or held request is shown as in progress while a worker processes what has come in. A detachment, change,
    move or order of numbers that waits for its day is shown as planned, a cancellation that waits for its day as
    cancelled contract.
    """
    if request.is_scheduled(now):
        return translate(locale, _SCHEDULED[request.kind])
    return status_text(Status.IN_PROGRESS if request.is_looked_at(now) else request.status, locale)


def expectation(request: Request, locale: Locale, now: datetime, asked: Sequence[ProofStatus] = ()) -> str | None:
    """Return sentences about what happens next to the request and how long that usually takes.

    `asked` are the statuses of the request's proofs. Return None if the request has ended, or if there is no such
    sentence for the reasons why it is pending.
    """
    if request.is_looked_at(now):
        return translate(locale, _LOOKED_AT_EXPECTED)
    if request.status in ENDED:
        return None
    if request.is_scheduled(now):
        return translate(locale, _SCHEDULED_EXPECTED[request.kind])
    if request.status is Status.HELD:
        return translate(locale, _EXPECTED_WHILE_HELD)
    if request.status is Status.PENDING:
        reasons = [reason for _, reason, _ in _awaited(request, asked)]
        words = [_EXPECTED_OF_PEOPLE[reason] for reason in reasons if reason in _EXPECTED_OF_PEOPLE]
        return " ".join(translate(locale, sentence) for sentence in words) or None
    return translate(locale, _EXPECTED.get((request.kind, request.step), _EXPECTED_SOON))


def next_action(request: Request, locale: Locale, now: datetime) -> NextAction | None:
    """Return who has to act next on the request, what has to be done and until when; None if the request has ended."""
    actions = next_actions(request, locale, now)
    return actions[0] if actions else None


def next_actions(
    request: Request, locale: Locale, now: datetime, asked: Sequence[ProofStatus] = ()
) -> list[NextAction]:
    """Return all actions that are needed next on the request; empty if it has ended.

    `asked` are the statuses of the request's proofs: an order that waits for two proofs has two actions. Without them,
    the list has only the action for the request's own reason.
    """
    if request.status in ENDED:
        return []
    if request.is_looked_at(now):
        return [NextAction(Actor.CARRIER, translate(locale, _LOOKED_AT), None)]
    if request.waiting_for is not None:
        awaited = _awaited(request, asked)
        return [
            NextAction(actor, reason_text(reason, locale), until, reason in _BY_SEVERAL)
            for actor, reason, until in awaited
        ]
    if request.reason is not None:
        # A day that has passed is none: then it is today's work.
        until = max(request.waiting_until, end_of_day(now)) if request.waiting_until is not None else None
        return [NextAction(Actor.CARRIER, reason_text(request.reason, locale), until)]
    if request.is_scheduled(now):
        assert request.effective_on is not None
        days = {"day": request.effective_on, "last_day": request.effective_on - timedelta(days=1)}
        facts = {name: long_date(day, locale) for name, day in days.items()}
        return [NextAction(Actor.CARRIER, translate(locale, _SCHEDULED_WORKS[request.kind], **facts), None)]
    return [NextAction(Actor.CARRIER, translate(locale, _CARRIER_WORKS[request.kind]), None)]


def _awaited(request: Request, asked: Sequence[ProofStatus]) -> list[tuple[Actor, Reason, datetime | None]]:
    """Return what a pending request waits for, as tuples of who has to act, the reason, and the deadline.

    The request's own reason comes first, then its other open proofs; each reason appears once. `asked` are the statuses
    of the request's proofs. The deadline is None if it is not known.
    """
    assert request.reason is not None
    awaited = [(request.waiting_for or Actor.CARRIER, request.reason, request.waiting_until)]
    open_proofs = {proof.kind: proof for proof in asked if proof.state in (ProofState.OPEN, ProofState.EXPIRED)}
    if email := open_proofs.get(ProofKind.EMAIL):
        refused = (Actor.REQUESTER, Reason.CONTACT_REFUSED, email.until)
        awaited.append(refused if email.is_refused else (Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED, email.until))
    if ProofKind.DOCUMENT in open_proofs:
        # The day until which we look at it is known only if that is the request's own reason.
        awaited.append((Actor.CARRIER, Reason.DOCUMENT_IN_REVIEW, None))
    elif letter := open_proofs.get(ProofKind.LETTER):
        awaited.append((Actor.CONTACT, Reason.ADDRESS_NOT_PROVED, letter.until))
    # The order's own reason is one of these.
    first_of_each = {reason: (actor, reason, until) for actor, reason, until in reversed(awaited)}
    return [first_of_each[reason] for reason in dict.fromkeys(reason for _, reason, _ in awaited)]
