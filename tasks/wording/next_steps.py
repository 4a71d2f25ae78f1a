"""The sentences for what happens next to a request, who has to act, and how long it usually takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from models.requests.requests import Request
from models.states import ENDED, Actor, Kind, Reason, Status, StepName
from models.values import Locale
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
    (Kind.DETACH, StepName.VERIFY): N_("We are detaching the account. That usually takes seconds."),
}
_EXPECTED_SOON = N_("It is almost done. Then we confirm it by e-mail to all concerned.")
_EXPECTED_OF_PEOPLE: Mapping[Reason, str] = {
    Reason.CONSENT_AWAITED: N_(
        "As soon as somebody agrees, the account is usually attached within a minute, and you get an e-mail. If there "
        "is no answer, we remind them after 7 and after 12 days; after 14 days the request lapses."
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
}

_CARRIER_WORKS: Mapping[Kind, str] = {
    Kind.ORDER: N_("We are setting up the new account."),
    Kind.LINK: N_("We are checking and linking the account."),
    Kind.DETACH: N_("We are detaching the account."),
}


@dataclass(frozen=True, slots=True)
class NextAction:
    """The next action on a request: who has to act, a sentence on `what` to do, and its deadline `until`, if any."""

    actor: Actor
    what: str
    until: datetime | None


def expectation(request: Request, locale: Locale) -> str | None:
    """Return a sentence about what happens next to the request and how long that usually takes.

    Return None if the request has ended or is held, or if there is no sentence for the reason why it is pending.
    """
    if request.status in ENDED or request.status is Status.HELD:
        return None
    if request.status is Status.PENDING:
        words = _EXPECTED_OF_PEOPLE.get(request.reason) if request.reason is not None else None
        return translate(locale, words) if words is not None else None
    return translate(locale, _EXPECTED.get((request.kind, request.step), _EXPECTED_SOON))


def next_action(request: Request, locale: Locale) -> NextAction | None:
    """Return who has to act next on the request, what to do and until when; None once the request has ended."""
    if request.status in ENDED:
        return None
    if request.waiting_for is not None and request.reason is not None:
        return NextAction(request.waiting_for, reason_text(request.reason, locale), request.waiting_until)
    if request.reason is not None:
        return NextAction(Actor.CARRIER, reason_text(request.reason, locale), None)
    return NextAction(Actor.CARRIER, translate(locale, _CARRIER_WORKS[request.kind]), None)
