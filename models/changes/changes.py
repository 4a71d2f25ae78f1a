"""Changes of a SIP trunk's tariff and channels, at once or from a day on: requesting them, and carrying them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.calendar_days import berlin_day
from models.changes.quotes import (
    Quote,
    TrunkTerms,
    agreed_line,
    current_terms,
    paid_line,
    planned_terms,
    without_tariffs,
)
from models.contracts.catalogue import PriceLine, Product, ProductKind, all_products, price_list
from models.contracts.contracts import ContractItem
from models.errors import AlreadyRequested, Forbidden, InvalidField, NotFound, PricesChanged, RuleBroken
from models.links.collective_invoices import is_billed_together
from models.links.planned_detach import running_detach
from models.orders.orders import ensure_channels
from models.people.audit_log import AuditEntry, AuditEvent, record
from models.people.rights import Action, Principal, may, through_main
from models.requests.contract_end import ensure_before_end
from models.requests.effective_days import day_to_wait_for
from models.requests.new_requests import create_account_request
from models.requests.receipts import queue_receipt
from models.requests.requests import Request
from models.states import ENDED, AccountState, Kind, Origin, Reason, StepName
from models.telephony.holdings import trunks_of
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk, TrunkState
from models.values import Locale

MOST_PLANNED = 12
"""The greatest number of planned changes of one trunk."""


@dataclass(frozen=True, slots=True)
class ChangeDraft:
    """A change of a trunk as it was typed: the new tariff (the key of a product) and the new number of channels.

    `effective_on` is the day in Berlin with whose start the change takes effect; None, or today, means at once.
    """

    product_key: str
    channels: int
    effective_on: date | None
    locale: Locale


def submit_change(
    session: Session,
    principal: Principal,
    account: Account,
    trunk_id: int,
    draft: ChangeDraft,
    now: datetime,
    *,
    shown: str | None = None,
    bulk_id: UUID | None = None,
) -> Request:
    """Save a request to change the trunk `trunk_id` of the account, log it, and queue a receipt; return the request.

    The prices of the day of the request are agreed. `shown` is the `Quote.shown_text` of the quote that the person saw
    on the page, None if there was no page. Locks the account. `bulk_id` is the bulk (the uploaded file of changes) to
    which the change belongs, None if there is none; the sender then gets one receipt for the whole file.

    Raises `PricesChanged` if `shown` differs from what would be agreed now, `Forbidden` if the account is not active or
    the person may not change its contracts, `NotFound` if the account has no open trunk with this id,
    `AlreadyRequested` while a change of the trunk that takes effect at once is running, and `InvalidField` if product,
    channels or day are not possible, or nothing would change.
    """
    lock_active_account(session, account)
    quote = quote_change(session, principal, account, trunk_id, draft, now)
    if shown is not None and shown != quote.shown_text:
        raise PricesChanged
    trunk = session.get_one(SipTrunk, trunk_id)
    request = create_account_request(
        session,
        principal,
        account,
        Kind.CHANGE,
        draft.locale,
        now,
        product_key=draft.product_key,
        channels=draft.channels,
        price_lines=[asdict(line) for line in quote.after.lines],
        changed_trunk_id=trunk_id,
        bulk_id=bulk_id,
        effective_on=quote.effective_on,
        replaced_channels=quote.before.channels,
        replaced_lines=[asdict(line) for line in quote.before.lines],
    )
    user, channels, before = trunk.sip_user, draft.channels, quote.before.channels
    facts: dict[str, Any] = {"sip_user": user, "channels": channels, "before": before}
    if quote.effective_on is None:
        request.note(now, "change_received", sip_user=user, channels=channels, before=before)
    else:
        facts["day"] = day = quote.effective_on.isoformat()
        request.note(now, "change_scheduled", sip_user=user, channels=channels, before=before, day=day)
    record(session, principal, account, AuditEvent.CHANGE_ASKED, Action.CHANGE_CONTRACT, now, facts)
    if bulk_id is None:
        queue_receipt(session, request, principal, "change_receipt", now)
    session.flush()
    return request


def quote_change(
    session: Session, principal: Principal, account: Account, trunk_id: int, draft: ChangeDraft, now: datetime
) -> Quote:
    """Return the terms of the trunk `trunk_id` before and after the change `draft`, without saving anything.

    Changes that are planned for an earlier day count as made. Raises `Forbidden` if the account is not active or the
    person may not change its contracts, `NotFound` if the account has no open trunk with this id, and
    `AlreadyRequested` while a change of the trunk that takes effect at once is running; one that only waits for the
    network keeps a later change from nothing but taking effect at once, too.

    Raises `InvalidField` if the product cannot be ordered, the channels are out of its range, or nothing would change.
    Raises it if the day is over, more than 366 days away, not after the last planned change, or after the end of a
    cancelled contract. Raises it if too many changes are planned, or if the person has access to the account only
    through its main account and the account is to be detached by that day.
    """
    if account.state is not AccountState.ACTIVE:
        raise Forbidden
    ensure_not_leaving_invoice(session, principal, account)
    trunk = find_trunk(session, principal, Action.CHANGE_CONTRACT, account, trunk_id)
    day = day_to_wait_for(draft.effective_on, now)
    ensure_before_end(session, account.id, day or berlin_day(now))
    if day is not None:
        ensure_not_detached_before(session, principal, account, "effective_on", day, now)
    planned = planned_changes(session, trunk_id)
    for other in planned:
        if other.effective_on is None:
            raise AlreadyRequested(str(other.id))
        if day is None or day <= other.effective_on:
            raise InvalidField("effective_on", "after_planned", other.effective_on)
    if day is None and (running := _change_at_once(session, trunk_id)) is not None:
        raise AlreadyRequested(str(running))
    if len(planned) >= MOST_PLANNED:
        raise InvalidField("effective_on", "too_many_changes", MOST_PLANNED)
    before = planned_terms(session, trunk, day, now)
    product = _product(session, draft.product_key, before, now)
    ensure_channels(product, draft.channels)
    after = TrunkTerms(draft.channels, _lines_with(session, before, product))
    if (after.channels, after.lines) == (before.channels, before.lines):
        raise InvalidField("channels", "nothing_changes")
    return Quote(before, after, day)


def trunk_to_change(session: Session, principal: Principal, account: Account, sip_user: str | None) -> SipTrunk:
    """Return the account's open trunk with this SIP user, or the account's only open trunk if `sip_user` is None.

    Raises `Forbidden` if the person may not change the account's contracts, `NotFound` if there is no such trunk, and
    `InvalidField` if the account has several trunks and `sip_user` is None.
    """
    if not may(principal, Action.CHANGE_CONTRACT, account):
        raise Forbidden
    trunks = [trunk for trunk in trunks_of(session, account) if sip_user in (None, trunk.sip_user)]
    if len(trunks) > 1:
        raise InvalidField("sip_user", "not_offered", tuple(trunk.sip_user for trunk in trunks))
    if not trunks:
        raise NotFound
    return trunks[0]


def planned_changes(session: Session, trunk_id: int) -> Sequence[Request]:
    """Return the trunk's changes that are not made yet, in the order in which they take effect.

    Those that are made and only wait for the network or their mails are left out.
    """
    query = sa.select(Request).where(
        Request.changed_trunk_id == trunk_id,
        Request.kind == Kind.CHANGE,
        Request.status.not_in(ENDED),
        Request.step != StepName.CONFIRM,
    )
    return session.scalars(query.order_by(Request.effective_on.nulls_first())).all()


def _change_at_once(session: Session, trunk_id: int) -> UUID | None:
    """Return the id of the trunk's change at once that is running, also if it only waits for the network."""
    at_once = Request.kind == Kind.CHANGE, Request.effective_on.is_(None), Request.status.not_in(ENDED)
    return session.scalar(sa.select(Request.id).where(Request.changed_trunk_id == trunk_id, *at_once))


def earlier_change(session: Session, change: Request) -> Request | None:
    """Return the first change of the same trunk that must be made before `change`; None if there is none."""
    assert change.changed_trunk_id is not None
    first = planned_changes(session, change.changed_trunk_id)[0]
    return first if first.effective_at < change.effective_at else None


def ensure_changeable(session: Session, change: Request) -> SipTrunk:
    """Lock and return the trunk that a request for a change or for more numbers is about.

    Raises `RuleBroken` if the account is not active or the trunk is closed.
    """
    assert change.account_id is not None and change.changed_trunk_id is not None
    if session.get_one(Account, change.account_id).state is not AccountState.ACTIVE:
        raise RuleBroken(Reason.ACCOUNT_CLOSED)
    trunk = session.get_one(SipTrunk, change.changed_trunk_id, with_for_update=True)
    if trunk.state is TrunkState.CLOSED:
        raise RuleBroken(Reason.TRUNK_CLOSED)
    return trunk


def make_change(session: Session, change: Request, now: datetime) -> None:
    """Carry out a change: set the trunk's channels, replace the contract's tariff, and schedule a registrar update.

    The contract item of the old tariff ends, and that of the new one begins, at the agreed moment, even if this is
    called later. The terms before and after the change are saved in the request again, since other items may have ended
    in the meantime. A second call changes neither trunk nor contract. Locks the trunk. Raises `RuleBroken` if the
    account is not active or the trunk is closed.
    """
    trunk = ensure_changeable(session, change)
    terms = current_terms(session, trunk, now)
    assert change.channels is not None and change.product_key is not None
    products = all_products(session)
    agreed, others = agreed_line(change.price_lines, change.product_key), without_tariffs(session, terms.lines)
    change.replaced_channels, change.replaced_lines = terms.channels, [asdict(line) for line in terms.lines]
    change.price_lines = [asdict(line) for line in (agreed, *others)]
    if trunk.channels != change.channels:
        trunk.channels = change.channels
        trunk.changed(now)
    keys = [line.product_key for line in terms.lines]
    if change.product_key in keys:
        return
    at = change.effective_at if change.effective_on is not None else now
    trunk_keys = [product.key for product in products.values() if product.kind is ProductKind.TRUNK]
    lines = sa.select(ContractItem).where(ContractItem.contract_id == trunk.contract_id)
    items = session.scalars(lines.order_by(ContractItem.product_key, ContractItem.occurrence).with_for_update()).all()
    for item in items:
        if item.product_key in trunk_keys and item.ended_at is None:
            item.ended_at = max(at, item.started_at or at)
    session.add(
        ContractItem(
            contract_id=trunk.contract_id,
            occurrence=1 + sum(item.product_key == change.product_key for item in items),
            started_at=at,
            **asdict(agreed),
        )
    )
    session.flush()


def ensure_not_leaving_invoice(session: Session, principal: Principal, account: Account) -> None:
    """Raise `Forbidden` if the person has access only through a main account that no longer pays for the account.

    Such an account was attached only by a collective invoice, and has left the invoice. A scheduled job links or
    detaches it some minutes later.
    """
    has_left = account.origin is Origin.COLLECTIVE_INVOICE and not is_billed_together(session, account)
    if has_left and through_main(principal, Action.CHANGE_CONTRACT, account) is not None:
        raise Forbidden


def ensure_not_detached_before(
    session: Session, principal: Principal, account: Account, field: str, day: date, now: datetime
) -> None:
    """Raise `InvalidField` if the account will be detached by `day` and the person then loses access to it.

    A person loses access if they have it only by a role in the main account. `field` is the name of the form field that
    has the day.
    """
    if through_main(principal, Action.CHANGE_CONTRACT, account) is None:
        return
    detach = running_detach(session, account)
    if detach is not None and (leaves_on := detach.effective_on or berlin_day(now)) <= day:
        raise InvalidField(field, "detached_before", leaves_on)


def ensure_asked_from_within(session: Session, request: Request, asked: AuditEvent) -> None:
    """Raise `RuleBroken` if a request was made by a right in a main account, and the account was detached since.

    `asked` is the event that the audit log has of the request. Call it for what waits for a proof or for the carrier:
    the detachment may have been planned already when such a request was made. By a switch requests go along to the new
    main account.
    """
    entry = sa.select(AuditEntry.through_id).where(
        AuditEntry.account_id == request.account_id, AuditEntry.deed == asked, AuditEntry.at == request.created_at
    )
    through = session.scalar(entry.limit(1))
    if through is not None and request.account is not None and request.account.main_id is None:
        raise RuleBroken(Reason.NOT_ATTACHED)


def _product(session: Session, key: str, before: TrunkTerms, now: datetime) -> Product:
    """Return the tariff with this product key.

    Raises `InvalidField` unless the tariff can be ordered or is the present one, contained in the terms `before`.
    """
    found = price_list(session, now).get(key)
    is_present = key in [line.product_key for line in before.lines]
    if found is None or found.kind is not ProductKind.TRUNK or not (found.orderable or is_present):
        raise InvalidField("product", "unknown_product")
    return found


def _lines_with(session: Session, before: TrunkTerms, product: Product) -> tuple[PriceLine, ...]:
    """Return the products of the terms `before`, with their tariff replaced by the tariff `product`.

    If the tariff stays the same, so does its agreed price. A new tariff costs its one-off price only if it can have
    more channels than the present one.
    """
    if product.key in [line.product_key for line in before.lines]:
        return before.lines
    products = all_products(session)
    replaced = [products[line.product_key] for line in before.lines]
    most = max((old.channels or 0 for old in replaced if old.kind is ProductKind.TRUNK), default=0)
    line = product.price_line
    if most >= (product.channels or 0):
        line = paid_line(line)
    return (line, *without_tariffs(session, before.lines))
