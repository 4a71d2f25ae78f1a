"""The exceptions for broken business rules. Each carries facts as attributes; `web` maps them to HTTP responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

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
    """Raised when a request breaks a business rule: the pipeline ends the request as rejected, with `reason`.

    `customer_number` is that of the account that breaks the rule; None if the rule is not about one account. `facts`
    are the variables, by name, of the error text that the customer reads, such as the values that would be allowed.
    """

    reason: Reason

    def __init__(self, reason: Reason, customer_number: str | None = None) -> None:
        super().__init__(reason if customer_number is None else f"{reason}: {customer_number}")
        self.reason = reason
        self.customer_number = customer_number
        self.facts: Mapping[str, Any] = {}


class AlreadyAttached(RuleBroken):
    """Raised when the account to attach already has a main account; an account has at most one main account."""

    def __init__(self, customer_number: str) -> None:
        super().__init__(Reason.ALREADY_ATTACHED, customer_number)


class IsMainAccount(RuleBroken):
    """Raised when a main account would become a sub-account: an account that has sub-accounts has no main account."""

    def __init__(self, customer_number: str) -> None:
        super().__init__(Reason.IS_MAIN_ACCOUNT, customer_number)


class AreaCodeRefused(RuleBroken):
    """Raised when an address lies outside the Ortsnetz of an area code: as staff say, or by what is known of it by now.

    An Ortsnetz is a local exchange area. `area_codes` are the area codes that the address fits, each as a text with
    the name of its Ortsnetz.
    """

    def __init__(self, area_codes: Sequence[str]) -> None:
        super().__init__(Reason.AREA_CODE_MISMATCH)
        self.facts = {"area_codes": list(area_codes)}


class NoNumbersAvailable(DomainError):
    """Raised when the number pool of the area code `area_code` has no free block of `size` numbers."""

    def __init__(self, area_code: str, size: int) -> None:
        super().__init__(f"{area_code}/{size}")
        self.area_code = area_code
        self.size = size


class TrunkClosed(DomainError):
    """Raised when an operation needs an open trunk, and the trunk of the SIP user `sip_user` is permanently closed."""

    def __init__(self, sip_user: str) -> None:
        super().__init__(sip_user)
        self.sip_user = sip_user


class SuspendedByCarrier(DomainError):
    """Raised when a customer resumes a trunk that only the carrier has suspended, which only the carrier can resume."""


class StillOnOrder(DomainError):
    """Raised when a number block is to be released while an order for its account is still running."""


class CannotClose(DomainError):
    """Raised when an account cannot be closed.

    `code` names the kind of obstacle, such as `request_runs`; `facts` identify the obstacles, such as request ids.
    """

    def __init__(self, code: str, *facts: str) -> None:
        super().__init__(f"{code}: {', '.join(facts)}")
        self.code = code
        self.facts = facts


class Forbidden(DomainError):
    """Raised when a person may not perform an action on an account, or when the account's state forbids the action."""


class TokenExpired(DomainError):
    """Raised when an API token is used at or after `expired_at`."""

    def __init__(self, expired_at: datetime) -> None:
        super().__init__(str(expired_at))
        self.expired_at = expired_at


class TokenNameTaken(DomainError):
    """Raised when a new API token would have the name of another usable token of its account."""


class TooManyTokens(DomainError):
    """Raised when a new API token is created for an account that already has `limit` usable ones, the most allowed."""

    def __init__(self, limit: int) -> None:
        super().__init__(str(limit))
        self.limit = limit


class PricesChanged(DomainError):
    """Raised when the prices that a request would agree on differ from those that the person was shown on the page."""


class AlreadyUser(DomainError):
    """Raised when an address is already that of a user and cannot be used again.

    A person with this address is invited to an account in which they have a role. Or a member of the carrier's staff is
    to sign in with it, but a customer does already.
    """


class AlreadyInvited(DomainError):
    """Raised when a person invites an address that has an open invitation which the person may not replace.

    The person has rights in the account, a sub-account, only through its main account, while the open invitation was
    sent by the sub-account's own users or by the carrier.
    """


class PasswordMissing(DomainError):
    """Raised when an invited person who has no password yet accepts the invitation without choosing a password."""


class BeingErased(DomainError):
    """Raised when a person accepts an invitation, or the carrier gives them access, while their login is being erased.

    The erasure is done within minutes; then the person can get a new login with the same address.
    """


class PasswordGuessable(DomainError):
    """Raised when a new password is common, a simple pattern, or made of the user's own name or address."""


class OfMainAccount(DomainError):
    """Raised when a user of a sub-account tries to change something that only its main account may decide.

    Examples: changing the role of a user who also has a role in the main account, or demanding a second factor from all
    users.
    """


class SeveralAdministrators(DomainError):
    """Raised when staff try to invite an administrator to an account that already has two or more administrators.

    Any of these administrators can send the invitation.
    """


class HasAdministrator(DomainError):
    """Raised when a first administrator is to be set for an account that already has one, whose address is `email`."""

    def __init__(self, email: str) -> None:
        super().__init__(email)
        self.email = email


class TooManyInvitations(DomainError):
    """Raised when the account, or the inviting person, already has `limit` open invitations, the most allowed."""

    def __init__(self, limit: int) -> None:
        super().__init__(str(limit))
        self.limit = limit


class LimitReached(DomainError):
    """Raised when a company would exceed one of its limits, for example on open orders, or on letters in one day.

    `limit` is the limit's name (a value of `models.accounts.company_limits.Limit`), and `allowed` the greatest number
    that the limit allows. `free_at` is the time from which the company may try again; None if it has to wait until one
    of its open orders has ended.
    """

    def __init__(self, limit: str, allowed: int, free_at: datetime | None) -> None:
        super().__init__(f"{limit}: {allowed}")
        self.limit = limit
        self.allowed = allowed
        self.free_at = free_at


class LastAdministrator(DomainError):
    """Raised when an account would lose its only administrator, by a removal or a change of role."""


class FactorNeeded(DomainError):
    """Raised when a person removes their last second factor but must have one, or has none but the action needs one."""


class SecondPersonNeeded(DomainError):
    """Raised when requests are to wait for a second person's approval, but only one person leads the company."""


class NotFound(DomainError):
    """Raised when an object does not exist, or when the person has no right to know that the object exists."""


class InvalidField(DomainError):
    """Raised when one field of a form or request body breaks a rule.

    `field` names the field and `code` the broken rule. `allowed` is a value for the error text, usually the values or
    the limit that would be valid; None if the text needs no such value.
    """

    def __init__(self, field: str, code: str, allowed: object = None) -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code
        self.allowed = allowed


class AlreadyRequested(DomainError):
    """Raised when an equal request, whose id is `request_id`, is still running.

    Concerns link, switch, detach and cancellation requests, and a change of a contract that takes effect at once.
    """

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


class TooLate(DomainError):
    """Raised when a request cannot be cancelled any more; `status` is its current status.

    It has ended (other than as failed), or a worker has claimed it, or its provisioning has begun and has not failed,
    or its step that changes the account or the contract has begun.
    """

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class LaterChangePlanned(TooLate):
    """Raised when a planned change of a trunk cannot be cancelled, because a later change of the trunk builds on it.

    The later change was priced as if the earlier one had been made, so the later one has to be cancelled first. `day`
    is the last day for which a change of the trunk is planned.
    """

    def __init__(self, status: Status, day: date) -> None:
        super().__init__(status)
        self.day = day


class TooEarly(DomainError):
    """Raised when an action, such as requesting a new code, is repeated before `again_at`, when it is allowed again."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(again_at.isoformat())
        self.again_at = again_at


class NotAccepted(DomainError):
    """Raised when a code, a login or a link is wrong or has expired.

    `field` is the name of the input field with the wrong value, and `code` selects the text of the error message. Both
    are the same for every cause, so that an outsider cannot tell the causes apart.
    """

    def __init__(self, field: str, code: str = "not_accepted") -> None:
        super().__init__(f"{field}: {code}")
        self.field = field
        self.code = code


class NotAwaited(DomainError):
    """Raised when a person gives a proof, an answer or a decision, or asks for a new code, and nothing waits for it.

    For example, the request already has the proof, has used up its five codes, or has ended; or an offer was withdrawn.
    """


class IdempotencyConflict(DomainError):
    """Raised when an idempotency key is sent again with a different request body."""
