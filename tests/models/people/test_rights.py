"""Tests of the rights: which actions each role allows in its own account, in other accounts, for staff, and by token.

A role in a main account also reaches its sub-accounts, but not the contracts of linked ones. Staff can view every
account, but change nothing that is the customer's. An API token allows no more than its scopes and its person's role.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from argon2.exceptions import VerifyMismatchError

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.people import passwords
from models.people.rights import Action, Principal, Role, Scope, may
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.states import Kind, Origin
from tests.factories import NOW, make_account, make_main

MAIN, SUB, FOREIGN = 1, 2, 3
ACCOUNTS = {
    "main": Account(id=MAIN),
    "sub": Account(id=SUB, main_id=MAIN),
    "another sub": Account(id=20, main_id=MAIN),
    "foreign": Account(id=FOREIGN),
    "foreign sub": Account(id=30, main_id=FOREIGN),
}
ADMINISTRATOR, MANAGER, MEMBER = Role.ADMINISTRATOR, Role.LOCATION_MANAGER, Role.LOCAL_MEMBER
EVERYTHING = (
    "view order link detach forward_calls see_calls see_secret manage_trunk see_log invite_users manage_users"
    " manage_tokens manage_holder prove_ownership allow_destinations change_contract"
)
LOCATIONS = "view order link detach change_contract forward_calls see_calls see_secret manage_trunk see_log"
REACHED = "view detach change_contract forward_calls see_calls see_secret manage_trunk invite_users tag"
LED = f"{REACHED} allow_destinations"
BOTH = frozenset({Scope.READ, Scope.WRITE})


def person(**facts: object) -> Principal:
    """Return a principal without any role; `facts` are fields of `Principal` with other values than the usual ones."""
    return replace(Principal(7, "kim@example.com", "Kim", "de"), **facts)  # type: ignore[arg-type]


def allowed(principal: Principal, account: str) -> set[str]:
    """Return the names of all actions that the person may perform on the account called `account` in `ACCOUNTS`."""
    return {str(action) for action in Action if may(principal, action, ACCOUNTS[account])}


@pytest.mark.parametrize(
    ("role", "of", "to", "actions"),
    [
        (ADMINISTRATOR, MAIN, "main", EVERYTHING),
        (ADMINISTRATOR, MAIN, "sub", LED),
        (ADMINISTRATOR, MAIN, "another sub", LED),
        (ADMINISTRATOR, MAIN, "foreign", ""),
        (ADMINISTRATOR, MAIN, "foreign sub", ""),
        (MANAGER, MAIN, "main", LOCATIONS),
        (MANAGER, MAIN, "sub", REACHED),
        (MANAGER, MAIN, "another sub", REACHED),
        (MANAGER, MAIN, "foreign", ""),
        (MANAGER, MAIN, "foreign sub", ""),
        (MEMBER, MAIN, "main", "forward_calls see_calls"),
        (MEMBER, MAIN, "sub", ""),
        (MEMBER, MAIN, "foreign", ""),
        (ADMINISTRATOR, SUB, "sub", EVERYTHING),
        (ADMINISTRATOR, SUB, "main", ""),
        (ADMINISTRATOR, SUB, "another sub", ""),
        (MEMBER, SUB, "sub", "forward_calls see_calls"),
        (MEMBER, SUB, "main", ""),
        (MEMBER, SUB, "another sub", ""),
    ],
)
def test_a_role_reaches_its_own_account_and_its_sub_accounts(role: Role, of: int, to: str, actions: str) -> None:
    assert allowed(person(roles={of: role}), to) == set(actions.split())


def test_a_local_role_and_one_in_the_main_account_add_up() -> None:
    both = person(roles={MAIN: MANAGER, SUB: ADMINISTRATOR})
    assert allowed(both, "sub") == {*EVERYTHING.split(), "tag"}
    both = person(roles={MAIN: MANAGER, SUB: MEMBER})
    assert allowed(both, "sub") == set(REACHED.split())


@pytest.mark.parametrize("role", [ADMINISTRATOR, MANAGER])
def test_a_link_does_not_reach_the_contracts(role: Role) -> None:
    for origin in Origin:
        account = Account(id=SUB, main_id=MAIN, origin=origin)
        assert may(person(roles={MAIN: role}), Action.CHANGE_CONTRACT, account) == (origin is not Origin.LINK)
        assert may(person(roles={SUB: role}), Action.CHANGE_CONTRACT, account)


def test_a_detached_account_is_out_of_reach() -> None:
    manager = person(roles={MAIN: MANAGER})
    account = Account(id=SUB, main_id=MAIN)
    assert may(manager, Action.VIEW, account)
    account.main_id = None
    assert not any(may(manager, action, account) for action in Action)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_staff_look_everywhere_and_touch_nothing_of_the_customers(account: str) -> None:
    assert allowed(person(is_staff=True), account) == {"view", "see_calls", "operate"}
    assert allowed(person(), account) == set()


def test_staff_who_are_customers_too_keep_their_own_rights() -> None:
    somebody = person(is_staff=True, roles={MAIN: ADMINISTRATOR})
    assert allowed(somebody, "main") == {*EVERYTHING.split(), "operate"}


@pytest.mark.parametrize(
    ("scopes", "to", "actions"),
    [
        ({Scope.READ}, "main", "view"),
        ({Scope.READ}, "sub", "view"),
        ({Scope.READ}, "foreign", ""),
        ({Scope.READ}, "foreign sub", ""),
        ({Scope.WRITE}, "main", "order link detach change_contract prove_ownership"),
        ({Scope.WRITE}, "sub", "detach change_contract tag"),
        ({Scope.WRITE}, "foreign", ""),
        ({Scope.WRITE}, "foreign sub", ""),
        (BOTH, "main", "view order link detach change_contract prove_ownership"),
        (BOTH, "sub", "view detach change_contract tag"),
        (frozenset(), "main", ""),
    ],
)
def test_a_token_is_held_to_its_account_and_its_scopes(scopes: frozenset[Scope], to: str, actions: str) -> None:
    roles = {MAIN: ADMINISTRATOR, FOREIGN: ADMINISTRATOR}
    token = person(roles=roles, token_id=1, token_account_id=MAIN, scopes=frozenset(scopes))
    assert allowed(token, to) == set(actions.split())


def test_a_token_gives_nothing_that_its_person_does_not_have() -> None:
    token = person(token_id=1, token_account_id=MAIN, scopes=BOTH)
    assert allowed(token, "main") == allowed(token, "sub") == set()
    assert allowed(replace(token, roles={MAIN: MEMBER}), "main") == set()
    allowed_there = {"view", "order", "link", "detach", "change_contract"}
    assert allowed(replace(token, roles={MAIN: MANAGER}), "main") == allowed_there
    assert allowed(replace(token, is_staff=True), "main") == set()


def test_a_sub_accounts_token_reaches_neither_main_account_nor_sibling() -> None:
    roles = {MAIN: ADMINISTRATOR, SUB: ADMINISTRATOR}
    token = person(roles=roles, token_id=1, token_account_id=SUB, scopes=frozenset({Scope.READ}))
    assert allowed(token, "sub") == {"view"}
    assert allowed(token, "main") == allowed(token, "another sub") == set()


@pytest.mark.parametrize(
    ("role", "of", "looks_at", "changes"),
    [
        (ADMINISTRATOR, "main", "order link detach", "order link detach"),
        (MANAGER, "main", "order link detach", "order link detach"),
        (MEMBER, "main", "", ""),
        # A main account's requests concern only itself, except for a request to detach a sub-account; and who has
        # not asked for that one does not change it.
        (ADMINISTRATOR, "sub", "detach", ""),
        (MEMBER, "sub", "", ""),
        (ADMINISTRATOR, "other", "", ""),
    ],
)
def test_a_request_concerns_its_main_account_and_who_is_detached(
    database: Database, role: Role, of: str, looks_at: str, changes: str
) -> None:
    with database.transaction() as session:
        accounts = {"main": make_main(session)[0], "sub": make_account(session), "other": make_main(session)[0]}
        main, sub = accounts["main"], accounts["sub"]
        attach(session, main.id, sub.id, Origin.LINK, NOW)
        session.flush()
        somebody = person(roles={accounts[of].id: role})
        asked = [
            Request(kind=kind, main_id=main.id, account_id=sub.id) for kind in (Kind.ORDER, Kind.LINK, Kind.DETACH)
        ]
        assert [request.kind for request in asked if concerns(session, somebody, request)] == looks_at.split()
        assert [request.kind for request in asked if may_change(session, somebody, request)] == changes.split()
        by_sub = Request(kind=Kind.DETACH, main_id=main.id, account_id=sub.id, by_sub_account=True)
        assert may_change(session, somebody, by_sub) == (of == "sub" and role is ADMINISTRATOR)
        # A token gives no rights outside its account.
        token = replace(somebody, token_id=1, token_account_id=accounts["other"].id, scopes=BOTH)
        assert not [request for request in asked if of != "other" and concerns(session, token, request)]


def test_who_is_not_known_is_hashed_as_slowly_as_anybody() -> None:
    assert not passwords._hasher.check_needs_rehash(passwords._NOBODY)
    with pytest.raises(VerifyMismatchError):
        passwords._hasher.verify(passwords._NOBODY, "")
