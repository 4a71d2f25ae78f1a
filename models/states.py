"""What a request can be, where it can go from there, and the few closed lists of the domain. Pure Python.

Statuses are TM Forum's (TMF622); the reason for one is a code of its own.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What is asked for."""

    ORDER = "order"
    LINK = "link"
    DETACH = "detach"


class Status(StrEnum):
    """Where a request stands (TMF622)."""

    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "in_progress"
    PENDING = "pending"
    HELD = "held"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"


class StepName(StrEnum):
    """What happens to a request next."""

    VERIFY = "verify"
    PROVISION = "provision"
    ATTACH = "attach"
    DETACH = "detach"
    CONFIRM = "confirm"


class Reason(StrEnum):
    """Why a request is pending, held or has ended without success."""

    OWNERSHIP_NOT_PROVEN = "ownership_not_proven"
    CONSENT_AWAITED = "consent_awaited"
    DECLINED_BY_OWNER = "declined_by_owner"
    EMAIL_NOT_CONFIRMED = "email_not_confirmed"
    ADDRESS_NOT_PROVED = "address_not_proved"
    DOCUMENT_IN_REVIEW = "document_in_review"
    ALREADY_ATTACHED = "already_attached"
    IS_MAIN_ACCOUNT = "is_main_account"
    IS_SUB_ACCOUNT = "is_sub_account"
    SAME_ACCOUNT = "same_account"
    ACCOUNT_CLOSED = "account_closed"
    NOT_ATTACHED = "not_attached"
    BILLED_TOGETHER = "billed_together"
    AREA_CODE_MISMATCH = "area_code_mismatch"
    PRODUCT_NOT_ORDERABLE = "product_not_orderable"
    NO_NUMBERS_AVAILABLE = "no_numbers_available"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"
    GATEWAY_REFUSED = "gateway_refused"
    INTERNAL_ERROR = "internal_error"
    CANCELLED_BY_REQUESTER = "cancelled_by_requester"
    CANCELLED_BY_BACK_OFFICE = "cancelled_by_back_office"
    PROOF_EXPIRED = "proof_expired"


class Actor(StrEnum):
    """Who has to act next."""

    CARRIER = "carrier"
    REQUESTER = "requester"
    CONTACT = "contact"
    OTHER_ACCOUNT = "other_account"


class AccountRole(StrEnum):
    """Where an account stands in the hierarchy (depth 1)."""

    STANDALONE = "standalone"
    MAIN = "main"
    SUB = "sub"


class AccountState(StrEnum):
    """Whether an account can be used: ordered but not yet provisioned, active, or closed for good."""

    ORDERED = "ordered"
    ACTIVE = "active"
    CLOSED = "closed"


class Origin(StrEnum):
    """How a sub-account came under its main account."""

    ORDER = "order"
    LINK = "link"
    COLLECTIVE_INVOICE = "collective_invoice"


class ProofMethod(StrEnum):
    """How the right to attach an existing account was proved."""

    ADMINISTERS_BOTH = "administers_both"
    CREDENTIALS = "credentials"
    LINK_CODE = "link_code"
    CONSENT = "consent"
    COLLECTIVE_INVOICE = "collective_invoice"


class AddressMethod(StrEnum):
    """Why we believe that a connection address is real."""

    LETTER = "letter"
    DOCUMENT = "document"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.ACKNOWLEDGED: frozenset(
        {Status.IN_PROGRESS, Status.PENDING, Status.HELD, Status.REJECTED, Status.CANCELLED, Status.FAILED}
    ),
    Status.IN_PROGRESS: frozenset(
        {Status.PENDING, Status.HELD, Status.COMPLETED, Status.REJECTED, Status.CANCELLED, Status.FAILED}
    ),
    Status.PENDING: frozenset({Status.IN_PROGRESS, Status.HELD, Status.REJECTED, Status.CANCELLED, Status.FAILED}),
    Status.HELD: frozenset({Status.IN_PROGRESS, Status.REJECTED, Status.CANCELLED, Status.FAILED}),
    Status.FAILED: frozenset({Status.IN_PROGRESS, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.CANCELLED: frozenset(),
}

ENDED: frozenset[Status] = frozenset({Status.COMPLETED, Status.REJECTED, Status.CANCELLED, Status.FAILED})

ROUTES: dict[Kind, tuple[StepName, ...]] = {
    Kind.ORDER: (StepName.VERIFY, StepName.PROVISION, StepName.ATTACH, StepName.CONFIRM),
    Kind.LINK: (StepName.VERIFY, StepName.ATTACH, StepName.CONFIRM),
    Kind.DETACH: (StepName.VERIFY, StepName.DETACH, StepName.CONFIRM),
}


def may_become(now: Status, then: Status) -> bool:
    """Whether a request may go from one status to another."""
    return then in TRANSITIONS[now]


def step_after(kind: Kind, step: StepName) -> StepName | None:
    """The step that follows on this kind's route; None after the last."""
    route = ROUTES[kind]
    place = route.index(step) + 1
    return route[place] if place < len(route) else None
