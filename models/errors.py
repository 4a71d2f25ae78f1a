"""Errors of the business rules. Each error carries facts; `web` maps errors to HTTP responses in one place."""

from __future__ import annotations

from datetime import datetime

from models.states import Reason, Status


class DomainError(Exception):
    """Raised when a business rule forbids an operation; base class of every error in this module."""


class IllegalTransition(DomainError):
    """Raised when a request may not change from its current status (`now`) to the wanted one (`then`)."""

    def __init__(self, now: Status, then: Status) -> None:
        super().__init__(f"{now} -> {then}")
        self.now = now
        self.then = then


class RuleBroken(DomainError):
    """Raised when a broken rule ends a request: the pipeline rejects the request with `reason`."""

    reason: Reason

    def __init__(self, reason: Reason, customer_number: str | None = None) -> None:
        super().__init__(reason if customer_number is None else f"{reason}: {customer_number}")
        self.reason = reason
        self.customer_number = customer_number


class AlreadyAttached(RuleBroken):
    """Raised when the account to attach already has a main account; an account has at most one main account."""

    def __init__(self, customer_number: str) -> None:
        super().__init__(Reason.ALREADY_ATTACHED, customer_number)


class IsMainAccount(RuleBroken):
    """Raised when a main account would become a sub-account: the hierarchy has depth 1."""

    def __init__(self, customer_number: str) -> None:
        super().__init__(Reason.IS_MAIN_ACCOUNT, customer_number)


class NoNumbersAvailable(DomainError):
    """Raised when the number pool of an area code has no free block of the wanted size."""

    def __init__(self, area_code: str, size: int) -> None:
        super().__init__(f"{area_code}/{size}")
        self.area_code = area_code
        self.size = size


class TrunkClosed(DomainError):
    """Raised when an operation needs an open trunk and the trunk is permanently closed."""

    def __init__(self, sip_user: str) -> None:
        super().__init__(sip_user)
        self.sip_user = sip_user


class SuspendedByCarrier(DomainError):
    """Raised when the carrier has suspended the trunk; only the carrier can lift that suspension."""


class StillOnOrder(DomainError):
    """Raised when an order for the account is not completed yet."""


class CannotClose(DomainError):
    """Raised when an account cannot be closed. `code` names the kind of obstacle, `facts` the individual obstacles."""

    def __init__(self, code: str, *facts: str) -> None:
        super().__init__(f"{code}: {', '.join(facts)}")
        self.code = code
        self.facts = facts


class Forbidden(DomainError):
    """Raised when a person has no right to perform an action on an account."""


class AlreadyUser(DomainError):
    """Raised when a person who already has a role in the account is invited to the account."""


class PasswordMissing(DomainError):
    """Raised when a new login is to be created without a password."""


class TooManyInvitations(DomainError):
    """Raised when the account, or the inviting person, already has `limit` open invitations, the most allowed."""

    def __init__(self, limit: int) -> None:
        super().__init__(str(limit))
        self.limit = limit


class LastAdministrator(DomainError):
    """Raised when an account would lose its last administrator; an account keeps at least one."""


class NotFound(DomainError):
    """Raised when an object does not exist, or when the person has no right to know that the object exists."""


class InvalidField(DomainError):
    """Raised when one field of a form or request body breaks a rule.

    `field` names the field, `code` the rule, and `allowed` gives the values that would be valid.
    """

    def __init__(self, field: str, code: str, allowed: object = None) -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code
        self.allowed = allowed


class AlreadyRequested(DomainError):
    """Raised when a main account requests an account again while its first request, `request_id`, is still running."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class TooLate(DomainError):
    """Raised when a request cannot be cancelled any more: processing is too far advanced, or a worker is active on it.

    `status` is the request's current status.
    """

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class TooEarly(DomainError):
    """Raised when an action is repeated too soon; the action is allowed again from `again_at` on."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(again_at.isoformat())
        self.again_at = again_at


class NotAccepted(DomainError):
    """Raised when a code, a login or a link is wrong, has expired or was tried too often.

    `field` names the input field with the wrong value. The error is identical for every cause, so that an outsider
    cannot tell the causes apart.
    """

    def __init__(self, field: str, code: str = "not_accepted") -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code


class NotAwaited(DomainError):
    """Raised when a proof or decision is handed in or asked for that the request does not, or no longer, wait for."""


class IdempotencyConflict(DomainError):
    """Raised when an idempotency key is sent again with a different request body."""
