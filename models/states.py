"""The enumerations of requests, accounts and proofs, and the tables of steps and allowed status changes of requests.

The statuses follow TM Forum's TMF622; the reason for a status is a separate code (`Reason`). Needs no database.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The kind of a request, which decides its processing steps (`ROUTES`)."""

    ORDER = "order"
    """An order for a new location, that is, for a new sub-account with its contract."""
    LINK = "link"
    """A request to attach an existing account that has no main account to the requester's main account."""
    DETACH = "detach"
    """A request to detach a sub-account from its main account, at once or from a day on."""
    CHANGE = "change"
    """A request to change the tariff and the channels of a SIP trunk, at once or from a day on."""
    NUMBERS = "numbers"
    """A request to add a number block to a SIP trunk, at once or from a day on."""
    CANCEL = "cancel"
    """A request to end an account and all its contracts at the end of a day."""
    SWITCH = "switch"
    """A request to move a sub-account from its main account to another main account in one step."""
    MOVE = "move"
    """A request to move an account to another connection address, at once or on a day."""


class Status(StrEnum):
    """The status of a request, with the names of TM Forum's TMF622.

    A `pending` request waits for a person, a `held` one for the carrier. A request has ended if it is `completed`,
    `rejected` (by a business rule), `cancelled`, or `failed` (refused by the telephone network; it can be retried).
    """

    ACKNOWLEDGED = "acknowledged"
    IN_PROGRESS = "in_progress"
    PENDING = "pending"
    HELD = "held"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"


class StepName(StrEnum):
    """A processing step of a request. `ROUTES` lists the steps of each kind of request in their order.

    The first step, `VERIFY`, checks the request and waits for its proofs or its day. The last, `CONFIRM`, queues the
    mails about its success. Between them an order has the steps `PROVISION` and `ATTACH`, every other kind one step.
    """

    VERIFY = "verify"
    PROVISION = "provision"
    ATTACH = "attach"
    DETACH = "detach"
    CHANGE = "change"
    ASSIGN = "assign"
    CANCEL = "cancel"
    CONFIRM = "confirm"
    MOVE = "move"


class Reason(StrEnum):
    """The reason why a request is pending or held, or has ended without success."""

    OWNERSHIP_NOT_PROVEN = "ownership_not_proven"
    CONSENT_AWAITED = "consent_awaited"
    DECLINED_BY_OWNER = "declined_by_owner"
    EMAIL_NOT_CONFIRMED = "email_not_confirmed"
    CONTACT_REFUSED = "contact_refused"
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
    AREA_CODE_UNCONFIRMED = "area_code_unconfirmed"
    PRODUCT_NOT_ORDERABLE = "product_not_orderable"
    NO_NUMBERS_AVAILABLE = "no_numbers_available"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"
    GATEWAY_REFUSED = "gateway_refused"
    INTERNAL_ERROR = "internal_error"
    CANCELLED_BY_REQUESTER = "cancelled_by_requester"
    CANCELLED_BY_BACK_OFFICE = "cancelled_by_back_office"
    PROOF_EXPIRED = "proof_expired"
    NO_ADMINISTRATOR = "no_administrator"
    INVITATION_OPEN = "invitation_open"
    TRUNK_CLOSED = "trunk_closed"
    ACCOUNT_IN_USE = "account_in_use"
    MAIN_CONSENT_AWAITED = "main_consent_awaited"
    DECLINED_BY_MAIN = "declined_by_main"
    NEED_NOT_PROVED = "need_not_proved"
    CERTIFICATE_IN_REVIEW = "certificate_in_review"
    APPROVAL_AWAITED = "approval_awaited"
    APPROVER_MISSING = "approver_missing"
    APPROVAL_REFUSED = "approval_refused"
    APPROVAL_EXPIRED = "approval_expired"


class Actor(StrEnum):
    """The party that has to act next on a pending request.

    `CARRIER`, `REQUESTER`, `CONTACT` (the contact person of an order), `OTHER_ACCOUNT` (the administrators of the
    account to be attached or, in a switch, those of its present main account), or `APPROVER` (a second person of the
    company, who has to approve the request).
    """

    CARRIER = "carrier"
    REQUESTER = "requester"
    CONTACT = "contact"
    OTHER_ACCOUNT = "other_account"
    APPROVER = "approver"


class AccountRole(StrEnum):
    """An account's position in the hierarchy: alone, main account of sub-accounts, or sub-account of a main account."""

    STANDALONE = "standalone"
    MAIN = "main"
    SUB = "sub"


class AccountState(StrEnum):
    """The life-cycle state of an account: ordered but not yet provisioned, active, or permanently closed."""

    ORDERED = "ordered"
    ACTIVE = "active"
    CLOSED = "closed"


class Origin(StrEnum):
    """The way by which a sub-account was attached to its main account: order, link request or collective invoice."""

    ORDER = "order"
    LINK = "link"
    COLLECTIVE_INVOICE = "collective_invoice"


class ProofMethod(StrEnum):
    """The method by which the right to attach an existing account was proved.

    By a role in both accounts, an administrator's login, a link code, the administrators' consent, or a collective
    invoice.
    """

    ADMINISTERS_BOTH = "administers_both"
    CREDENTIALS = "credentials"
    LINK_CODE = "link_code"
    CONSENT = "consent"
    COLLECTIVE_INVOICE = "collective_invoice"


class AddressMethod(StrEnum):
    """The evidence that a connection address is real: a letter sent to the address, or a document."""

    LETTER = "letter"
    DOCUMENT = "document"


class RefusalReason(StrEnum):
    """The reason why the back office refuses a document as proof of an address or of a need for numbers."""

    UNREADABLE = "unreadable"
    OTHER_ADDRESS = "other_address"
    OTHER_COMPANY = "other_company"
    TOO_OLD = "too_old"
    WRONG_KIND = "wrong_kind"
    DOES_NOT_SHOW = "does_not_show"
    OTHER = "other"
    NO_NEED = "no_need"


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

CONTRACT_CHANGES: frozenset[Kind] = frozenset({Kind.CHANGE, Kind.NUMBERS, Kind.MOVE})
"""The kinds of request that change a running contract."""

OF_CONTRACTS: frozenset[Kind] = CONTRACT_CHANGES | {Kind.CANCEL}
"""The kinds of request about the contracts of one account. Making one needs the right to change the contracts."""

ROUTES: dict[Kind, tuple[StepName, ...]] = {
    Kind.ORDER: (StepName.VERIFY, StepName.PROVISION, StepName.ATTACH, StepName.CONFIRM),
    Kind.LINK: (StepName.VERIFY, StepName.ATTACH, StepName.CONFIRM),
    Kind.DETACH: (StepName.VERIFY, StepName.DETACH, StepName.CONFIRM),
    Kind.CHANGE: (StepName.VERIFY, StepName.CHANGE, StepName.CONFIRM),
    Kind.NUMBERS: (StepName.VERIFY, StepName.ASSIGN, StepName.CONFIRM),
    Kind.CANCEL: (StepName.VERIFY, StepName.CANCEL, StepName.CONFIRM),
    Kind.SWITCH: (StepName.VERIFY, StepName.ATTACH, StepName.CONFIRM),
    Kind.MOVE: (StepName.VERIFY, StepName.MOVE, StepName.CONFIRM),
}
ATTACHING: tuple[Kind, ...] = (Kind.LINK, Kind.SWITCH)
"""The kinds of request that attach an existing account, whose ownership has to be proved."""

RESERVING: frozenset[Kind] = frozenset({Kind.NUMBERS, Kind.MOVE})
"""The kinds of request that reserve numbers at once, however late their day is."""

PROVING_ADDRESS: frozenset[Kind] = frozenset({Kind.ORDER, Kind.MOVE})
"""The kinds of request for which a connection address has to be proved."""


def may_become(now: Status, then: Status) -> bool:
    """Return whether a request may change from status `now` to status `then`."""
    return then in TRANSITIONS[now]


def step_after(kind: Kind, step: StepName) -> StepName | None:
    """Return the step that follows `step` for a request of this kind; None after the last step.

    Raises `ValueError` if requests of this kind do not have the step.
    """
    route = ROUTES[kind]
    place = route.index(step) + 1
    return route[place] if place < len(route) else None
