"""Calls of the JSON API that several test modules make, and the accounts and tokens that they need."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from models.accounts.accounts import Account
from models.people.rights import Scope
from models.people.users import User
from tests.factories import make_account, make_user
from tests.statements import recorded_statements
from tests.web.conftest import ORDER, Back, Front

CONTACT = ORDER["contact"]["email"]
PDF = b"%PDF-1.7 a register extract"


def an_order(front: Front, back: Back) -> str:
    """Place the example order by the API and run the workers, so that it waits for its proofs; return its id."""
    id: str = front.post("/orders", ORDER).get_json()["id"]
    back.advance()
    return id


def a_link(front: Front, number: str, method: str = "consent", **means: str) -> TestResponse:
    """Post a request to link the account with this customer number, with the kind of proof `method`.

    `means` are further fields of the proof, such as a code. Return the answer.
    """
    return front.post("/link-requests", {"customer_number": number, "proof": {"method": method, **means}})


def upload(
    front: Front,
    id: str,
    content: bytes,
    name: str = "Auszug.pdf",
    key: str = "upload",
    to: str = "address-document",
) -> TestResponse:
    """Upload a document for the request `id` with the idempotency key `key`; return the answer.

    It goes to the path `to` below the request: an address proof, unless another one is given.
    """
    boundary, body = encode_multipart({"file": FileStorage(io.BytesIO(content), name)})
    return front.client.post(
        f"/api/v1/requests/{id}/{to}",
        data=body,
        content_type=f"multipart/form-data; boundary={boundary}",
        headers={"Authorization": f"Bearer {front.token}", "Idempotency-Key": key},
    )


def owned(front: Front) -> tuple[Account, User]:
    """Create an account of another company. Return the account and its administrator."""
    with front.database.transaction() as session:
        owner = make_user(session)
        return make_account(session, administrator=owner), owner


@contextmanager
def statements() -> Iterator[list[str]]:
    """Record the SQL statements that run in the `with` block; yield a list that is filled when the block ends.

    The list then has one text for each statement: its beginning, without FROM, SET or VALUES and what follows.
    """
    said: list[str] = []
    with recorded_statements() as ran:
        yield said
    said += [statement.split("FROM")[0].split("SET")[0].split("VALUES")[0] for statement in ran]


def new_link_code(front: Front, account: Account, owner: User) -> str:
    """Create a link code by the API as `owner`, the account's administrator; return the code."""
    mine, front.token = front.token, token_of(front, account, owner)
    made = front.post(f"/accounts/{account.customer_number}/link-code")
    front.token = mine
    assert made.status_code == 201
    code: str = made.get_json()["code"]
    return code


def token_of(front: Front, account: Account, user: User) -> str:
    """Create an API token of the user for the account, which may read and write; return the token."""
    before = front.main, front.manager
    front.main, front.manager = account, type(before[1])(user.id, user.email, user.name, user.locale)
    token = front.token_with(Scope.READ, Scope.WRITE)
    front.main, front.manager = before
    return token
