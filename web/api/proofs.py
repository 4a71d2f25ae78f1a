"""Proofs in the API: give one, have a code sent anew, hand in a document, make a link code."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from models.errors import NotAccepted
from models.people.rights import Action
from models.proofs.submission import (
    Credentials,
    ask_again,
    confirm_email,
    create_link_code,
    enter_letter_code,
    prove_ownership,
    upload_document,
)
from models.requests.requests import Request
from models.vault import display_code
from web.api import schemas
from web.api.calls import (
    POST,
    Answer,
    WrongTry,
    api,
    caller,
    changeable,
    changed,
    known_account,
    now,
    once,
    own_request,
)
from web.resources import resources
from web.uploads import read_document

AnyProof = schemas.EmailCode | schemas.LetterCode | schemas.Credentials | schemas.LinkCode


@api.post(
    "/requests/<id>/proofs",
    responses={200: schemas.RequestBody, 409: schemas.Problem, 422: schemas.Problem, 429: schemas.Problem},
    openapi_extensions=POST,
)
def give_proof(path: schemas.RequestPath, body: schemas.ProofBody) -> Response:
    """Give a proof that the request waits for. One that is not accepted is 422, the same whatever is wrong with it."""
    proof = body.root
    with resources().database.transaction() as session:
        target = own_request(session, path.id).customer_number
    resources().throttle.begin_try(target)

    def act(session: Session) -> Answer:
        found = changeable(session, path.id)
        if _is_accepted(session, found, proof):
            return changed(session, found)
        resources().throttle.count_wrong_try()
        raise WrongTry(NotAccepted("password" if isinstance(proof, schemas.Credentials) else "code"))

    return once(act)


@api.post(
    "/requests/<id>/resend",
    responses={200: schemas.RequestBody, 409: schemas.Problem, 429: schemas.Problem},
    openapi_extensions=POST,
)
def resend(path: schemas.RequestPath, body: schemas.ResendBody) -> Response:
    """Have a code sent anew, by mail or post. The old one is void; `Retry-After` says when it is too early."""

    def act(session: Session) -> Answer:
        found = changeable(session, path.id, lock=True)
        ask_again(session, found, body.what, now())
        return changed(session, found)

    return once(act)


@api.post(
    "/requests/<id>/address-document",
    responses={
        200: schemas.RequestBody,
        409: schemas.Problem,
        413: schemas.Problem,
        415: schemas.Problem,
        422: schemas.Problem,
    },
    openapi_extensions=POST,
)
def upload_address_document(path: schemas.RequestPath, form: schemas.DocumentForm) -> Response:
    """Hand in a document that proves the connection address; the back office looks at it."""
    upload = read_document(form.file, "file")

    def act(session: Session) -> Answer:
        found = changeable(session, path.id, lock=True)
        upload_document(session, caller(), found, upload.name, upload.media_type, upload.content, now())
        return changed(session, found)

    return once(act, upload.content)


@api.post(
    "/accounts/<customer_number>/link-code",
    responses={201: schemas.LinkCodeBody, 403: schemas.Problem, 404: schemas.Problem, 409: schemas.Problem},
    openapi_extensions=POST,
)
def make_link_code(path: schemas.AccountPath) -> Response:
    """A code by which somebody else may attach this account: valid 7 days, for one use. The one before is void."""

    def act(session: Session) -> Answer:
        account = known_account(session, path.customer_number, Action.PROVE_OWNERSHIP)
        code = create_link_code(session, caller(), account, now())
        # What is kept are the words that it is derived from, not the code.
        return Answer(201, {"code": code.words(), "expires_at": code.expires_at.isoformat()})

    def shown(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "code": display_code(resources().vault.code(*body["code"]))}

    return once(act, shown=shown)


def _is_accepted(session: Session, found: Request, proof: AnyProof) -> bool:
    """Give the proof. Raises `NotAwaited`."""
    vault = resources().vault
    match proof:
        case schemas.EmailCode(code=code):
            return confirm_email(session, vault, found, code, now())
        case schemas.LetterCode(code=code):
            return enter_letter_code(session, vault, found, code, now())
        case schemas.LinkCode(code=code):
            return prove_ownership(session, vault, found, code, now())
        case schemas.Credentials(email=email, password=password):
            return prove_ownership(session, vault, found, Credentials(email, password.get_secret_value()), now())
