"""Find the caller of an API call, and the accounts and requests that the caller may see or change."""

from __future__ import annotations

import uuid
from datetime import datetime

from flask import g
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, account_by_number
from models.errors import Forbidden, NotFound
from models.people.rights import Action, Principal, may
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from web.resources import resources


def caller() -> Principal:
    """Return the user that the API token of the current call belongs to, limited to the token's account and scopes."""
    principal = g.principal
    assert isinstance(principal, Principal)
    return principal


def detached_token_account() -> Account:
    """Return the account of the current call's API token, detached from any database session.

    Its columns have the values that were read at the start of the call; nothing further can be loaded through it.
    """
    account = g.account
    assert isinstance(account, Account)
    return account


def token_account(session: Session) -> Account:
    """Return the account of the current call's API token, attached to the session; reads nothing from the database."""
    return session.merge(detached_token_account(), load=False)


def viewable_token_account(session: Session) -> Account:
    """Return the account of the current call's API token. Raises `Forbidden` if the caller may not view the account."""
    account = token_account(session)
    if not may(caller(), Action.VIEW, account):
        raise Forbidden
    return account


def get_visible_request(session: Session, id: str, *, lock: bool = False) -> Request:
    """Return the request with this id; `lock` locks its row.

    Raises `NotFound` if `id` is no UUID, if there is no such request, or if the caller may not see it. The caller may
    see a request if they may view its main account; for a detachment, and for requests about contracts (changes, more
    numbers, moves, cancellations), it is enough that they may view the account that it is about. Raises `Forbidden` if
    the caller may not view the account of their API token.
    """
    viewable_token_account(session)
    found = session.get(Request, parse_uuid(id, NotFound()), with_for_update=lock or None)
    if found is None or not concerns(session, caller(), found):
        raise NotFound
    return found


def get_changeable_request(session: Session, id: str, *, lock: bool = False) -> Request:
    """Return the request with this id, which the caller may change; `lock` locks its row.

    Raises `NotFound` if `id` is no UUID, if there is no such request, or if the caller may not see it. Raises
    `Forbidden` if the caller may see the request but not change it, or may not view the account of their API token.
    """
    found = get_visible_request(session, id, lock=lock)
    if not may_change(session, caller(), found):
        raise Forbidden
    return found


def get_visible_account(session: Session, customer_number: str, action: Action = Action.VIEW) -> Account:
    """Return the account with this customer number, for an endpoint that performs `action` on the account.

    Raises `NotFound` if there is no such account, or if the caller may neither view it nor perform `action` on it. A
    caller who may only view the account gets it, too: the function that performs `action` refuses it then.
    """
    account = account_by_number(session, customer_number)
    if account is None or not (may(caller(), Action.VIEW, account) or may(caller(), action, account)):
        raise NotFound
    return account


def parse_uuid(text: str, error: Exception) -> uuid.UUID:
    """Return the UUID that the text spells. Raises the exception `error` if the text is no UUID."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise error from None


def now() -> datetime:
    """Return the current time by the clock that `create_app` was given: the database server's by default."""
    return resources().clock()
