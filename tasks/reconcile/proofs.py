"""Job `proofs`: find pending requests for which a proof's reminder or deadline was missed, and schedule them.

Their step `verify` then sends the reminder or rejects the request.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from models.links.invoice_membership import ask_late_administrators
from models.proofs.certificates import AWAITED, needs_certificate
from models.proofs.consent_reach import forget_ended
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import CodedProof, Consent, LinkCode, MainConsent
from models.proofs.required_proofs import is_proved_by_company, order_proofs
from models.requests.approvals import AWAITING as APPROVAL_AWAITING
from models.requests.approvals import approvers_of, company_of
from models.requests.requests import Request
from models.states import PROVING_ADDRESS, Actor, Kind, Reason, Status
from tasks.reconcile.job_run import Run
from tasks.reconcile.request_batches import look_at_requests


def reconcile_proofs(run: Run) -> None:
    """Schedule pending requests to be worked on now if a proof's reminder or deadline has passed, and report them.

    Also does four other things. It ends expired link codes. It removes questions for consent of ended requests from the
    back office's list. It counts pending requests by the party that has to act. It mails offers of a collective invoice
    that reached nobody to administrators who have joined since (count `offers_asked_again`).

    A request that needs no certificate of need any more, because an older request was taken back, is scheduled too
    (count `needs_over`), and so is one whose address was proved by somebody who does not see it (count
    `proved_meanwhile`). So is one that waits for an approval if nobody can give it any more, or somebody can again
    (count `approvers_changed`). Safe to run twice: the step `verify` sends no reminder twice.
    """
    with run.transaction() as session:
        expired = sa.update(LinkCode).where(LinkCode.ended_at.is_(None), LinkCode.expires_at <= run.now)
        ended = session.scalars(expired.values(ended_at=run.now).returning(LinkCode.id)).all()
        run.counts["link_codes_ended"] = len(ended)
        forget_ended(session)
        run.counts["offers_asked_again"] = ask_late_administrators(session, run.now)
        waiting = sa.select(Request.waiting_for, sa.func.count()).where(Request.waiting_for.is_not(None))
        for actor, count in session.execute(waiting.group_by(Request.waiting_for)):
            run.counts[f"waiting_for_{actor}"] = count
    asleep = sa.select(Request).where(
        Request.status == Status.PENDING,
        Request.lease.is_(None),
        Request.due_at > run.now,
    )
    with_people = asleep.options(selectinload(Request.account), selectinload(Request.requester))
    look_at_requests(run, with_people, partial(_wake_late, run))


def _wake_late(run: Run, session: Session, requests: Sequence[Request]) -> None:
    now = run.now
    # Not locked: giving a proof locks the proof before the requests that wait for it.
    book = ProofBook(session, requests, lock=False)
    ids = [request.id for request in requests]
    consents: dict[uuid.UUID, tuple[str, CodedProof]] = {
        consent.request_id: ("consent", consent)
        for consent in session.scalars(sa.select(Consent).where(Consent.request_id.in_(ids)))
    }
    # Once the main account is asked, ownership is proved, and the first question is over.
    for of_main in session.scalars(sa.select(MainConsent).where(MainConsent.request_id.in_(ids))):
        consents[of_main.request_id] = "main_consent", of_main
    can_be_approved: dict[tuple[int, int | None], bool] = {}
    for request in requests:
        if request.reason in AWAITED and not needs_certificate(session, request):
            request.make_due(now)
            run.counts["needs_over"] += 1
        if request.reason in APPROVAL_AWAITING:
            # One question for all orders of a file.
            whose = company_of(request), request.requested_by
            if whose not in can_be_approved:
                can_be_approved[whose] = bool(approvers_of(session, request))
            if can_be_approved[whose] is not (request.waiting_for is Actor.APPROVER):
                request.make_due(now)
                run.counts["approvers_changed"] += 1
        if request.reason is Reason.ADDRESS_NOT_PROVED and _is_proved(session, book, request):
            request.make_due(now)
            run.counts["proved_meanwhile"] += 1
        late = {what: proof.wakes_at() for what, proof in _awaited(book, consents, request)}
        late = {what: at for what, at in late.items() if at <= now}
        if late:
            request.make_due(now)
            run.find(
                "proof_overdue",
                str(request.id),
                repaired=True,
                customer_number=request.customer_number,
                what=sorted(late),
                since=min(late.values()).isoformat(),
            )


def _is_proved(session: Session, book: ProofBook, request: Request) -> bool:
    """Return whether the address for which the request waits is proved, by its own proof or by the main account's."""
    if not order_proofs(book, request, request.requester).awaits_address:
        return True
    return request.kind is Kind.MOVE and is_proved_by_company(session, request)


def _awaited(
    book: ProofBook, consents: Mapping[uuid.UUID, tuple[str, CodedProof]], request: Request
) -> Iterator[tuple[str, CodedProof]]:
    if request.id in consents:
        yield consents[request.id]
    # Nothing else is asked for before the approval.
    if request.kind in PROVING_ADDRESS and request.reason not in APPROVAL_AWAITING:
        yield from order_proofs(book, request, request.requester).asked()
