"""Roles in accounts, the rights of each role, and `may`, the only function that decides about a right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models.accounts.accounts import Account
from models.states import Origin
from models.values import Locale


class Role(StrEnum):
    """A person's role in an account. `RIGHTS` lists what each role may do: administrators most, local members least."""

    ADMINISTRATOR = "administrator"
    LOCATION_MANAGER = "location_manager"
    LOCAL_MEMBER = "local_member"


class Action(StrEnum):
    """The actions on an account that need a right."""

    VIEW = "view"
    ORDER = "order"
    LINK = "link"
    DETACH = "detach"
    CHANGE_CONTRACT = "change_contract"
    FORWARD_CALLS = "forward_calls"
    SEE_CALLS = "see_calls"
    SEE_SECRET = "see_secret"  # noqa: S105 - the name of a right
    MANAGE_TRUNK = "manage_trunk"
    ALLOW_DESTINATIONS = "allow_destinations"
    SEE_LOG = "see_log"
    INVITE_USERS = "invite_users"
    MANAGE_USERS = "manage_users"
    MANAGE_TOKENS = "manage_tokens"
    MANAGE_HOLDER = "manage_holder"
    PROVE_OWNERSHIP = "prove_ownership"
    OPERATE = "operate"
    TAG = "tag"


class Scope(StrEnum):
    """The scopes that limit what an API token may do.

    `read` allows viewing. `write` allows ordering, linking, detaching, changing contracts, proving ownership and
    setting tags, but not viewing.
    """

    READ = "read"
    WRITE = "write"


RIGHTS: Mapping[Role, frozenset[Action]] = {
    Role.ADMINISTRATOR: frozenset(Action) - {Action.OPERATE, Action.TAG},
    Role.LOCATION_MANAGER: frozenset(
        {
            Action.VIEW,
            Action.ORDER,
            Action.LINK,
            Action.DETACH,
            Action.CHANGE_CONTRACT,
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
    {
        Action.VIEW,
        Action.DETACH,
        Action.FORWARD_CALLS,
        Action.SEE_CALLS,
        Action.SEE_SECRET,
        Action.MANAGE_TRUNK,
        Action.INVITE_USERS,
        Action.TAG,
    }
)
"""The actions that administrators and location managers of a main account may perform on its sub-accounts.

`TAG` is nobody's right by a role in the account itself: tags are the company's.
"""


THROUGH_MAIN_ADMINISTRATOR: frozenset[Action] = frozenset({Action.ALLOW_DESTINATIONS})
"""The actions that only administrators of a main account may perform on its sub-accounts."""


THROUGH_MAIN_NOT_LINKED: frozenset[Action] = frozenset({Action.CHANGE_CONTRACT})
"""The actions that administrators and location managers of a main account may perform on some of its sub-accounts.

These are the sub-accounts that the main account has ordered, or pays for by its collective invoice. Not included are
those attached by a link: such a company pays for its contracts itself, and has agreed only to what a link allows.
"""


LEADS: frozenset[Role] = frozenset({Role.ADMINISTRATOR, Role.LOCATION_MANAGER})
"""The roles in a main account that also give rights in its sub-accounts."""


STAFF: frozenset[Action] = frozenset({Action.VIEW, Action.SEE_CALLS, Action.OPERATE})


SCOPED: Mapping[Scope, frozenset[Action]] = {
    Scope.READ: frozenset({Action.VIEW}),
    Scope.WRITE: frozenset(
        {Action.ORDER, Action.LINK, Action.DETACH, Action.CHANGE_CONTRACT, Action.PROVE_OWNERSHIP, Action.TAG}
    ),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The acting person, signed in or using an API token. `roles` maps account ids to the person's role there.

    `roles` are as they were when this object was created. `token_id`, the token's account `token_account_id` and the
    token's `scopes` are set only if the person uses an API token.
    """

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
    """Return whether the person may perform the action on the account. Every decision about a right is made here.

    A person has rights by a role in the account or in its main account. The carrier's staff may do what `STAFF` lists,
    in every account. An API token limits its user's rights to the token's scopes, and to the token's account and its
    sub-accounts; it never gives the rights of staff.
    """
    if principal.token_id is not None:
        if not any(action in SCOPED[scope] for scope in principal.scopes):
            return False
        if principal.token_account_id not in (account.id, account.main_id):
            return False
    elif principal.is_staff and action in STAFF:
        return True
    return _by_own_role(principal, action, account) or _by_main_account(principal, action, account)


def token_gives_rights(principal: Principal) -> bool:
    """Return whether the person's role in the account of their API token allows anything that the token's scopes allow.

    False if the person has no role in that account. A token for which this is False can do nothing and is refused.
    """
    role = principal.roles.get(principal.token_account_id) if principal.token_account_id is not None else None
    return role is not None and any(RIGHTS[role] & SCOPED[scope] for scope in principal.scopes)


def may_use_tokens(role: Role) -> bool:
    """Return whether the role gives at least one action that a scope of API tokens allows."""
    return any(RIGHTS[role] & actions for actions in SCOPED.values())


def through_main(principal: Principal, action: Action, account: Account) -> int | None:
    """Return the id of the account's main account if the person may do `action` only by a role in that main account.

    None if a role in the account itself allows the action, or if no role in the main account allows it.
    """
    if _by_own_role(principal, action, account) or not _by_main_account(principal, action, account):
        return None
    return account.main_id


def counting_account(principal: Principal, account: Account) -> int:
    """Return the id of the account to whose daily limits a request or invitation of the person for `account` counts.

    It is the main account if the person has a role there that gives rights in sub-accounts; otherwise it is `account`.
    So a local team has a count of its own, and cannot use up the limits of the main account. An API token counts for
    its own account, whatever roles its user has.
    """
    reaches_main = principal.token_account_id in (None, account.main_id)
    leads = account.main_id is not None and reaches_main and principal.roles.get(account.main_id) in LEADS
    return account.main_id if leads and account.main_id is not None else account.id


def invitable_roles(principal: Principal, account: Account, *, has_administrator: bool) -> list[Role]:
    """Return the roles that the person may offer in an invitation to the account; empty if they may not invite.

    `has_administrator`: the account has an administrator of its own. A person who may invite only through the main
    account may offer the role of administrator in two cases: the main account has ordered the account, or the account
    has no administrator. So nobody takes over the account of a local team.
    """
    if may(principal, Action.MANAGE_USERS, account):
        return list(Role)
    if not may(principal, Action.INVITE_USERS, account):
        return []
    is_led = account.origin is not Origin.ORDER and has_administrator
    return [role for role in Role if role is not Role.ADMINISTRATOR or not is_led]


def handles_invitation(principal: Principal, account: Account, *, sent_from_main: bool) -> bool:
    """Return whether the person may send an invitation to the account again, or withdraw it.

    `sent_from_main`: an order or a person of the main account caused the invitation. A person who may invite only
    through the main account may handle only such invitations, not those of the local team or of the carrier.
    """
    if may(principal, Action.MANAGE_USERS, account):
        return True
    return sent_from_main and may(principal, Action.INVITE_USERS, account)


def only_as_staff(principal: Principal, action: Action, account: Account) -> bool:
    """Return whether the person may perform the action on the account only because they are the carrier's staff."""
    if _by_own_role(principal, action, account) or _by_main_account(principal, action, account):
        return False
    return may(principal, action, account)


def only_forwards(principal: Principal) -> bool:
    """Return whether the person can only forward calls and see calls, being a local member in all of their accounts.

    False for the carrier's staff and for a person without any role.
    """
    if principal.is_staff or not principal.roles:
        return False
    return all(Action.VIEW not in RIGHTS[role] for role in principal.roles.values())


def _by_own_role(principal: Principal, action: Action, account: Account) -> bool:
    own = principal.roles.get(account.id)
    return own is not None and action in RIGHTS[own]


def _by_main_account(principal: Principal, action: Action, account: Account) -> bool:
    if account.main_id is None:
        return False
    role = principal.roles.get(account.main_id)
    if action in THROUGH_MAIN_ADMINISTRATOR:
        return role is Role.ADMINISTRATOR
    if action in THROUGH_MAIN_NOT_LINKED:
        return account.origin is not Origin.LINK and role in LEADS
    return action in THROUGH_MAIN and role in LEADS
