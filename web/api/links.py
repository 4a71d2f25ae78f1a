"""The API endpoints that attach an existing account, detach an account and create link codes."""

from __future__ import annotations

import uuid

from flask import Response, request

from models.errors import AlreadyRequested, InvalidField
from models.links.links import LinkDraft, submit_detach, submit_link
from models.people.rights import Action
from models.proofs.link_codes import create_link_code
from models.proofs.ownership import Credentials
from models.proofs.proofs import OwnershipProof
from models.requests.requests import Request
from models.states import Kind, ProofMethod
from models.typed_codes import display_code
from web.api import schemas
from web.api.access import caller, get_visible_account, now, token_account
from web.api.blueprint import api
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import request_body, request_url
from web.request_bodies import CredentialsProof, LinkBody, LinkCodeProof, LinkProof
from web.resources import resources


@api.post(
    "/link-requests",
    responses={202: schemas.RequestBody, 409: schemas.Problem, 429: schemas.Problem},
)
def create_link_request(body: LinkBody) -> Response:
    """Request to attach an existing account to the account of the API token, as a sub-account.

    With `switch` the account may belong to another main account. It is then moved in one step, once its ownership is
    proved and its present main account has consented, within 14 days; the request's proof `main_consent` shows the
    state of that consent. An account without a main account is attached as it is without `switch`.

    Answers 202 with the new request even if there is no such account or the proof of ownership is wrong, so that an
    outsider learns neither. Answers 409 if a link request or switch for this account is running already, or if the
    token's account is closed or a sub-account. Answers 429 after too many wrong proofs, if consent for this account, or
    a switch of it, was asked for five times within a day, or if the company has reached its daily limit of accounts
    whose administrators it asks.
    """
    draft = LinkDraft(
        body.customer_number,
        ProofMethod(body.proof.method),
        _proof_of_ownership(body.proof),
        body.locale or caller().locale,
        Kind.SWITCH if body.switch else Kind.LINK,
    )
    match draft.means:
        case Credentials(email=email):
            resources().throttle.begin_password_try(email)
        case str():
            resources().throttle.begin_code_try(draft.customer_number, caller().user_id)
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            link = submit_link(
                session,
                resources().vault,
                caller(),
                token_account(session),
                draft,
                now(),
                usual=resources().settings.limits,
            )
            if draft.means is not None and session.get(OwnershipProof, link.id) is None:
                resources().throttle.count_wrong_try()
            call.save_answer(202, request_body(session, link), about=link, location=request_url(link))
    call.log_acceptance()
    return call.response()


@api.delete(
    "/accounts/<customer_number>/link",
    responses={202: schemas.RequestBody, 404: schemas.Problem, 409: schemas.Problem, 429: schemas.Problem},
)
def detach_account(path: schemas.AccountPath, query: schemas.DetachQuery) -> Response:
    """Request to detach a sub-account from its main account, at once or at the start of a day.

    `effective_on` is that day, in Berlin. If a detachment at once or for the same day is running, returns that request.
    If one is planned for another day, the new request replaces it; but a detachment that the other side (main account
    or sub-account) has planned can only be replaced by an earlier one. Until its day the side that requested it can
    withdraw it by `POST /requests/{id}/cancel`. Answers 429 if the person has requested it ten times within a day.

    Once detached, the account is no longer visible to the main account. A call that repeats the `Idempotency-Key` still
    gets the first answer; any other call of the main account gets 404.
    """
    if request.get_json(silent=True):
        # A day in a body that nobody reads would detach at once.
        raise InvalidField("", "no_body")
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            account = get_visible_account(session, path.customer_number, Action.DETACH)
            try:
                detach = submit_detach(session, caller(), account, caller().locale, now(), query.effective_on)
            except AlreadyRequested as running:
                detach = session.get_one(Request, uuid.UUID(running.request_id))
            call.save_answer(202, request_body(session, detach), about=detach, location=request_url(detach))
    call.log_acceptance()
    return call.response()


@api.post(
    "/accounts/<customer_number>/link-code",
    responses={201: schemas.LinkCodeBody, 403: schemas.Problem, 404: schemas.Problem, 409: schemas.Problem},
)
def make_link_code(path: schemas.AccountPath) -> Response:
    """Create a link code, with which a main account can attach this account. The account's previous code becomes void.

    The code is valid for 7 days and can be used once. Answers 403 if the caller may not prove ownership of the account,
    409 if the account is a main account itself.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            account = get_visible_account(session, path.customer_number, Action.PROVE_OWNERSHIP)
            code = create_link_code(session, caller(), account, now())
            # Saved are the words that the code is derived from, not the code.
            call.save_answer(201, {"code": code.words(), "expires_at": code.expires_at.isoformat()})
    return call.response({**call.body, "code": display_code(resources().vault.code(*call.body["code"]))})


def _proof_of_ownership(proof: LinkProof) -> Credentials | str | None:
    match proof:
        case CredentialsProof(email=email, password=password):
            return Credentials(email, password.get_secret_value())
        case LinkCodeProof(code=code):
            return code
        case _:
            return None
