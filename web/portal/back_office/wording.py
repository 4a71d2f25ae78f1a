"""The texts of the back office: reasons, statuses, advice, and descriptions of the scheduled jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from models.messages.outbox import MessageState
from models.proofs.proof_status import ProofKind, ProofState, ProofStatus
from models.requests.requests import Request
from models.states import Actor, Kind, Reason, Status
from models.views.back_office import Matter
from tasks.wording.labels import status_text
from tasks.wording.next_steps import next_actions
from tasks.wording.reasons import reason_text
from web.portal.page.locale import locale, moment

MATTERS = {
    Matter.HELD: lazy_gettext("Held"),
    Matter.FAILED: lazy_gettext("Failed"),
    Matter.DOCUMENT: lazy_gettext("Document to look at"),
    Matter.CONSENT: lazy_gettext("Consent reaches nobody"),
    Matter.NUMBERS: lazy_gettext("Numbers are missing"),
}
KINDS = {
    Kind.ORDER: lazy_gettext("Order"),
    Kind.LINK: lazy_gettext("Link request"),
    Kind.DETACH: lazy_gettext("Detachment"),
    Kind.CHANGE: lazy_gettext("Contract change"),
    Kind.NUMBERS: lazy_gettext("Additional phone numbers"),
    Kind.MOVE: lazy_gettext("Move"),
    Kind.CANCEL: lazy_gettext("Cancellation of contracts"),
    Kind.SWITCH: lazy_gettext("Switch to another main account"),
}
ACTORS = {
    Actor.CARRIER: lazy_gettext("We"),
    Actor.REQUESTER: lazy_gettext("The person who asked for it"),
    Actor.CONTACT: lazy_gettext("The contact of the location"),
    Actor.OTHER_ACCOUNT: lazy_gettext("The administrators of the other account"),
    Actor.APPROVER: lazy_gettext("A second person of the company"),
}
MESSAGE_STATES = {
    MessageState.QUEUED: lazy_gettext("waits to leave"),
    MessageState.SENT: lazy_gettext("has left"),
    MessageState.REFUSED: lazy_gettext("refused"),
}
ASKED_KINDS = {
    ProofKind.EMAIL: lazy_gettext("E-mail address of the contact"),
    ProofKind.LETTER: lazy_gettext("Connection address: code from the letter"),
    ProofKind.DOCUMENT: lazy_gettext("Connection address: document"),
    ProofKind.CONSENT: lazy_gettext("Consent of the other account"),
    ProofKind.APPROVAL: lazy_gettext("Approval by a second person of the company"),
    ProofKind.MAIN_CONSENT: lazy_gettext("Consent of the present main account"),
    ProofKind.CERTIFICATE: lazy_gettext("Certificate of need"),
}
ASKED_STATES = {
    ProofState.OPEN: lazy_gettext("open"),
    ProofState.PROVED: lazy_gettext("proved"),
    ProofState.DECLINED: lazy_gettext("declined"),
    ProofState.EXPIRED: lazy_gettext("expired"),
}
# Reasons of requests that wait for staff; for other reasons the customer's text is used.
_REASONS = {
    Reason.NO_NUMBERS_AVAILABLE: lazy_gettext("No numbers left in the pool"),
    Reason.GATEWAY_UNAVAILABLE: lazy_gettext("A system does not answer"),
    Reason.INTERNAL_ERROR: lazy_gettext("An error on our side"),
    Reason.GATEWAY_REFUSED: lazy_gettext("Refused by the telephone network"),
    Reason.DOCUMENT_IN_REVIEW: lazy_gettext("A document was handed in"),
    Reason.APPROVAL_AWAITED: lazy_gettext("A second person of the company has to approve it"),
    Reason.APPROVER_MISSING: lazy_gettext("Nobody else of the company can approve it"),
    Reason.NEED_NOT_PROVED: lazy_gettext("The certificate of need is missing"),
    Reason.CERTIFICATE_IN_REVIEW: lazy_gettext("A certificate of need was handed in"),
    Reason.EMAIL_NOT_CONFIRMED: lazy_gettext("The contact's e-mail address is not confirmed yet"),
    Reason.CONTACT_REFUSED: lazy_gettext("The contact's e-mail address is refused by its mail server"),
    Reason.ADDRESS_NOT_PROVED: lazy_gettext("The connection address is not proved yet"),
    Reason.AREA_CODE_UNCONFIRMED: lazy_gettext("Area code to be confirmed"),
}


@dataclass(frozen=True, slots=True)
class JobWords:
    """The texts about a scheduled job: `name` is its title, `looks_at` describes what the job checks and does."""

    name: Any
    looks_at: Any


JOB_WORDS = {
    "requests": JobWords(
        lazy_gettext("Requests"),
        lazy_gettext(
            "What stands still is worked on again; what has been held or failed for a day is said. Numbers that are "
            "reserved for nobody are freed. Requests follow their account to its present main account."
        ),
    ),
    "proofs": JobWords(
        lazy_gettext("Proofs"), lazy_gettext("Reminders and ends of proofs that are overdue are seen to.")
    ),
    "office": JobWords(
        lazy_gettext("Notice to the back office"),
        lazy_gettext("The back office is told once, by e-mail, of what is held or has failed, and of files that wait."),
    ),
    "tokens": JobWords(
        lazy_gettext("API tokens"),
        lazy_gettext("People are reminded once, by e-mail, of API tokens that expire within two weeks."),
    ),
    "renewals": JobWords(
        lazy_gettext("Extensions of contracts"),
        lazy_gettext(
            "Who may cancel a contract is reminded once, by e-mail, a month before the last day on which a notice "
            "prevents that it is extended."
        ),
    ),
    "erasures": JobWords(
        lazy_gettext("Erased people"),
        lazy_gettext("People who have asked for it lose name and address everywhere that nothing has to be kept."),
    ),
    "factor_resets": JobWords(
        lazy_gettext("Lost second factors"),
        lazy_gettext("Second factors that staff have had reset a day ago are removed, unless one was used since."),
    ),
    "attempt_counts": JobWords(
        lazy_gettext("Counts of wrong tries"),
        lazy_gettext("Counts of wrong passwords and codes in the database are deleted when no limit needs them."),
    ),
    "mails": JobWords(
        lazy_gettext("Mails and letters"),
        lazy_gettext("What has not left is tried again; what was refused for good is said."),
    ),
    "registrar": JobWords(
        lazy_gettext("Registrar"),
        lazy_gettext(
            "The registrar's subscribers and number blocks are compared with ours; what differs is written again."
        ),
    ),
    "invoices": JobWords(
        lazy_gettext("Collective invoices"),
        lazy_gettext("Accounts on a main account's collective invoice become its sub-accounts, and leave with it."),
    ),
    "leftovers": JobWords(
        lazy_gettext("Leftovers"),
        lazy_gettext("What nobody can use any more is deleted; the history of numbers is completed."),
    ),
    "audit_seal": JobWords(
        lazy_gettext("Seals of the audit log"),
        lazy_gettext("New entries of the audit log get a seal, by which a later change is found."),
    ),
    "audit_check": JobWords(
        lazy_gettext("Check of the audit log"),
        lazy_gettext("All entries of the audit log are compared with their seals; what was changed is said."),
    ),
}


def reason_label(reason: Reason) -> str:
    """Return the reason why a request waits or ended, in a few words for staff, in the page's language."""
    short = _REASONS.get(reason)
    return str(short) if short is not None else reason_text(reason, locale())


def status_label(status: Status) -> str:
    """Return the word for the status of a request in the page's language."""
    return status_text(status, locale())


def advice(found: Request, matter: Matter | None, now: datetime, asked: Sequence[ProofStatus] = ()) -> str:
    """Return what to do next about the request, in the page's language; empty if nothing is left to do.

    `matter` is the reason why the request waits for staff: the text says what staff have to do. Without a matter
    (None), the text has the next actions on the request, by customers and by the carrier. `asked` are the statuses of
    the proofs that the request needs.
    """
    if found.is_looked_at(now):
        matter = None
    match matter:
        case Matter.DOCUMENT:
            return str(_("Look at the document, then release or refuse it."))
        case Matter.CONSENT if found.reason is Reason.MAIN_CONSENT_AWAITED:
            return str(
                _(
                    "Nobody at the present main account can read the question: it has no administrator, or the e-mail "
                    "was refused. Find out who may administer it, and name that person."
                )
            )
        case Matter.CONSENT:
            return str(
                _(
                    "Nobody at account %(number)s can read the question: it has no administrator, or the e-mail was "
                    "refused. Find out who may administer it, and name that person.",
                    number=found.customer_number,
                )
            )
        case Matter.NUMBERS:
            pool = {"area": found.area_code, "size": found.block_size}
            return str(
                _(
                    "Fill up the pool: area code %(area)s, blocks of %(size)s. The customer proves the address "
                    "meanwhile.",
                    **pool,
                )
            )
        case Matter.HELD if found.reason is Reason.NO_NUMBERS_AVAILABLE:
            pool = {"area": found.area_code, "size": found.block_size}
            return str(
                _("Fill up the pool: area code %(area)s, blocks of %(size)s. It then goes on by itself.", **pool)
            )
        case Matter.HELD if found.reason is Reason.AREA_CODE_UNCONFIRMED:
            return str(_("Say whether the connection address lies in the Ortsnetz of the area code."))
        case Matter.HELD if found.due_at is not None:
            again = moment(found.due_at)
            return str(_("See to the system that does not answer. Next try by itself: %(moment)s.", moment=again))
        case Matter.HELD:
            return str(_("Find the error in the logs by the request's id, then try again or cancel."))
        case Matter.FAILED:
            return str(_("Find out why the telephone network refuses it, then try again or cancel."))
    return " ".join(action.what for action in next_actions(found, locale(), now, asked))
