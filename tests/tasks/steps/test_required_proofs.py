"""Tests that all parts of the portal agree which proofs an order needs.

The parts are the summary, the step `verify`, pages, the scheduled job `proofs` and requests for new codes.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from models.errors import NotAwaited
from models.orders.orders import Contact, OrderDraft
from models.people.users import User, principal_of
from models.proofs.proof_status import ProofKind, ProofState, proof_statuses
from models.proofs.proofs import AddressProof, EmailProof
from models.proofs.replacement_codes import ask_again
from models.proofs.required_proofs import draft_proofs
from models.requests.requests import Request
from models.states import AddressMethod, Status
from tests.factories import PLENTY, an_order, join, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.proving import ELSEWHERE, STRANGER, fresh, mails_to

DAY = timedelta(days=1)
KINDS = {ProofKind.EMAIL: "email", ProofKind.LETTER: "address"}


def draft_awaits(pipeline: Pipeline, draft: OrderDraft) -> set[str]:
    """Return the proofs that the order `draft` would need, as its summary shows them: "email", "address" or both."""
    with pipeline.runtime.database.transaction() as session:
        requester = session.get_one(User, pipeline.manager.user_id)
        proofs = draft_proofs(session, pipeline.main.id, draft, requester)
        return {what for what in ("email", "address") if getattr(proofs, f"awaits_{what}")}


def page_awaits(pipeline: Pipeline, id: UUID) -> set[str]:
    """Return the proofs that the request's page shows as open: "email", "address" or both."""
    with pipeline.runtime.database.transaction() as session:
        [statuses] = proof_statuses(session, [session.get_one(Request, id)], pipeline.clock.now).values()
        return {KINDS[one.kind] for one in statuses if one.state is ProofState.OPEN}


def new_code_awaits(pipeline: Pipeline, id: UUID) -> set[str]:
    """Request new codes for the order; return the proofs for which that was possible: "email", "address" or both."""
    awaited = set()
    for what, kind in (("email", "email"), ("letter", "address")):
        try:
            with pipeline.runtime.database.transaction() as session:
                ask_again(session, pipeline.manager, session.get_one(Request, id), what, pipeline.clock.now, PLENTY)
        except NotAwaited:
            continue
        awaited.add(kind)
    return awaited


def overdue(pipeline: Pipeline, id: UUID) -> set[str]:
    """Return the proofs of the request that the scheduled job `proofs` reports as late: "email", "address" or both.

    Before that, moves the clock 15 days on, past the deadlines, and makes the request due only after 60 days.
    """
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, id).make_due(pipeline.clock.now + 60 * DAY)
    pipeline.clock.advance(15 * DAY)
    findings = pipeline.findings(pipeline.run("proofs"))
    return {what for finding in findings if finding.subject == str(id) for what in finding.facts["what"]}


def give(pipeline: Pipeline, id: UUID, *given: str) -> None:
    """Record the proofs named in `given` ("email", "address") of the order `id` as given now."""
    with pipeline.runtime.database.transaction() as session:
        order = session.get_one(Request, id)
        assert order.account is not None
        if "email" in given:
            key: dict[str, object] = {"main_id": order.main_id, "address": order.account.contact_email}
            session.get_one(EmailProof, key).proved_at = pipeline.clock.now
        if "address" in given:
            key = {"main_id": order.main_id, "address_key": order.place.key}
            session.get_one(AddressProof, key).prove(AddressMethod.LETTER, pipeline.clock.now)


@pytest.mark.parametrize(
    ("given", "awaited"),
    [((), {"email", "address"}), (("email",), {"address"}), (("address",), {"email"}), (("email", "address"), set())],
)
def test_all_agree_on_what_is_asked_for(pipeline: Pipeline, given: tuple[str, ...], awaited: set[str]) -> None:
    first = pipeline.order(fresh())
    pipeline.advance()
    give(pipeline, first, *given)
    assert draft_awaits(pipeline, fresh()) == awaited
    id = pipeline.order(fresh())
    pipeline.advance()
    if not awaited:
        assert pipeline.request(id).status is Status.COMPLETED
        return
    assert pipeline.request(id).status is Status.PENDING
    assert page_awaits(pipeline, id) == awaited
    pipeline.clock.advance(3 * DAY)
    assert new_code_awaits(pipeline, id) == awaited
    assert overdue(pipeline, id) == awaited


@pytest.mark.parametrize("confirmed", [True, False])
def test_nobody_is_asked_for_an_own_address_that_is_confirmed(pipeline: Pipeline, confirmed: bool) -> None:
    with pipeline.runtime.database.transaction() as session:
        colleague = make_user(session, email_confirmed_at=pipeline.clock.now if confirmed else None)
        join(session, colleague, pipeline.main)
        person = principal_of(session, colleague)
    draft = an_order(location=ELSEWHERE, contact=Contact("Ich", colleague.email.upper(), None))
    # Somebody else's order has the colleague asked for the same address.
    other = pipeline.order(draft)
    pipeline.advance()
    assert len(mails_to(pipeline, colleague.email)) == 1
    pipeline.manager = person
    awaited = {"address"} if confirmed else {"email", "address"}
    assert draft_awaits(pipeline, draft) == awaited
    id = pipeline.order(draft)
    pipeline.advance()
    assert page_awaits(pipeline, id) == awaited and page_awaits(pipeline, other) == {"email", "address"}
    pipeline.clock.advance(3 * DAY)
    assert new_code_awaits(pipeline, id) == awaited
    assert overdue(pipeline, id) == awaited


def test_a_draft_of_another_spelling_has_the_same_proofs(pipeline: Pipeline) -> None:
    first = pipeline.order(fresh())
    pipeline.advance()
    give(pipeline, first, "email", "address")
    contact = Contact("Nele Neu", STRANGER.email.upper(), None)
    assert draft_awaits(pipeline, fresh(contact=contact)) == set()
