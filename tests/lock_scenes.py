"""Operations that lock accounts and their rows, and the rows (`Scene`) on which tests run two operations at once.

Each operation is one transaction of the web application, the console or a worker: a function of a session and a
`Scene`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.bulk.uploads import CheckedRow, fingerprints_of, keep_file
from models.calendar_days import berlin_day
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.changes.file_rows import quote_row
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.moves import MoveDraft, submit_move
from models.errors import DomainError
from models.jobs.jobs import begin_run, claim_job
from models.links.account_closing import close_account
from models.links.collective_invoices import own_item, put_on_invoice
from models.links.invoice_membership import join_invoice, leave_invoice, offer_invoice
from models.links.links import submit_detach, submit_link
from models.messages.outbox import Recipient
from models.orders.number_release import release_numbers
from models.orders.orders import blocks_wanted, cancel_and_release
from models.people import invitation_acceptance, invitations, members
from models.people.rights import Principal, Role
from models.people.users import User, principal_of
from models.proofs.contact_email import correct_contact
from models.proofs.document_review import decide_document, upload_certificate
from models.proofs.link_codes import create_link_code
from models.proofs.order_codes import confirm_email
from models.proofs.order_placement import place_order
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import EmailProof, LinkCode
from models.proofs.replacement_codes import ask_again
from models.requests.batch_locks import lock_claimed
from models.requests.moved_blocks import reserve_replacements
from models.requests.requests import Request
from models.same_address import Place
from models.staff.erasing_people import ask_for_erasure
from models.staff.sign_in_access import enter_user
from models.states import ROUTES, Actor, Kind, Origin, Reason
from models.telephony import sip_secrets, suspension
from models.telephony.allowed_destinations import CallLimits, change_limits, follow_high_risk
from models.telephony.forwarding import Condition, ForwardingDraft
from models.telephony.forwarding_changes import add_forwarding, take_over_forwarding
from models.telephony.number_pool import NumberPool, stock_pool
from models.telephony.request_uri import change_request_uri
from models.telephony.trunk_takeover import TrunkRow, TrunkTakeover, adopt_trunks
from models.telephony.trunks import RequestUri, SipTrunk
from tasks.bulk import place
from tasks.engine.advance import STEPS
from tasks.reconcile.invoices import reconcile_invoices
from tasks.reconcile.job_run import Run
from tasks.reconcile.schedule import JOBS
from tasks.steps.step import Hold, Postpone, Wait, Work
from tests.factories import NOW, PASSWORD, PLENTY, VAULT, a_link, an_order, join, make_bulk, make_user
from tests.models.telephony.conftest import Company
from tests.tasks.conftest import Pipeline

LEASE = UUID(int=1)
"""The id of the lease with which workers have claimed the scene's requests, bulk file and job."""


@dataclass
class Scene:
    """An account with the rows that belong to it, on which operations are tried, and the person who does them.

    `person` administers the account, and its main account if it has one; `id` is the account's id. `trunk`, `block`,
    `invitation` and `job_run` are ids of rows. `guest` is the id of a second user, who has a role in the account. `ids`
    are the ids of requests and bulk files that operations have prepared, by name.
    """

    pipeline: Pipeline
    person: Principal
    id: int
    trunk: int = 0
    block: int = 0
    invitation: int = 0
    guest: int = 0
    job_run: int = 0
    ids: dict[str, UUID] = field(default_factory=dict)

    def account(self, session: Session) -> Account:
        """Return the scene's account, loaded in the session."""
        return session.get_one(Account, self.id)

    def main(self, session: Session) -> Account:
        """Return the test company's main account, loaded in the session.

        The scene's account is its sub-account, or may become one.
        """
        return session.get_one(Account, self.pipeline.main.id)

    def day(self, days: int) -> date:
        """Return the date `days` days after the tests' fixed present (`NOW`)."""
        return berlin_day(NOW) + timedelta(days=days)


Act = Callable[[Session, Scene], object]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that is run at the same time as another one: `act` is its transaction.

    `prepare` makes the rows that the operation needs; this is committed before. `whole` is called instead of `act` if
    the operation opens its transactions itself. `at` names the kinds of accounts for which the operation is possible:
    "linked" (a sub-account), "alone" (no main account) or "ordered" (just ordered).
    """

    act: Act | None
    prepare: Act | None = None
    at: tuple[str, ...] = ("linked", "alone")
    whole: Callable[[Pipeline, Scene], object] | None = None

    def run(self, pipeline: Pipeline, scene: Scene) -> None:
        """Do the operation with the pipeline's database. Ignore a `DomainError`, which says that a rule forbids it.

        The other operation may have come first and changed what is allowed.
        """
        with suppress(DomainError):
            self.run_strictly(pipeline, scene)

    def run_strictly(self, pipeline: Pipeline, scene: Scene) -> None:
        """Do the operation with the pipeline's database. Raises `DomainError` if a rule forbids it."""
        if self.whole is not None:
            self.whole(pipeline, scene)
        if self.act is not None:
            with pipeline.runtime.database.transaction() as session:
                self.act(session, scene)


def make_scene(pipeline: Pipeline, kind: str) -> Scene:
    """Create an account with the rows that operations need, and return it as a scene.

    `kind` says which account: "linked" (a sub-account), "alone" (no main account) or "ordered" (newly ordered). An
    order waits until its contact confirms the e-mail address.
    """
    if kind == "ordered":
        contact = replace(an_order().contact, email="new@example.com")
        id = pipeline.order(an_order(contact=contact))
        pipeline.advance()
        account_id = pipeline.request(id).account_id
        assert account_id is not None
        return Scene(pipeline, pipeline.manager, account_id, ids={"order": id})
    with pipeline.runtime.database.transaction() as session:
        taken = session.scalar(sa.select(sa.func.count()).select_from(SipTrunk)) or 0
        company = Company(session, place=taken)
        user = session.get_one(User, company.person.user_id)
        account = company.account(session)
        if kind == "linked":
            attach(session, pipeline.main.id, account.id, Origin.LINK, NOW)
            join(session, user, session.get_one(Account, pipeline.main.id))
        guest = make_user(session)
        join(session, guest, account)
        session.flush()
        person = principal_of(session, user)
        invited = invitations.invite(session, person, account, _somebody(), Role.ADMINISTRATOR, NOW, PLENTY)
        session.flush()
        return Scene(pipeline, person, company.id, company.trunk, company.ten, invited.id, guest.id)


def _somebody() -> Recipient:
    return Recipient("Hanna Palmer", "hanna@example.com", "de")


def _prepared(name: str, submit: Callable[[Session, Scene], Request]) -> Act:
    """Return the preparation of an operation: a function that calls `submit` and claims the new request as a worker.

    It stores the request's id in `scene.ids` under `name`, a name of the caller's choice. It does nothing if the scene
    has an id of this name already.
    """

    def prepare(session: Session, scene: Scene) -> None:
        if name not in scene.ids:
            request = submit(session, scene)
            session.flush()
            request.lease, request.due_at = LEASE, NOW + timedelta(days=1)
            scene.ids[name] = request.id

    return prepare


def _free(name: str, submit: Callable[[Session, Scene], Request]) -> Act:
    """Return the preparation of an operation: a function that calls `submit` and leaves the new request unclaimed.

    A person can then cancel the request. The function stores its id in `scene.ids` under `name`, a name of the caller's
    choice. It does nothing if the scene has an id of this name already.
    """

    def prepare(session: Session, scene: Scene) -> None:
        if name not in scene.ids:
            scene.ids[name] = submit(session, scene).id

    return prepare


def _worked_on(name: str) -> Act:
    """Return an operation's transaction: a function that does all steps of a claimed request, as a worker does.

    The request is the one whose id a preparation has stored in `scene.ids` under `name`. A step that has to wait ends
    the function.
    """

    def act(session: Session, scene: Scene) -> None:
        for request in lock_claimed(session, [scene.ids[name]], LEASE):
            now = max(request.effective_at, NOW)
            pool = NumberPool(session, now, blocks_wanted([request]))
            work = Work(session, now, scene.pipeline.runtime, pool, ProofBook(session, [request]))
            request.begin(now)
            for step in ROUTES[request.kind]:
                outcome = STEPS[step](work, request)
                if isinstance(outcome, Wait | Hold | Postpone):
                    return
                if outcome is not None:
                    outcome.record(work, request, done=True)
                request.go_on(step, now)
            request.complete(now)

    return act


def _taken_back(name: str) -> Act:
    def act(session: Session, scene: Scene) -> None:
        request = session.get_one(Request, scene.ids[name], with_for_update=True)
        cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, NOW)

    return act


def _renew(session: Session, scene: Scene) -> None:
    issue = sip_secrets.issue_of(session.get_one(SipTrunk, scene.trunk))
    sip_secrets.renew(session, VAULT, scene.person, scene.account(session), scene.trunk, issue, NOW)


def _suspend_for_carrier(session: Session, scene: Scene) -> None:
    user = session.scalars(sa.select(SipTrunk.sip_user).where(SipTrunk.id == scene.trunk)).one()
    suspension.suspend_for_carrier(session, user, "Abuse", NOW)


def _set_apart(session: Session, scene: Scene) -> None:
    session.get_one(SipTrunk, scene.trunk).unadopted_since = NOW


def _adopt(session: Session, scene: Scene) -> None:
    adopt_trunks(session, NOW, {scene.trunk: None})


def _take_over(session: Session, scene: Scene, number: int = 49309018300) -> None:
    customer, user, day = scene.account(session).customer_number, f"old{scene.id}", scene.day(-100)
    # Each scene has numbers of its own.
    numbers = frozenset({number + 10 * scene.id})
    row = TrunkRow(customer, user, "sip.example", "secret", 2, "trunk-10", 1000, day, numbers)
    TrunkTakeover(session, VAULT, {"030"}, NOW).take_over([row])


def _take_over_again(session: Session, scene: Scene) -> None:
    _take_over(session, scene, 49309018301)


def _take_over_forwarding(session: Session, scene: Scene) -> None:
    user = session.get_one(SipTrunk, scene.trunk).sip_user
    take_over_forwarding(session, user, ForwardingDraft(Condition.BUSY, "+4930901820"), NOW)


def _accept(session: Session, scene: Scene) -> None:
    found = session.get_one(invitations.Invitation, scene.invitation)
    token = VAULT.token(*found.words())
    session.expunge(found)
    found = invitation_acceptance.find_invitation(session, VAULT, scene.invitation, token, NOW, lock=True)
    invitation_acceptance.accept(session, found, PASSWORD, NOW)


def _change(days: int, channels: int) -> Callable[[Session, Scene], Request]:
    def submit(session: Session, scene: Scene) -> Request:
        draft = ChangeDraft("trunk-10", channels, scene.day(days), "de")
        return submit_change(session, scene.person, scene.account(session), scene.trunk, draft, NOW)

    return submit


def _numbers(session: Session, scene: Scene) -> Request:
    draft = NumbersDraft("0521", 1, scene.day(20), "de")
    return submit_numbers(session, scene.person, scene.account(session), scene.trunk, draft, NOW, usual=PLENTY)


def _hand_in_certificate(session: Session, scene: Scene) -> None:
    """Order more numbers than a trunk can have without a certificate of need, and upload a certificate."""
    draft = NumbersDraft("0521", 100, None, "de")
    request = submit_numbers(session, scene.person, scene.account(session), scene.trunk, draft, NOW, usual=PLENTY)
    request.begin(NOW)
    request.wait_for(Actor.REQUESTER, Reason.NEED_NOT_PROVED, NOW + timedelta(days=14), NOW, NOW + timedelta(days=14))
    upload_certificate(session, scene.person, request, "Plan.pdf", "application/pdf", b"%PDF-", NOW)
    scene.ids["certificate"] = request.id


def _look_at_certificate(session: Session, scene: Scene) -> None:
    staff = make_user(session, is_staff=True)
    request = session.get_one(Request, scene.ids["certificate"])
    decide_document(session, staff, request, refusal=None, now=NOW)


def _cancellation(session: Session, scene: Scene) -> Request:
    return submit_cancellation(session, scene.person, scene.account(session), None, "de", NOW)


def _move(session: Session, scene: Scene) -> Request:
    draft = MoveDraft(Place("Alter Markt 1", "50667", "Köln"), None, scene.day(10), "de")
    return submit_move(session, scene.person, scene.account(session), draft, NOW, usual=PLENTY)


def _reserved_move(session: Session, scene: Scene) -> Request:
    """Ask for a move whose address is proved, and reserve the numbers that replace the scene's."""
    request = _move(session, scene)
    request.address_proved_at = NOW
    for size, digits in ((10, f"4{scene.id:05d}0"), (1, f"5{scene.id:05d}0")):
        stock_pool(session, "0221", digits, size, 1, NOW)
    session.flush()
    reserve_replacements(session, NumberPool(session, NOW, blocks_wanted([request])), request, NOW)
    return request


def _awaited_move(session: Session, scene: Scene) -> None:
    """Ask for a move, of which the letter was sent some days ago."""
    request = _move(session, scene)
    ProofBook(session, [request]).open_address(request, NOW - timedelta(days=4))
    request.begin(NOW)
    until = NOW + timedelta(days=10)
    request.wait_for(Actor.CONTACT, Reason.ADDRESS_NOT_PROVED, until, NOW, until)
    scene.ids["letter"] = request.id


def _ask_for_letter(session: Session, scene: Scene) -> None:
    request = session.get_one(Request, scene.ids["letter"], with_for_update=True)
    ask_again(session, scene.person, request, "letter", NOW, PLENTY)


def _detachment(days: int | None) -> Callable[[Session, Scene], Request]:
    def submit(session: Session, scene: Scene) -> Request:
        day = scene.day(days) if days is not None else None
        return submit_detach(session, scene.person, scene.account(session), "de", NOW, day)

    return submit


def _link(session: Session, scene: Scene) -> Request:
    draft = a_link(scene.account(session), email=scene.person.email)
    return submit_link(session, VAULT, scene.pipeline.manager, scene.main(session), draft, NOW, usual=PLENTY)


def _make_code(session: Session, scene: Scene) -> LinkCode:
    return create_link_code(session, scene.person, scene.account(session), NOW)


def _link_with_code(session: Session, scene: Scene) -> None:
    code = session.scalars(
        sa.select(LinkCode).where(LinkCode.account_id == scene.id, LinkCode.ended_at.is_(None))
    ).one()
    draft = a_link(scene.account(session), code=VAULT.code(*code.words()))
    submit_link(session, VAULT, scene.pipeline.manager, scene.main(session), draft, NOW, usual=PLENTY)


def _put_on_invoice(session: Session, scene: Scene) -> None:
    put_on_invoice(session, f"SR-{scene.id}", scene.main(session), scene.account(session), NOW)


def _take_off(session: Session, scene: Scene) -> None:
    """Take the scene's account off its collective invoice; it stays a sub-account of the invoice's main account.

    The end and the decision to stay are recorded in the account's row of the invoice, which the scheduled job
    `invoices` has not read yet.
    """
    _put_on_invoice(session, scene)
    account = scene.account(session)
    item = own_item(session, account)
    assert item is not None
    item.left_at, item.stays_linked = NOW, True
    account.origin = Origin.COLLECTIVE_INVOICE


def _claim_job(session: Session, scene: Scene) -> None:
    _take_off(session, scene)
    session.flush()
    until = NOW + timedelta(days=1)
    claim_job(session, "invoices", now=NOW, lease=LEASE, until=until, by_hand=True)
    scene.job_run = begin_run(session, "invoices", NOW, dry=False).id


def _run_job(pipeline: Pipeline, scene: Scene) -> None:
    reconcile_invoices(Run(pipeline.runtime, JOBS["invoices"], LEASE, scene.job_run, dry=False))


def _send_file(session: Session, scene: Scene) -> None:
    file = make_bulk(session, scene.pipeline.manager, scene.main(session), [an_order(), an_order(channels=3)])
    file.send(NOW)
    file.lease, file.due_at = LEASE, NOW + timedelta(days=1)
    session.flush()
    scene.ids[f"file {Kind.ORDER}"] = file.id


def _send_row(kind: Kind, facts: Callable[[Scene], dict[str, Any]]) -> Callable[[Session, Scene], None]:
    """Return what sends a file of this kind with one row about the scene's account, as `facts` says.

    The worker finds what the row has been sent with, so it places a request, unless something stands in its way.
    """

    def send(session: Session, scene: Scene) -> None:
        account = scene.account(session)
        typed = {"customer_number": account.customer_number, **facts(scene)}
        try:
            draft = quote_row(session, scene.person, account, kind, typed, "de", NOW)
        except DomainError:
            # What another operation has prepared stands in the way: the worker finds it, too.
            draft = {**typed, "shown": ""}
        main = session.get_one(Account, account.main_id) if kind is Kind.DETACH else account
        prints = fingerprints_of(VAULT, kind, [{"row": "1"}])
        file = keep_file(session, scene.person, main, kind, "Viele.csv", prints, [CheckedRow(2, {}, None, draft)], NOW)
        file.send(NOW)
        file.lease, file.due_at = LEASE, NOW + timedelta(days=1)
        session.flush()
        scene.ids[f"file {kind}"] = file.id

    return send


def _changed(scene: Scene) -> dict[str, Any]:
    day = scene.day(20).isoformat()
    return {"sip_user": None, "product_key": "trunk-10", "channels": 6, "effective_on": day}


def _numbered(scene: Scene) -> dict[str, Any]:
    return {"sip_user": None, "area_code": "0521", "block_size": 1, "effective_on": scene.day(20).isoformat()}


def _place_file(kind: Kind) -> Callable[[Pipeline, Scene], None]:
    def place_rows(pipeline: Pipeline, scene: Scene) -> None:
        place._place_batch(pipeline.runtime, scene.ids[f"file {kind}"], LEASE)

    return place_rows


def _file_of(
    kind: Kind, facts: Callable[[Scene], dict[str, Any]], at: tuple[str, ...] = ("linked", "alone")
) -> Operation:
    return Operation(None, _send_row(kind, facts), at, _place_file(kind))


def _claim_order(session: Session, scene: Scene) -> None:
    request = session.get_one(Request, scene.ids["order"])
    request.lease, request.due_at = LEASE, NOW + timedelta(days=1)


def _order(session: Session, scene: Scene) -> None:
    place_order(session, scene.pipeline.manager, scene.main(session), an_order(), NOW, PLENTY)


def _correct(session: Session, scene: Scene) -> None:
    request = session.get_one(Request, scene.ids["order"])
    correct_contact(session, scene.person, request, "right@example.com", NOW, PLENTY)


def _confirm(session: Session, scene: Scene) -> None:
    request = session.get_one(Request, scene.ids["order"])
    proof = session.scalars(sa.select(EmailProof).where(EmailProof.address == "new@example.com")).one()
    confirm_email(session, VAULT, request, VAULT.code(*proof.words()), NOW)


def _of(function: Callable[..., object], *arguments: Any) -> Act:
    """Return an operation's transaction, which calls `function` for the scene's person, account and trunk.

    The arguments are session, person, account, id of the trunk, then `arguments`, and last the time `NOW`.
    """

    def act(session: Session, scene: Scene) -> None:
        function(session, scene.person, scene.account(session), scene.trunk, *arguments, NOW)

    return act


def _about(function: Callable[..., object], what: str) -> Act:
    """Return an operation's transaction, which calls `function` for the scene's person, account and another row's id.

    The id is the field of the scene that `what` names, such as "invitation". The arguments are session, person,
    account, id, and last the time `NOW`.
    """

    def act(session: Session, scene: Scene) -> None:
        function(session, scene.person, scene.account(session), getattr(scene, what), NOW)

    return act


def _for_account(function: Callable[..., object], *arguments: Any) -> Act:
    """Return an operation's transaction, which calls `function` for the scene's person and account.

    The arguments are session, person, account, then `arguments`, and last the time `NOW`.
    """

    def act(session: Session, scene: Scene) -> None:
        function(session, scene.person, scene.account(session), *arguments, NOW)

    return act


_LINKED, _ALONE, _ORDERED = ("linked",), ("alone",), ("ordered",)
OPERATIONS = {
    "renew a secret": Operation(_renew),
    "suspend a trunk": Operation(_of(suspension.suspend)),
    "suspend a trunk for the carrier": Operation(_suspend_for_carrier),
    "release numbers": Operation(_about(release_numbers, "block")),
    "forward calls": Operation(_for_account(add_forwarding, ForwardingDraft(Condition.BUSY, "+4930901820"))),
    "take over a trunk": Operation(_take_over, None, _ALONE),
    "take over a trunk again": Operation(_take_over_again, lambda session, scene: _take_over(session, scene), _ALONE),
    "adopt a trunk": Operation(_adopt, _set_apart, _ALONE),
    "take over a forwarding": Operation(_take_over_forwarding, _set_apart, _ALONE),
    "limit destinations": Operation(_of(change_limits, CallLimits(("DE",), high_risk=False))),
    "change the request line": Operation(_of(change_request_uri, RequestUri.CONTACT)),
    "add a high-risk prefix": Operation(lambda session, _: follow_high_risk(session, "53", NOW)),
    "invite": Operation(
        _for_account(invitations.invite, Recipient("Ida", "ida@example.com", "de"), Role.ADMINISTRATOR)
    ),
    "withdraw an invitation": Operation(_about(invitations.withdraw, "invitation")),
    "accept an invitation": Operation(_accept),
    "remove a user": Operation(_about(members.remove_user, "guest")),
    "enter a user": Operation(
        lambda session, scene: enter_user(
            session, scene.account(session), Recipient("Ida", "ida@example.com", "de"), Role.LOCAL_MEMBER, NOW
        ),
        None,
        _ALONE,
    ),
    "ask for erasure": Operation(
        lambda session, scene: ask_for_erasure(session, session.get_one(User, scene.guest), NOW)
    ),
    "change a contract": Operation(_change(20, 6)),
    "order numbers": Operation(_numbers),
    "look at a certificate": Operation(_look_at_certificate, _hand_in_certificate),
    "make a planned change": Operation(_worked_on("change"), _prepared("change", _change(10, 5))),
    "take a planned change back": Operation(_taken_back("free change"), _free("free change", _change(11, 7))),
    "order a move": Operation(_move),
    "make a move": Operation(_worked_on("move"), _prepared("move", _reserved_move)),
    "ask for a letter again": Operation(_ask_for_letter, _awaited_move),
    "take a move back": Operation(_taken_back("free move"), _free("free move", _reserved_move)),
    "cancel the contracts": Operation(_cancellation),
    "end cancelled contracts": Operation(_worked_on("end"), _prepared("end", _cancellation)),
    "take a cancellation back": Operation(_taken_back("end"), _free("end", _cancellation)),
    "detach": Operation(_detachment(None), _free("detachment", _detachment(15)), _LINKED),
    "make a planned detachment": Operation(_worked_on("detach"), _prepared("detach", _detachment(15)), _LINKED),
    "take a planned detachment back": Operation(
        _taken_back("detachment"), _free("detachment", _detachment(15)), _LINKED
    ),
    "join an invoice": Operation(
        lambda session, scene: join_invoice(session, VAULT, scene.person, scene.account(session), None, NOW),
        None,
        _LINKED,
    ),
    "offer an invoice": Operation(_for_account(offer_invoice), None, _LINKED),
    "leave an invoice": Operation(
        lambda session, scene: leave_invoice(
            session, scene.person, scene.account(session), "de", NOW, stays_linked=True
        ),
        _put_on_invoice,
        _LINKED,
    ),
    "run the job invoices": Operation(None, _claim_job, _LINKED, _run_job),
    "close the account": Operation(
        lambda session, scene: close_account(session, scene.account(session), NOW), None, _ALONE
    ),
    "make a link code": Operation(_make_code),
    "link with a code": Operation(_link_with_code, lambda session, scene: _make_code(session, scene), _ALONE),
    "attach": Operation(_worked_on("link"), _prepared("link", _link), _ALONE),
    "take a link request back": Operation(_taken_back("free link"), _free("free link", _link), _ALONE),
    "order": Operation(_order, None, _ORDERED),
    "place a file": Operation(None, _send_file, _ORDERED, _place_file(Kind.ORDER)),
    "place a file of changes": _file_of(Kind.CHANGE, _changed),
    "place a file of numbers": _file_of(Kind.NUMBERS, _numbered),
    "place a file of cancellations": _file_of(Kind.CANCEL, lambda _: {"last_day": None}),
    "place a file of detachments": _file_of(Kind.DETACH, lambda _: {"effective_on": None}, _LINKED),
    "verify an order": Operation(_worked_on("order"), _claim_order, _ORDERED),
    "cancel an order": Operation(_taken_back("order"), None, _ORDERED),
    "confirm a contact": Operation(_confirm, None, _ORDERED),
    "correct a contact": Operation(_correct, None, _ORDERED),
}
