"""The template variables and attachments of receipt mails, read from the database only when the mail is sent.

Accepting a request therefore does not have to compute them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.contract_holders import read_holders
from models.calendar_days import end_of_day
from models.changes.quotes import agreed_quote
from models.messages.outbox import Message
from models.proofs.certificates import certificate_until, needs_certificate, numbers_with
from models.proofs.deadlines import VALID_FOR
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import CodedProof, Consent
from models.proofs.required_proofs import is_proved_by_company, order_proofs
from models.requests.requests import Request
from models.states import ENDED, Kind, ProofMethod, Reason, Status
from models.values import Locale
from tasks.outbox.bulk_receipt_facts import bulk_facts, bulk_table
from tasks.outbox.price_facts import price_facts
from tasks.outbox.what_changes import added_numbers, changed_terms, moved_terms
from tasks.outbox.what_was_ordered import placed_order
from tasks.ports import Attachment
from tasks.settings import Carrier
from tasks.wording.reasons import reason_text


@dataclass(frozen=True, slots=True)
class Details:
    """Template variables (`facts`) and attachments of a mail that are not stored with the queued message.

    `attach` makes the attachments. It needs no database, so it can be called after the transaction has ended.
    """

    facts: Mapping[str, Any]
    attach: Callable[[], Sequence[Attachment]] = list


NOTHING = Details({})
"""No variables and no attachments: for a message whose row contains everything that the mail says."""


class Receipts:
    """Reads the details of several receipt mails, with as many statements for all of them as for one.

    `messages` are queued receipt mails, whose templates must be keys of `RECEIPTS`. `base_url` is the portal's URL,
    with which links in attached PDFs begin; `carrier` is the sender that these PDFs name.
    """

    def __init__(self, session: Session, messages: Sequence[Message], base_url: str, carrier: Carrier) -> None:
        self.session, self.base_url, self.carrier = session, base_url, carrier
        whole = joinedload(Request.main), joinedload(Request.account), joinedload(Request.requester)
        query = sa.select(Request).where(Request.id.in_({message.request_id for message in messages}))
        found = session.scalars(query.options(*whole, joinedload(Request.area)))
        self._requests = {request.id: request for request in found}
        read_holders(session, {request.main for request in self._requests.values()})
        self.proofs = ProofBook(session, list(self._requests.values()), lock=False)

    def details(self, message: Message) -> Details:
        """Return the template variables of one of the mails, with a function that makes its attachments."""
        return RECEIPTS[message.template](self, message)

    def request(self, message: Message) -> Request:
        """Return the request that the mail confirms."""
        assert message.request_id is not None
        return self._requests[message.request_id]


def _order(receipts: Receipts, message: Message) -> Details:
    request = receipts.request(message)
    order = placed_order(receipts.session, request, message.locale)
    facts = {
        **_about(request),
        **price_facts(order.lines),
        "asked": _asked(receipts, request, message.locale),
        "location_name": order.location.name,
        "street": order.location.street,
        "postal_code": order.location.postal_code,
        "city": order.location.city,
        "contact_name": order.contact.name,
        "contact_email": order.contact.email,
        "channels": order.channels,
        "block_size": order.block_size,
        "area_code": order.area_code,
        "town": order.town,
    }
    link, carrier = receipts.base_url + message.facts["path"], receipts.carrier
    return Details(facts, lambda: [order.pdf(link, carrier)])


def _link(receipts: Receipts, message: Message) -> Details:
    request = receipts.request(message)
    facts = {**_about(request), "kind": request.kind}
    if request.asked_proof is ProofMethod.CONSENT and request.status not in ENDED:
        facts["until"] = _deadline(request, receipts.session.get(Consent, request.id))
    return Details(facts)


def _change(receipts: Receipts, message: Message) -> Details:
    request = receipts.request(message)
    terms = changed_terms(receipts.session, agreed_quote(request), message.locale)
    return Details({**_about(request), **terms.facts()})


def _numbers_receipt(receipts: Receipts, message: Message) -> Details:
    """Return the template variables of the receipt mail for an order of more phone numbers, without attachments.

    If the order needs a certificate of need, the variable `needed` is how many phone numbers the certificate has to
    justify. `until` is then the deadline for handing it in. Otherwise both are None.
    """
    session, request = receipts.session, receipts.request(message)
    facts = {**_about(request), **added_numbers(session, request, message.locale).facts()}
    awaits = request.status not in ENDED and request.reserved_block_id is None and needs_certificate(session, request)
    facts["needed"] = numbers_with(session, request) if awaits else None
    facts["until"] = certificate_until(request).isoformat() if awaits else None
    return Details(facts)


def _move(receipts: Receipts, message: Message) -> Details:
    request = receipts.request(message)
    facts = {**_about(request), **moved_terms(receipts.session, request).facts()}
    return Details({**facts, "asked": _asked(receipts, request, message.locale)})


def _bulk(receipts: Receipts, message: Message) -> Details:
    facts, rows = bulk_facts(receipts.session, uuid.UUID(message.facts["bulk_id"]), message.locale)
    return Details(facts, partial(bulk_table, facts["kind"], rows, message.locale))


RECEIPTS: Mapping[str, Callable[[Receipts, Message], Details]] = {
    "order_receipt": _order,
    "link_receipt": _link,
    "bulk_receipt": _bulk,
    "change_receipt": _change,
    "numbers_receipt": _numbers_receipt,
    "move_receipt": _move,
}
"""By name of a receipt mail's template: the function that reads its variables and attachments from the database."""


def _about(request: Request) -> dict[str, Any]:
    until = request.approval_until
    return {
        "customer_number": request.customer_number,
        "main_customer_number": request.main.customer_number,
        "main_account_name": request.main.name,
        "ordered_at": request.created_at.isoformat(),
        "status": request.status,
        "approval_until": until.isoformat() if until is not None and _awaits_approval(request) else None,
    }


def _awaits_approval(request: Request) -> bool:
    return request.approval_until is not None and request.approved is None and request.status not in ENDED


def _asked(receipts: Receipts, request: Request, locale: Locale) -> list[dict[str, Any]]:
    """Return what a running order or move waits for, as dicts with the keys `what` and `until`; empty if it has ended.

    `what` is `email` or `address` for a proof that is still missing, and `until` its deadline in ISO format. If the
    order is held, or the contact's address refuses mail, the list has one entry only: `what` is then `held` or
    `reason`, `text` the sentence that explains it, and `until` may be None.
    """
    if request.status in ENDED:
        return []
    if request.approval_until is not None and _awaits_approval(request):
        text = reason_text(Reason.APPROVAL_AWAITED, locale)
        return [{"what": "reason", "text": text, "until": request.approval_until.isoformat()}]
    if request.reason is Reason.CONTACT_REFUSED or request.status is Status.HELD:
        assert request.reason is not None
        until = request.waiting_until.isoformat() if request.waiting_until is not None else None
        what = "held" if request.status is Status.HELD else "reason"
        return [{"what": what, "text": reason_text(request.reason, locale), "until": until}]
    proofs = order_proofs(receipts.proofs, request, request.requester)
    asked = []
    if proofs.awaits_email:
        asked.append({"what": "email", "until": _deadline(request, proofs.email)})
    is_proved = request.address_proved_at is not None or (
        request.kind is Kind.MOVE and is_proved_by_company(receipts.session, request)
    )
    if proofs.awaits_address and not is_proved:
        asked.append({"what": "address", "until": _deadline(request, proofs.address)})
    return asked


def _deadline(request: Request, proof: CodedProof | None) -> str:
    """Return the deadline of a proof in ISO format.

    It is the end of the 14th day (`VALID_FOR`) after the order if the proof has yet to be requested. That is so if it
    was never requested (None), or if it had expired before the order was placed.
    """
    until = end_of_day(request.created_at + VALID_FOR)
    if proof is not None and proof.expires_at > request.created_at:
        until = proof.expires_at
    return until.isoformat()
