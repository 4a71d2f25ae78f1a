"""The API endpoints for proofs: submit one, have a code sent again, upload a document."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response
from sqlalchemy.orm import Session

from models.errors import NotAccepted
from models.proofs.contact_email import correct_contact
from models.proofs.document_review import upload_certificate, upload_document
from models.proofs.order_codes import confirm_email, enter_letter_code
from models.proofs.ownership import Credentials, prove_ownership
from models.proofs.replacement_codes import ask_again
from models.requests.requests import Request
from web.api import schemas
from web.api.access import caller, get_changeable_request, get_visible_request, now
from web.api.blueprint import api
from web.api.call_transaction import call_transaction
from web.api.idempotency import begin_call
from web.api.response_bodies import request_body
from web.resources import resources
from web.uploads import read_document

AnyProof = schemas.EmailCode | schemas.LetterCode | schemas.Credentials | schemas.LinkCode


@api.post(
    "/requests/<id>/proofs",
    responses={200: schemas.RequestBody, 409: schemas.Problem, 422: schemas.Problem, 429: schemas.Problem},
)
def give_proof(path: schemas.RequestPath, body: schemas.ProofBody) -> Response:
    """Submit a proof that the request waits for: a code, or the login of an administrator of the account to attach.

    Answers 422 if the proof is wrong or has expired, without saying which of the two; 409 if the request does not wait
    for this proof; 429 after too many wrong proofs.
    """
    proof = body.root
    with call_transaction() as session:
        customer_number = get_visible_request(session, path.id).customer_number
    if isinstance(proof, schemas.Credentials):
        resources().throttle.begin_password_try(proof.email)
    else:
        resources().throttle.begin_code_try(customer_number, caller().user_id)
    accepted = True
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            target = get_changeable_request(session, path.id)
            accepted = _submit(session, target, proof)
            if accepted:
                session.flush()
                call.save_answer(200, request_body(session, target), about=target)
            else:
                resources().throttle.count_wrong_try()
                call.release_key()
    if not accepted:
        raise NotAccepted("password" if isinstance(proof, schemas.Credentials) else "code")
    call.log_acceptance()
    return call.response()


@api.post(
    "/requests/<id>/resend",
    responses={200: schemas.RequestBody, 409: schemas.Problem, 429: schemas.Problem},
)
def resend(path: schemas.RequestPath, body: schemas.ResendBody) -> Response:
    """Send a code or a request for consent again, by mail or letter. A new code voids the previous code.

    Answers 429 with `Retry-After` if the previous mail or letter was sent too recently, or if the company has reached
    its limit of letters a day; 409 if the request does not wait for that proof, or if five codes were sent already.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            target = get_changeable_request(session, path.id, lock=True)
            ask_again(session, caller(), target, body.what, now(), resources().settings.limits)
            session.flush()
            call.save_answer(200, request_body(session, target), about=target)
    call.log_acceptance()
    return call.response()


@api.post(
    "/requests/<id>/contact",
    responses={200: schemas.RequestBody, 409: schemas.Problem, 422: schemas.Problem, 429: schemas.Problem},
)
def correct_contact_address(path: schemas.RequestPath, body: schemas.ContactAddressBody) -> Response:
    """Correct the e-mail address of an order's contact; a mail then asks the contact at the new address to confirm it.

    The company's other orders that wait for a confirmation from the old address get the new address too. The link in
    the old mail is void. Answers 200 with the order; 409 if the order does not wait for its contact's confirmation, or
    if the address was corrected three times already; 422 if the address is malformed or equals the old one; 429 if the
    company has reached its daily limit of contacts to ask.
    """
    with call_transaction() as session:
        call = begin_call(session)
        if call.is_new:
            # All orders with this contact are locked together, in one order.
            target = get_changeable_request(session, path.id)
            correct_contact(session, caller(), target, body.email, now(), resources().settings.limits)
            session.flush()
            call.save_answer(200, request_body(session, target), about=target)
    call.log_acceptance()
    return call.response()


@api.post(
    "/requests/<id>/address-document",
    responses={
        200: schemas.RequestBody,
        409: schemas.Problem,
        413: schemas.Problem,
        415: schemas.Problem,
        422: schemas.Problem,
        429: schemas.Problem,
    },
)
def upload_address_document(path: schemas.RequestPath, form: schemas.DocumentForm) -> Response:
    """Upload a document that is to prove the connection address of an order, or the new one of a move.

    Staff decide later whether they accept the document. Answers 409 if the request does not wait for a proof of its
    address, 422 for a file of another type than PDF, PNG or JPEG, or one that is empty or larger than 10 MB, and 429
    after ten documents within a day.
    """
    return _save_document(path, form, upload_document)


@api.post(
    "/requests/<id>/certificate",
    responses={
        200: schemas.RequestBody,
        409: schemas.Problem,
        413: schemas.Problem,
        415: schemas.Problem,
        422: schemas.Problem,
        429: schemas.Problem,
    },
)
def upload_certificate_of_need(path: schemas.RequestPath, form: schemas.DocumentForm) -> Response:
    """Upload a certificate of need: a document that shows why a SIP trunk is to have more than 100 numbers.

    Staff decide later whether they accept the document. Answers 409 if the request does not wait for a certificate, 422
    for a file of another type than PDF, PNG or JPEG, or one that is empty or larger than 10 MB, and 429 after ten
    documents within a day.
    """
    return _save_document(path, form, upload_certificate)


def _save_document(path: schemas.RequestPath, form: schemas.DocumentForm, save: Callable[..., object]) -> Response:
    upload = read_document(form.file, "file")
    with call_transaction() as session:
        call = begin_call(session, upload.content)
        if call.is_new:
            target = get_changeable_request(session, path.id, lock=True)
            save(session, caller(), target, upload.name, upload.media_type, upload.content, now())
            session.flush()
            call.save_answer(200, request_body(session, target), about=target)
    call.log_acceptance()
    return call.response()


def _submit(session: Session, target: Request, proof: AnyProof) -> bool:
    """Check the proof for the request `target`, and record it if it is right; return whether it is right.

    Raises `NotAwaited` if the request does not wait for a proof of this kind.
    """
    vault = resources().vault
    match proof:
        case schemas.EmailCode(code=code):
            return confirm_email(session, vault, target, code, now())
        case schemas.LetterCode(code=code):
            return enter_letter_code(session, vault, target, code, now())
        case schemas.LinkCode(code=code):
            return prove_ownership(session, vault, target, code, now())
        case schemas.Credentials(email=email, password=password):
            return prove_ownership(session, vault, target, Credentials(email, password.get_secret_value()), now())
