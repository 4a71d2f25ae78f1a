"""The step `confirm`: queue a mail about the completed request to each person concerned, in that person's language.

Also queues the mails about requests that are held or end without success. `tasks.outbox.send` sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from models.accounts.accounts import Account, ids_by_customer_number
from models.accounts.contract_holders import holder_of
from models.bulk.bulk import is_in_running_bulk
from models.changes.moved_numbers import forwardings_of_block, forwardings_to
from models.changes.quotes import agreed_quote
from models.contracts.catalogue import all_products
from models.messages.outbox import Message, Recipient, queue_message
from models.orders.area_code_of_address import area_code_text, area_codes_for
from models.orders.local_user import invite_local_user
from models.people.rights import LEADS, Action, may
from models.people.users import User, administrators_of, people_to_tell, principal_of
from models.proofs.proofs import Consent, Decision, MainConsent
from models.requests.moved_blocks import replacements_of
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import CONTRACT_CHANGES, OF_CONTRACTS, Kind, Reason, Status
from models.telephony.directory import entry_of
from models.values import Locale
from tasks.outbox.price_facts import agreed_lines, price_facts
from tasks.outbox.what_changes import added_numbers, changed_terms, moved_terms
from tasks.steps.step import Outcome, Work
from tasks.steps.wait_for_network import wait_for_network
from tasks.wording.formats import forwarding_text
from tasks.wording.reasons import reason_text

_OF_CONTACT = ("location_name", "street", "postal_code", "city", "numbers")
"""The names of those mail variables about a completed order that its contact may read."""


def confirm(work: Work, request: Request) -> Outcome:
    """Queue the mails that confirm a completed request, at most one to each address. Returns None if the step is done.

    They are saved in the transaction that completes the request, so each mail is queued exactly once. For an order, the
    person named as user at the location is also invited to sign in, and the mails say so. A change of a contract, more
    numbers and a move wait first until the registrar has them, because the mail says what works and where emergency
    calls go.
    """
    if request.kind in CONTRACT_CHANGES:
        if (wait := wait_for_network(work, request)) is not None:
            return wait
        if request.status is Status.HELD:
            # Its mails are about success, not about why it was held.
            request.go_on(request.step, work.now)
        if request.kind is Kind.MOVE:
            request.note(work.now, "location_written")
    is_invited = request.kind is Kind.ORDER and invite_local_user(work.session, request, work.now)
    more: dict[str, Any] = {"invited_name": request.local_user_name} if is_invited else {}
    told: set[str] = set()
    for template, recipient in _recipients(work, request):
        if recipient.address not in told:
            told.add(recipient.address)
            own = {"is_invited": is_invited and recipient.address.lower() == request.local_user_email}
            facts = more | own if template == "order_completed_contact" else more
            if request.kind is Kind.MOVE:
                facts = facts | _of_forwardings(work, request, recipient)
            _queue(work, request, template, recipient, facts, announced=True)
    return None


def _of_forwardings(work: Work, request: Request, to: Recipient) -> dict[str, Any]:
    """Return mail variables about a move: the forwardings that were deleted, and those that lead to an old number.

    Each is one line. Of the latter there are only those of accounts that the recipient may see. Two more say whether
    forwardings, or the directory entry, are for a new number now.
    """
    assert request.account is not None
    session = work.session
    entries = sa.select(TimelineEntry.facts).where(
        TimelineEntry.request_id == request.id, TimelineEntry.code == "forwarding_lost"
    )
    lost = [f"{facts['numbers']} → {facts['target']}" for facts in session.scalars(entries.order_by(TimelineEntry.id))]
    pairs = replacements_of(session, request)
    goes, comes = [goes for goes, _ in pairs], [comes for _, comes in pairs if comes is not None]
    reader = session.scalars(sa.select(User).where(User.email == to.address)).one()
    person = principal_of(session, reader)
    aimed = [
        f"{own.name} ({own.customer_number}) {forwarding_text(one.numbers, one.target)}"
        for own, one in forwardings_to(session, request.account, goes)
        if may(person, Action.VIEW, own)
    ]
    went = any(forwardings_of_block(session, request.account, block) for block in comes)
    entry = entry_of(session, request.account)
    listed = entry.number if entry is not None and entry.withdrawn_at is None else None
    entry_went = listed is not None and any(block.first_number <= listed <= block.last_number for block in comes)
    return {"lost": lost, "aimed": aimed, "forwardings_went": went, "entry_went": entry_went}


def queue_end_mails(work: Work, request: Request) -> None:
    """Queue mails about a request that was rejected, cancelled or has failed.

    The requester gets a mail, or the main account's administrators do, if there is no requester or the requester has
    left the company. For a request of a running bulk (uploaded file) they get none: the uploader gets one mail when the
    bulk ends. The administrators of the account to be attached also get a mail, if one of them has given or declined
    consent. So do the administrators of that account's present main account, if it has answered a switch.
    """
    for person in _requesters(work, request):
        _queue(work, request, "request_ended", _as_recipient(person))
    if request.reason is Reason.DECLINED_BY_OWNER or _was_agreed_to(work, request):
        for person in _owners(work, request):
            _queue(work, request, "link_ended_owner", _as_recipient(person))
    asked = work.session.get(MainConsent, request.id) if request.kind is Kind.SWITCH else None
    if asked is not None and asked.decision is not None:
        for person in administrators_of(work.session, asked.main_id):
            _queue(work, request, "main_consent_ended", _as_recipient(person))


def queue_held_mails(work: Work, request: Request) -> None:
    """Queue a mail about a held request: why it waits for the carrier, and until when.

    It goes to the requester, or to the main account's administrators if the requester has left the company; not for a
    request of a running bulk (uploaded file). Only one mail is queued for each reason and deadline, however often the
    request is held again.
    """
    assert request.reason is not None and request.waiting_until is not None
    occasion = f"{request.reason} {request.waiting_until.isoformat()}"
    for to in map(_as_recipient, _requesters(work, request)):
        told = sa.select(sa.literal(1)).where(
            Message.request_id == request.id,
            Message.template == "request_held",
            Message.occasion == occasion,
            Message.recipient_address == to.address,
        )
        if work.session.scalar(told.limit(1)) is None:
            facts = {**_facts(work, request, "request_held", to), "until": request.waiting_until.isoformat()}
            queue_message(work.session, request.id, "request_held", to, facts, work.now, occasion=occasion)


def _was_agreed_to(work: Work, request: Request) -> bool:
    consent = work.session.get(Consent, request.id)
    return consent is not None and consent.decision is Decision.ACCEPTED


def _recipients(work: Work, request: Request) -> Iterator[tuple[str, Recipient]]:
    match request.kind:
        case Kind.ORDER:
            account = request.account
            assert account is not None
            for person in _requesters(work, request):
                yield "order_completed", _as_recipient(person)
            if is_in_running_bulk(work.session, request) and _asked(request, account.contact_email):
                return
            yield "order_completed_contact", Recipient(account.contact_name, account.contact_email, request.locale)
        case Kind.LINK:
            yield from _both_sides(_requesters(work, request), "link_completed", _owners(work, request))
        case Kind.SWITCH:
            yield from _three_sides(work, request)
        case Kind.DETACH:
            yield from _both_sides(*_sides_of_detach(work, request))
        case Kind.CHANGE | Kind.NUMBERS | Kind.MOVE:
            assert request.account is not None
            template = f"{request.kind}_completed"
            for person in [*_requesters(work, request), *_owners(work, request)]:
                # Its prices are nobody's business who has lost sight of the account since.
                if may(principal_of(work.session, person), Action.VIEW, request.account):
                    yield template, _as_recipient(person)
        case Kind.CANCEL:
            # They were told before the account left its main account (`models.changes.cancellations.end_account`).
            return


def _both_sides(ours: list[User], template: str, theirs: list[User]) -> Iterator[tuple[str, Recipient]]:
    """Yield pairs of mail template and recipient: first the main account's people, then the other account's.

    `ours` are the people of the main account, who get `template`; `theirs` are those of the account that was attached
    or detached, who get the template `{template}_owner`. A person in both lists appears twice; the caller sends only
    the first mail.
    """
    for person in ours:
        yield template, _as_recipient(person)
    for person in theirs:
        yield f"{template}_owner", _as_recipient(person)


def _three_sides(work: Work, request: Request) -> Iterator[tuple[str, Recipient]]:
    """Yield pairs of mail template and recipient about a completed switch of an account to another main account.

    Recipients are the new main account's people, the account's administrators, and those of the former main account. If
    the account had left its former main account before the switch, the mails are those of a plain link.
    """
    asked = work.session.get(MainConsent, request.id)
    has_moved = asked is not None and asked.moved_at is not None
    for person in _requesters(work, request):
        yield "link_completed", _as_recipient(person)
    for person in _owners(work, request):
        yield "switch_completed_owner" if has_moved else "link_completed_owner", _as_recipient(person)
    if asked is not None and has_moved:
        for person in administrators_of(work.session, asked.main_id):
            yield "switch_completed_former", _as_recipient(person)


def _sides_of_detach(work: Work, request: Request) -> tuple[list[User], str, list[User]]:
    """Return the main account's people, the name of the mail template, and the detached account's people.

    The people are the administrators of each account, and the requester. A requester with a role in the main account
    that reaches its sub-accounts is added to the main account's people; one with a role in the detached account alone
    to that account's; a requester with neither role, or whose access was disabled, to none. For a request of a running
    bulk (uploaded file) only the detached account's other people are told, as the uploader gets one mail at its end.
    """
    theirs = _owners(work, request)
    if is_in_running_bulk(work.session, request):
        return [], "detach_completed", [person for person in theirs if person.id != request.requested_by]
    ours = administrators_of(work.session, request.main_id)
    if request.requester is not None:
        roles = principal_of(work.session, request.requester).roles
        if roles.get(request.main_id) in LEADS:
            ours.insert(0, request.requester)
        elif request.account_id in roles:
            theirs.insert(0, request.requester)
    return ours, "detach_completed", theirs


def _requesters(work: Work, request: Request) -> list[User]:
    """Return the users who get mails as requesters: the user who made the request, or else administrators.

    The main account's administrators take the user's place in three cases: a scheduled job made the request, the user
    was disabled, or the user has no role in the request's accounts any more and is not one of the carrier's staff. For
    a request about contracts, the account's present main account counts. Empty for a request of a running bulk
    (uploaded file), whose uploader gets one mail when the bulk ends (`tasks.bulk.place`).
    """
    if is_in_running_bulk(work.session, request):
        return []
    main_id = request.main_id
    if request.kind in OF_CONTRACTS and request.account is not None:
        # The account may have left that main account since.
        main_id = request.account.main_id or request.account.id
    return people_to_tell(work.session, request.requested_by, main_id, request.account_id)


def _asked(request: Request, address: str) -> bool:
    return request.requester is not None and request.requester.email == address.lower()


def _owners(work: Work, request: Request) -> list[User]:
    account_id = request.account_id or _named(work, request)
    return administrators_of(work.session, account_id) if account_id is not None else []


def _named(work: Work, request: Request) -> int | None:
    return ids_by_customer_number(work.session, [request.customer_number]).get(request.customer_number)


def _as_recipient(person: User) -> Recipient:
    return Recipient(person.name, person.email, person.locale)


def _queue(
    work: Work,
    request: Request,
    template: str,
    to: Recipient,
    more: Mapping[str, Any] = MappingProxyType({}),
    *,
    announced: bool = False,
) -> None:
    """Queue a mail about the request to `to`, with the variables of its template and those in `more`.

    With `announced`, the request's timeline gets an entry once the mail was sent.
    """
    facts = {**_facts(work, request, template, to), **more}
    occasion = _which_end(work, request, template, to) if request.reason is not None else ""
    queue_message(
        work.session,
        request.id,
        template,
        to,
        facts,
        work.now,
        announced=announced,
        occasion=occasion,
        bulk_id=request.bulk_id,
    )


def _which_end(work: Work, request: Request, template: str, to: Recipient) -> str:
    """Return the `occasion` of a mail: a text that distinguishes it from earlier mails of this template to `to`.

    It is the number of such mails queued before about this request; "" if there are none. So a request that ends again
    after a retry gets another mail, which the outbox does not drop as a duplicate.
    """
    told = sa.select(sa.func.count()).where(
        Message.request_id == request.id, Message.template == template, Message.recipient_address == to.address
    )
    count = work.session.scalar(told)
    return str(count) if count else ""


def _facts(work: Work, request: Request, template: str, to: Recipient) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": request.kind,
        "customer_number": request.customer_number,
        "main_customer_number": request.main.customer_number,
        "main_account_name": request.main.name,
        "requester_name": request.requester.name if request.requester is not None else "",
        "path": "/standortverwaltung",
    }
    if request.reason is not None:
        page = "zustimmung" if template in ("link_ended_owner", "main_consent_ended") else "anfragen"
        reason = reason_text(request.reason, to.locale, _fitting_area_codes(work, request), request.approval_note)
        return {**facts, "reason": reason, "path": f"/{page}/{request.id}"}
    if template not in ("detach_completed", "switch_completed_former"):
        # People of a former main account do not see the account any more.
        facts["path"] = f"/standortverwaltung/{request.customer_number}"
    if request.kind is Kind.ORDER:
        # A contact, who may have no login, need not know what the main account pays.
        if template == "order_completed":
            facts |= price_facts(agreed_lines(work.session, request, to.locale))
        ordered = _order_facts(work, request, to.locale)
        if template == "order_completed_contact":
            ordered = {name: fact for name, fact in ordered.items() if name in _OF_CONTACT}
        return facts | ordered
    if request.kind is Kind.CHANGE:
        facts |= changed_terms(work.session, agreed_quote(request), to.locale).facts()
    if request.kind is Kind.NUMBERS:
        facts |= added_numbers(work.session, request, to.locale).facts()
    if request.kind is Kind.MOVE:
        facts |= moved_terms(work.session, request).facts()
    account = request.account
    leaves = template.startswith(("detach_completed", "switch_completed"))
    if leaves and account is not None and (holder := holder_of(work.session, account)) is not None:
        facts["holder_name"] = holder.name
    asked = work.session.get(MainConsent, request.id) if template.startswith("switch_completed") else None
    if asked is not None:
        former = work.session.get_one(Account, asked.main_id)
        facts |= {"former_customer_number": former.customer_number, "former_account_name": former.name}
    return {**facts, "account_name": account.name if account is not None else ""}


def _fitting_area_codes(work: Work, request: Request) -> list[str]:
    """Return the area codes that fit the account's address, with names, if the request ended for a wrong area code.

    Empty for every other request.
    """
    account = request.account
    if request.reason is not Reason.AREA_CODE_MISMATCH or account is None:
        return []
    city, postal_code = account.city, account.postal_code
    if request.kind is Kind.MOVE:
        city, postal_code = request.place.city, request.place.postal_code
    return [area_code_text(area) for area in area_codes_for(work.session, postal_code, city)]


def _order_facts(work: Work, request: Request, locale: Locale) -> dict[str, Any]:
    account, trunk = request.account, request.trunk
    assert account is not None and trunk is not None and request.product_key is not None
    return {
        "product_name": all_products(work.session)[request.product_key].name(locale),
        "channels": trunk.channels,
        "numbers": [block.display for block in trunk.blocks],
        "location_name": account.name,
        "street": account.street,
        "postal_code": account.postal_code,
        "city": account.city,
        "sip_user": trunk.sip_user,
        "sip_domain": trunk.domain,
    }
