"""Everything that can be wrong with what somebody asks for. Errors carry facts; `web` maps them to answers once."""

from __future__ import annotations

from datetime import datetime

from models.states import Reason, Status


class DomainError(Exception):
    """A rule of the house says no."""


class IllegalTransition(DomainError):
    """A request cannot go from this status to that one."""

    def __init__(self, now: Status, then: Status) -> None:
        super().__init__(f"{now} -> {then}")
        self.now = now
        self.then = then


class RuleBroken(DomainError):
    """A rule that ends the request: the pipeline rejects it with this reason."""

    reason: Reason

    def __init__(self, reason: Reason, customer_number: str | None = None) -> None:
        super().__init__(reason if customer_number is None else f"{reason}: {customer_number}")
        self.reason = reason
        self.customer_number = customer_number


class AlreadyAttached(RuleBroken):
    """The account has a main account, and an account has at most one."""

    def __init__(self, customer_number: str) -> None:
        super().__init__(Reason.ALREADY_ATTACHED, customer_number)


class IsMainAccount(RuleBroken):
    """A main account never becomes a sub-account: the hierarchy has depth 1."""

    def __init__(self, customer_number: str) -> None:
        super().__init__(Reason.IS_MAIN_ACCOUNT, customer_number)


class NoNumbersAvailable(DomainError):
    """The pool of this area code has no free block of this size."""

    def __init__(self, area_code: str, size: int) -> None:
        super().__init__(f"{area_code}/{size}")
        self.area_code = area_code
        self.size = size


class TrunkClosed(DomainError):
    """The trunk is closed for good."""

    def __init__(self, sip_user: str) -> None:
        super().__init__(sip_user)
        self.sip_user = sip_user


class SuspendedByCarrier(DomainError):
    """The carrier has suspended the trunk, and only the carrier lifts that."""


class StillOnOrder(DomainError):
    """An order for the account is not done yet."""


class CannotClose(DomainError):
    """The account cannot be closed. `code` says what is in the way, `facts` which."""

    def __init__(self, code: str, *facts: str) -> None:
        super().__init__(f"{code}: {', '.join(facts)}")
        self.code = code
        self.facts = facts


class Forbidden(DomainError):
    """This person may not do that to this account."""


class AlreadyUser(DomainError):
    """The person has a role in the account."""


class PasswordMissing(DomainError):
    """A new login needs a password."""


class TooManyInvitations(DomainError):
    """As many invitations as may be open at once, `limit`, are open: of the account, or of who invites."""

    def __init__(self, limit: int) -> None:
        super().__init__(str(limit))
        self.limit = limit


class LastAdministrator(DomainError):
    """An account keeps one administrator at the least."""


class NotFound(DomainError):
    """There is no such thing, or it is none of this person's business."""


class InvalidField(DomainError):
    """One field of a form or body breaks a rule. `code` names the rule; `allowed` what would be right."""

    def __init__(self, field: str, code: str, allowed: object = None) -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code
        self.allowed = allowed


class AlreadyRequested(DomainError):
    """The same main account has asked for the same account before, and that request is still running."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class TooLate(DomainError):
    """The request has gone too far to be cancelled, or is being worked on at this moment."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class TooEarly(DomainError):
    """That was done a short while ago; it can be done again from `again_at` on."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(again_at.isoformat())
        self.again_at = again_at


class NotAccepted(DomainError):
    """A code, a login or a link is not right, not valid any more, or was tried too often. `field` was typed wrong.

    Whatever is wrong, an outsider hears the same.
    """

    def __init__(self, field: str, code: str = "not_accepted") -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code


class NotAwaited(DomainError):
    """The request does not wait for that, or not any more."""


class IdempotencyConflict(DomainError):
    """The same idempotency key came with another body."""
