"""Roles in accounts, what each may do, and `may`: the one answer to "may this person do that to this account?"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models.accounts.accounts import Account
from models.values import Locale


class Role(StrEnum):
    """What a person is in an account."""

    ADMINISTRATOR = "administrator"
    LOCATION_MANAGER = "location_manager"
    LOCAL_MEMBER = "local_member"


class Action(StrEnum):
    """What a person can want to do to an account."""

    VIEW = "view"
    ORDER = "order"
    LINK = "link"
    DETACH = "detach"
    FORWARD_CALLS = "forward_calls"
    SEE_CALLS = "see_calls"
    SEE_SECRET = "see_secret"  # noqa: S105 - the name of a right
    MANAGE_TRUNK = "manage_trunk"
    SEE_LOG = "see_log"
    MANAGE_USERS = "manage_users"
    PROVE_OWNERSHIP = "prove_ownership"
    OPERATE = "operate"


class Scope(StrEnum):
    """What an API token may be used for."""

    READ = "read"
    WRITE = "write"


RIGHTS: Mapping[Role, frozenset[Action]] = {
    Role.ADMINISTRATOR: frozenset(Action) - {Action.OPERATE},
    Role.LOCATION_MANAGER: frozenset(
        {
            Action.VIEW,
            Action.ORDER,
            Action.LINK,
            Action.DETACH,
            Action.FORWARD_CALLS,
            Action.SEE_CALLS,
            Action.SEE_SECRET,
            Action.MANAGE_TRUNK,
            Action.SEE_LOG,
        }
    ),
    Role.LOCAL_MEMBER: frozenset({Action.FORWARD_CALLS, Action.SEE_CALLS}),
}


THROUGH_MAIN: frozenset[Action] = frozenset(
    {Action.VIEW, Action.DETACH, Action.FORWARD_CALLS, Action.SEE_CALLS, Action.SEE_SECRET, Action.MANAGE_TRUNK}
)
"""What administrators and location managers of a main account may do to its sub-accounts."""


STAFF: frozenset[Action] = frozenset({Action.VIEW, Action.SEE_CALLS, Action.OPERATE})


SCOPED: Mapping[Scope, frozenset[Action]] = {
    Scope.READ: frozenset({Action.VIEW}),
    Scope.WRITE: frozenset({Action.ORDER, Action.LINK, Action.DETACH, Action.PROVE_OWNERSHIP}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is acting: a person, signed in or through a token, with the roles that were read at that moment."""

    user_id: int
    email: str
    name: str
    locale: Locale
    roles: Mapping[int, Role] = field(default_factory=dict)
    is_staff: bool = False
    token_id: int | None = None
    token_account_id: int | None = None
    scopes: frozenset[Scope] = frozenset()


def may(principal: Principal, action: Action, account: Account) -> bool:
    """Whether this person may do that to this account. The only place that knows.

    A token narrows its user's rights to its account (with sub-accounts) and its scopes; proving ownership of
    another account is its user's own right and only needs the scope.
    """
    if principal.token_id is not None:
        if not any(action in SCOPED[scope] for scope in principal.scopes):
            return False
        reached = principal.token_account_id in (account.id, account.main_id)
        if not reached and action is not Action.PROVE_OWNERSHIP:
            return False
    elif principal.is_staff and action in STAFF:
        return True
    return _by_own_role(principal, action, account) or _by_main_account(principal, action, account)


def through_main(principal: Principal, action: Action, account: Account) -> int | None:
    """The main account by which alone this person may do that to its sub-account; None for whoever may anyway."""
    if _by_own_role(principal, action, account) or not _by_main_account(principal, action, account):
        return None
    return account.main_id


def only_as_staff(principal: Principal, action: Action, account: Account) -> bool:
    """Whether it is only as the carrier's staff that this person may do that to this account."""
    if _by_own_role(principal, action, account) or _by_main_account(principal, action, account):
        return False
    return may(principal, action, account)


def only_forwards(principal: Principal) -> bool:
    """Whether minding call forwarding and its calls is all that this person may do, wherever they are a member."""
    if principal.is_staff or not principal.roles:
        return False
    return all(Action.VIEW not in RIGHTS[role] for role in principal.roles.values())


def _by_own_role(principal: Principal, action: Action, account: Account) -> bool:
    own = principal.roles.get(account.id)
    return own is not None and action in RIGHTS[own]


def _by_main_account(principal: Principal, action: Action, account: Account) -> bool:
    if account.main_id is None or action not in THROUGH_MAIN:
        return False
    return principal.roles.get(account.main_id) in (Role.ADMINISTRATOR, Role.LOCATION_MANAGER)
