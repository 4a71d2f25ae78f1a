"""A function that brings about every kind of mail, for the tests of what their readers get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from importlib import resources
from typing import Any

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.contract_holders import put_holder
from models.accounts.hierarchy import attach
from models.calendar_days import berlin_day
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.moves import MoveDraft, submit_move
from models.contracts.catalogue import PriceLine
from models.contracts.contracts import new_contract
from models.contracts.terms import ContractTerms
from models.links.invoice_membership import answer_offer, leave_invoice, offer_invoice
from models.links.links import submit_detach
from models.messages.outbox import Message, Recipient
from models.orders.orders import Contact, Location, cancel_and_release
from models.people.api_tokens import issue_token
from models.people.audit_log import OF_LOGINS, AuditEvent
from models.people.company_factor import demand_factor
from models.people.invitations import invite
from models.people.login_changes import Where, note_change, tell_of_sign_in
from models.people.password_links import ask_for_reset
from models.people.rights import Action, Role, Scope
from models.people.users import User, principal_of
from models.proofs.document_refusals import Refusal
from models.proofs.document_review import decide_document, upload_certificate, upload_document
from models.proofs.main_consents import decide_for_main
from models.proofs.ownership import decide
from models.proofs.proofs import AddressProof, Decision, EmailProof
from models.requests.approvals import decide_approval, set_approval_limit
from models.requests.requests import Request
from models.same_address import Place
from models.staff.administrators import name_administrator
from models.staff.erasing_people import ask_for_erasure
from models.staff.sign_in_access import add_first_administrator, create_staff, enter_user, mail_access, tell_first_login
from models.states import AddressMethod, Kind, Origin, ProofMethod, Reason, RefusalReason
from models.telephony.change_mails import tell_of_change
from models.telephony.high_risk import tell_administrators
from models.telephony.trunks import SipTrunk
from models.values import Locale
from tasks.outbox.receipt_facts import RECEIPTS, Receipts
from tasks.outbox.render import all_facts
from tasks.ports import GatewayRefused, Letter, Mail, TrunkRecord
from tests.factories import HOLDER, NOW, a_link, an_order, give_app, join, make_account, make_bulk, make_main, make_user
from tests.tasks.conftest import Pipeline

TEMPLATES = sorted(
    entry.name.removesuffix(".jinja")
    for entry in resources.files("tasks.outbox").joinpath("templates").iterdir()
    if entry.name.endswith(".jinja")
)


BY_CARRIER = {
    AuditEvent.FACTORS_RESET, AuditEvent.FACTOR_RESET_ASKED, AuditEvent.FACTOR_RESET_WITHDRAWN,
    AuditEvent.LOGIN_DISABLED, AuditEvent.LOGIN_ENABLED,
}  # fmt: skip
OF_CARRIER = {"office_digest"}
"""The templates of mails to the carrier's own address, which are German and without names.

`tests/tasks/bulk/test_company_limits.py` tests them.
"""


YEAR = ContractTerms(12, 1, 12)


HOSTILE = "<script>alert('x')</script> & \"Söhne\""


@dataclass(frozen=True)
class Sent:
    """Every kind of mail, sent in one language to people with hostile names, and what the pipeline had afterwards.

    `mails` are pairs of a mail and the variables of its template. `trunks` are the trunks that were written to the
    registrar, `letters` the printed letters. `stored` has the facts of all messages, as the database has them.
    """

    mails: list[tuple[Mail, dict[str, Any]]]
    trunks: list[TrunkRecord]
    letters: list[Letter]
    stored: str


def send_all(pipeline: Pipeline, locale: Locale, superuser: sa.Engine, others: Locale | None = None) -> Sent:
    """Send every kind of mail, and return what was sent.

    `others` is the language of the administrators of the other accounts, with which the manager of the main account has
    to do; None: `locale`, as for everybody else.
    """
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        linked, asked = (make_account(session, administrator=owner, name=HOSTILE) for _ in range(2))
        main, pipeline.manager = make_main(session, name=HOSTILE)
        former, chief = make_main(session, name=HOSTILE)
        moved, kept = (make_account(session, administrator=owner, name=HOSTILE) for _ in range(2))
        for account in (moved, kept):
            attach(session, former.id, account.id, Origin.LINK, NOW)
        put_holder(session, linked.id, replace(HOLDER, name=HOSTILE), NOW)
    # No part of the system changes names.
    with superuser.begin() as connection:
        connection.execute(sa.update(User).values(name=HOSTILE, locale=others or locale))
        connection.execute(sa.update(User).where(User.id == pipeline.manager.user_id).values(locale=locale))
    pipeline.manager = replace(pipeline.manager, name=HOSTILE, locale=locale)
    place = Location(HOSTILE, f"{HOSTILE} 1", "10179", f"Berlin {HOSTILE}")
    contact = Contact(HOSTILE, "c@example.com", None)
    order = an_order(locale=locale, location=place, contact=contact)
    first = pipeline.order(order, main)
    # The question to another contact is refused.
    pipeline.mailer.failures["wrong@example.com"] = [GatewayRefused("550")]
    pipeline.order(replace(order, contact=Contact(HOSTILE, "wrong@example.com", None)), main)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, first)
        upload_document(session, pipeline.manager, request, HOSTILE, "application/pdf", b"%PDF-1.7", NOW)
        refusal = Refusal(RefusalReason.OTHER, HOSTILE)
        decide_document(session, make_user(session, is_staff=True), request, refusal=refusal, now=NOW)
        session.execute(sa.update(EmailProof).values(proved_at=NOW))
        session.execute(sa.update(AddressProof).values(proved_at=NOW, method="letter"))
    pipeline.order(order, main)
    # There are no such blocks: the order waits for the carrier.
    pipeline.order(replace(order, block_size=100), main)
    pipeline.link(replace(a_link(linked, email=owner.email), locale=locale), main=main)
    question = pipeline.link(replace(a_link(asked, method=ProofMethod.CONSENT), locale=locale), main=main)
    switches = [
        pipeline.link(replace(a_link(account, email=owner.email), locale=locale, kind=Kind.SWITCH), main=main)
        for account in (moved, kept)
    ]
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        for id, decision in zip(switches, (Decision.ACCEPTED, Decision.DECLINED), strict=True):
            switch, person = session.get_one(Request, id), session.get_one(User, chief.user_id)
            decide_for_main(session, pipeline.runtime.vault, switch, person, decision, None, NOW)
        request = session.get_one(Request, question)
        decide(session, pipeline.runtime.vault, request, owner, Decision.DECLINED, None, NOW)
        account = session.get_one(Account, linked.id)
        administrator = principal_of(session, session.get_one(User, owner.id, populate_existing=True))
        for agrees, asked_at in ((False, NOW - timedelta(days=1)), (True, NOW)):
            offer_invoice(session, pipeline.manager, account, asked_at)
            answer_offer(session, administrator, account, asked_at, agrees=agrees)
        leave_invoice(session, pipeline.manager, account, locale, NOW, stays_linked=True)
        planned = submit_detach(session, pipeline.manager, account, locale, NOW, berlin_day(NOW) + timedelta(days=1))
        cancel_and_release(planned, Reason.CANCELLED_BY_REQUESTER, NOW)
        session.flush()
        submit_detach(session, pipeline.manager, account, locale, NOW)
        invite(session, administrator, account, Recipient(HOSTILE, "new@example.com", locale), Role.LOCAL_MEMBER, NOW)
        colleague = principal_of(session, make_user(session, name=HOSTILE, locale=locale))
        join(session, session.get_one(User, colleague.user_id), account)
        issue_token(session, colleague, account, HOSTILE, Scope, timedelta(days=30), NOW)
        staff = principal_of(session, make_user(session, is_staff=True, name=HOSTILE, locale=locale))
        named, answered = Recipient(HOSTILE, "named@example.com", locale), session.get_one(Account, asked.id)
        name_administrator(session, staff, answered, named, "Register und Rückruf", NOW)
        for path, fact in (("/rufweiterleitung", "target"), ("/ziele", "sip_user")):
            tell_administrators(session, staff, account, path, {fact: "+881612345678"}, pipeline.clock())
            pipeline.clock.advance(timedelta(seconds=1))
        for template in ("numbers_released", "secret_renewed"):
            tell_of_change(session, staff, account, Action.MANAGE_TRUNK, template, HOSTILE, NOW)
        ask_for_reset(session, owner.email, NOW)
        person, where = session.get_one(User, owner.id, populate_existing=True), Where("Firefox, Linux", "192.0.2.7")
        tell_of_sign_in(session, person, where, NOW)
        for deed in OF_LOGINS:
            at = None if deed in BY_CARRIER else where
            note_change(session, person, deed, at, NOW, name=HOSTILE, until=NOW.isoformat())
        mail_access(session, create_staff(session, Recipient(HOSTILE, "s@example.com", locale), NOW).user, None, NOW)
        fresh = make_account(session, name=HOSTILE)
        begun = add_first_administrator(session, fresh, Recipient(HOSTILE, "f@example.com", locale), NOW).user
        mail_access(session, begun, fresh, NOW)
        mail_access(session, person, answered, NOW)
        member = enter_user(session, fresh, Recipient(HOSTILE, "m@example.com", locale), Role.LOCAL_MEMBER, NOW).user
        assert tell_first_login(session, member, fresh, Role.LOCAL_MEMBER, NOW)
        make_bulk(session, pipeline.manager, main, [order], name=HOSTILE).send(NOW)
    with pipeline.owner.transaction() as session:
        give_app(session, session.get_one(User, pipeline.manager.user_id))
        demand_factor(session, pipeline.manager, session.get_one(Account, main.id), NOW)
        ask_for_erasure(session, make_user(session, name=HOSTILE, locale=locale), NOW)
    with pipeline.runtime.database.transaction() as session:
        moving = session.get_one(Account, session.scalars(sa.select(SipTrunk.account_id).limit(1)).one())
        new_home = Place("Invalidenstr. 10", "10115", "Berlin")
        submit_move(session, pipeline.manager, moving, MoveDraft(new_home, None, None, locale), NOW)
        session.flush()
        proved = {"asked_at": NOW, "expires_at": NOW, "proved_at": NOW, "method": AddressMethod.LETTER}
        session.add(AddressProof(main_id=moving.main_id, address_key=new_home.key, **proved))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).first()
        assert trunk is not None
        change = ChangeDraft("trunk-50", 30, None, locale)
        account = session.get_one(Account, trunk.account_id)
        submit_change(session, pipeline.manager, account, trunk.id, change, NOW)
        numbers = NumbersDraft("030", 10, None, locale)
        submit_numbers(session, pipeline.manager, account, trunk.id, numbers, NOW)
        many = submit_numbers(session, pipeline.manager, account, trunk.id, replace(numbers, block_size=100), NOW).id
        cancellation = submit_cancellation(session, pipeline.manager, account, None, locale, NOW)
        cancel_and_release(cancellation, Reason.CANCELLED_BY_REQUESTER, NOW)
        session.flush()
        submit_cancellation(session, pipeline.manager, account, None, locale, NOW)
        # In 65 days its first term ends: the reminder is due when the job runs, in 20.
        session.add(new_contract(asked.id, [PriceLine("trunk-10", 990, 0)], NOW - timedelta(days=300), None, YEAR))
    # The bulk's row becomes an order, that comes to its end, and the mail about it leaves.
    for _ in range(4):
        pipeline.advance()
        pipeline.clock.advance(timedelta(seconds=2))
    with pipeline.runtime.database.transaction() as session:
        found, second = session.get_one(Account, main.id), make_user(session, name=HOSTILE, locale=locale)
        join(session, second, found, Role.LOCATION_MANAGER)
        set_approval_limit(session, pipeline.manager, found, 100, NOW)
        of_file = replace(order, location=replace(place, name=f"{HOSTILE} 2"))
        make_bulk(session, pipeline.manager, found, [of_file], name=HOSTILE).send(pipeline.clock.now)
        approver = principal_of(session, second)
    approved = pipeline.order(order, main)
    for _ in range(3):
        pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        asked_for, now = session.get_one(Request, approved), pipeline.clock.now
        decide_approval(session, approver, asked_for, approved=True, note=None, now=now)
    with pipeline.runtime.database.transaction() as session:
        waiting, now = session.get_one(Request, many), pipeline.clock.now
        upload_certificate(session, pipeline.manager, waiting, HOSTILE, "application/pdf", b"%PDF-1.7", now)
        refusal, staff_user = Refusal(RefusalReason.OTHER, HOSTILE), make_user(session, is_staff=True)
        decide_document(session, staff_user, waiting, refusal=refusal, now=now)
    # The reminder to hand in another certificate.
    for days in (0, 9, 11):
        pipeline.clock.advance(timedelta(days=days))
        pipeline.advance()
    pipeline.run("tokens")
    pipeline.run("renewals")
    pipeline.clock.advance(timedelta(days=20))
    pipeline.advance()
    runtime = pipeline.runtime
    with runtime.database.transaction() as session:
        told = {message.message_id(runtime.mail_domain): message for message in session.scalars(sa.select(Message))}
        assert {message.template for message in told.values()} == set(TEMPLATES) - OF_CARRIER
        known = [(mail, told[mail.message_id]) for mail in pipeline.mailer.sent]
        receipts = [message for _, message in known if message.template in RECEIPTS]
        reader = Receipts(session, receipts, runtime.base_url, runtime.carrier)
        details = {message.id: reader.details(message).facts for message in receipts}
    facts = {message.id: all_facts(message, runtime.vault, runtime.base_url) for _, message in known}
    mails = [
        (mail, {**facts[message.id], **details.get(message.id, {}), "template": message.template})
        for mail, message in known
    ]
    stored = str([(message.facts, message.proof) for message in told.values()])
    return Sent(mails, list(pipeline.registrar.trunks.values()), pipeline.printer.printed, stored)
