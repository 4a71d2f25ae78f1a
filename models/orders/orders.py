"""Orders: what a customer can order, the checks of an order against the rules, and saving it as a request."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session, object_session

from models.accounts.accounts import Account
from models.accounts.hierarchy import ensure_may_be_main
from models.contracts.catalogue import PriceLine, Product
from models.db.batch_insert import batch_insert
from models.errors import Forbidden, InvalidField
from models.orders.area_code_of_address import ensure_address, ensure_area_code
from models.orders.baskets import Basket, basket_of, still_delivered
from models.orders.options import ensure_details
from models.orders.reserved_ids import ReservedIds, reserve_ids
from models.people.rights import Action, Principal, may
from models.requests.cancellation_mails import tell_of_cancellation
from models.requests.contract_end import ensure_no_later_change
from models.requests.detach_mails import tell_of_withdrawal
from models.requests.displaced_detach import restore_displaced
from models.requests.moved_blocks import sizes_wanted
from models.requests.new_requests import queue_request
from models.requests.receipts import queue_receipt
from models.requests.requests import Request
from models.requests.reserved_numbers import free_reserved_numbers
from models.states import AccountRole, AccountState, Kind, Reason
from models.telephony.allowed_destinations import chosen_limits, ensure_fallback_within, ensure_may_choose
from models.telephony.area_codes import AreaCode
from models.telephony.directory import DirectoryData
from models.telephony.high_risk import ensure_usual_fallback
from models.telephony.place_facts import places_of
from models.telephony.trunks import RequestUri, close_trunk
from models.values import Locale

LIST_PRICES: Mapping[str, PriceLine] = {}
"""The default for agreed prices: an empty dict, so that the price list applies to every product."""


@dataclass(frozen=True, slots=True)
class Location:
    """The new location's name and connection address; the address decides area code and emergency routing."""

    name: str
    street: str
    postal_code: str
    city: str


@dataclass(frozen=True, slots=True)
class Contact:
    """The contact person of an order, who has to confirm the e-mail address, and gets mails about the new account."""

    name: str
    email: str
    phone: str | None


@dataclass(frozen=True, slots=True)
class LocalUser:
    """The person who is invited, when the account is active, to sign in and administer the new location."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """An order as it was typed: well-formed, but not yet checked against the business rules.

    `channels` is the number of simultaneous calls, and `block_size` the number of phone numbers (1, 10 or 100), which
    have the area code `area_code`. `product_key` (the trunk) and `option_keys` are product keys of the price list.
    `local_user` is None if nobody is to be invited.
    """

    product_key: str
    channels: int
    location: Location
    contact: Contact
    area_code: str
    block_size: int
    option_keys: tuple[str, ...]
    locale: Locale
    local_user: LocalUser | None = None
    mobile_number: str | None = None
    """The number, in E.164, to which calls go while no phone is registered; only for the option `MOBILE_BACKUP`."""

    directory_entry: DirectoryData | None = None
    """The directory entry, only for the option `DIRECTORY_ENTRY`; its number is the first of the block."""

    request_uri: RequestUri | None = None
    """The content of the request line of incoming calls; None for the default for a block of this size."""

    countries: tuple[str, ...] | None = None
    """Keys of the countries that the trunk may call (`models.telephony.country_prefixes`); None for the default.

    The default is EU, EEA, and the country of the mobile fallback.
    """

    @property
    def details(self) -> dict[str, Any]:
        """Return the details of the options by field: `mobile_number`, and `directory_entry` as a dict.

        Details that are not given are None.
        """
        entry = asdict(self.directory_entry) if self.directory_entry is not None else None
        return {"mobile_number": self.mobile_number, "directory_entry": entry}


def ensure_orderable(
    session: Session,
    principal: Principal,
    main: Account,
    draft: OrderDraft,
    now: datetime,
    agreed: Mapping[str, PriceLine] = LIST_PRICES,
) -> Basket:
    """Check products, details of options, channels, countries, address and area code of an order; return its products.

    Products and prices are those of the day of `now`. `agreed` maps product keys to agreed prices: these products can
    be ordered even if they were withdrawn since.

    Raises `InvalidField` if a product cannot be ordered, an option lacks its details, there are too many channels, or
    the area code is unknown or does not fit the address. Also raises it if the mobile fallback is a high-risk
    destination, or is outside the countries that the trunk may call. The same happens if there are too many countries,
    or some that the person may not choose for `main`.
    """
    basket = _basket(session, draft, now, agreed)
    ensure_details(draft.option_keys, draft.details)
    ensure_usual_fallback(session, draft.mobile_number)
    ensure_fallback_within(draft.countries, draft.mobile_number)
    ensure_may_choose(principal, main, draft.countries, draft.mobile_number)
    ensure_channels(basket.trunk, draft.channels)
    ensure_area_exists(session, draft.area_code)
    place = draft.location
    ensure_address(session, place.street, place.postal_code, place.city)
    ensure_area_code(session, place.postal_code, place.city, draft.area_code)
    return basket


def ensure_channels(trunk: Product, channels: int) -> None:
    """Raise `InvalidField` unless `channels` is between 1 and the maximum of the trunk product."""
    if trunk.channels is None or not 1 <= channels <= trunk.channels:
        raise InvalidField("channels", "channels_out_of_range", trunk.channels)


def ensure_area_exists(session: Session, code: str) -> AreaCode:
    """Return the Ortsnetz (local exchange area) with this German area code. Raises `InvalidField` if there is none."""
    # Hundreds of orders name a few: each is looked up once a transaction.
    known: dict[str, AreaCode | None] = session.info.setdefault("area_codes", {})
    if code not in known:
        known[code] = session.get(AreaCode, code)
    area = known[code]
    if area is None:
        raise InvalidField("numbers.area_code", "unknown_area_code")
    return area


def keep_area(session: Session, code: str, name: str | None) -> None:
    """Cache the name of an area code's Ortsnetz in the session, so that `ensure_area_exists` runs no query for it.

    An Ortsnetz is a local exchange area. `name` is None if there is no such area code.
    """
    area = AreaCode(code=code, name=name) if name is not None else None
    session.info.setdefault("area_codes", {})[code] = area


def restored_area_code(session: Session, code: str) -> str:
    """Return an area code with the leading zero that a spreadsheet has removed, if there is such an area code.

    '351' becomes '0351'. Every other text is returned unchanged.
    """
    if not re.fullmatch("[1-9][0-9]{1,4}", code):
        return code
    try:
        return ensure_area_exists(session, f"0{code}").code
    except InvalidField:
        return code


def submit_orders(
    session: Session,
    principal: Principal,
    main: Account,
    drafts: Sequence[OrderDraft],
    now: datetime,
    bulk_id: uuid.UUID | None = None,
    *,
    agreed: Mapping[str, PriceLine] = LIST_PRICES,
) -> Sequence[Request]:
    """Save several orders that `ensure_orderable` has accepted, with one statement for all tables.

    Each order gets a request and a new account. Returns the requests in the order of `drafts`. `bulk_id` is the bulk
    (the uploaded file of orders) that the drafts come from; without one, a receipt to the person is queued for each
    order. `agreed` has prices, by product key, that replace those of the price list, also for products withdrawn since.
    Raises `Forbidden` if the person may not order for `main`, and `RuleBroken` if `main` is closed or a sub-account.
    """
    _ensure_may_order(principal, main)
    ids = reserve_ids(session, len(drafts))
    requests = [
        queue_order(session, principal, main, draft, now, reserved, bulk_id, agreed)
        for draft, reserved in zip(drafts, ids, strict=True)
    ]
    session.flush()
    return requests


def queue_order(
    session: Session,
    principal: Principal,
    main: Account,
    draft: OrderDraft,
    now: datetime,
    ids: ReservedIds,
    bulk_id: uuid.UUID | None = None,
    agreed: Mapping[str, PriceLine] = LIST_PRICES,
) -> Request:
    """Queue one order whose ids were reserved before, and return its request.

    The order's account, request and receipt are inserted at the next flush. Until then only other queued rows may refer
    to these rows. `agreed` has prices, by product key, that replace those of the price list. A receipt is queued only
    without `bulk_id`.

    Checks only the right to order for `main` and the products; the caller has checked the other rules. Raises
    `Forbidden` without that right, `RuleBroken` if `main` is closed or a sub-account, and `InvalidField` if a product
    cannot be ordered.
    """
    _ensure_may_order(principal, main)
    basket = _basket(session, draft, now, agreed)
    _queue_account(session, ids, draft, now)
    request = Request(
        id=ids.request_id,
        kind=Kind.ORDER,
        main_id=main.id,
        account_id=ids.account_id,
        customer_number=ids.customer_number,
        requested_by=principal.user_id,
        token_id=principal.token_id,
        locale=draft.locale,
        product_key=draft.product_key,
        channels=draft.channels,
        area_code=draft.area_code,
        block_size=draft.block_size,
        option_keys=list(draft.option_keys),
        option_details={field: found for field, found in draft.details.items() if found is not None} or None,
        request_uri=draft.request_uri,
        countries=chosen_limits(draft.countries) if draft.countries is not None else None,
        price_lines=[asdict(agreed.get(line.product_key, line)) for line in basket.price_lines],
        contract_terms=asdict(basket.trunk.terms),
        local_user_name=draft.local_user.name if draft.local_user is not None else None,
        local_user_email=draft.local_user.email.lower() if draft.local_user is not None else None,
        bulk_id=bulk_id,
    )
    # As it is now: the caller may have read it in an earlier transaction.
    queue_request(session, request, session.get_one(Account, main.id), now)
    request.note(now, "order_received", customer_number=request.customer_number)
    if bulk_id is None:
        queue_receipt(session, request, principal, "order_receipt", now)
    return request


def _basket(session: Session, draft: OrderDraft, now: datetime, agreed: Mapping[str, PriceLine]) -> Basket:
    accepted = still_delivered(session, agreed, now)
    return basket_of(session, draft.product_key, draft.block_size, draft.option_keys, now, accepted)


def _ensure_may_order(principal: Principal, main: Account) -> None:
    if not may(principal, Action.ORDER, main):
        raise Forbidden
    ensure_may_be_main(main)


def _queue_account(session: Session, ids: ReservedIds, draft: OrderDraft, now: datetime) -> None:
    place = draft.location
    batch_insert(
        session,
        Account,
        id=ids.account_id,
        customer_number=ids.customer_number,
        role=AccountRole.STANDALONE,
        state=AccountState.ORDERED,
        name=place.name,
        street=place.street,
        postal_code=place.postal_code,
        # As it is printed on the contract and on letters.
        city=places_of(session).spelled(place.postal_code, place.city),
        contact_name=draft.contact.name,
        contact_email=draft.contact.email.lower(),
        contact_phone=draft.contact.phone,
        created_at=now,
    )


def blocks_wanted(requests: Iterable[Request], redrawing: Collection[uuid.UUID] = ()) -> Counter[tuple[str, int]]:
    """Count the number blocks that the requests still need, by pair of area code and block size.

    A request that has reserved a block, and an order that has one, need none. A move may need several. Orders whose ids
    are in `redrawing` need another block, because the registrar has a number of their block under another trunk.
    """
    wanted = Counter(
        (request.area_code, request.block_size)
        for request in requests
        if request.area_code is not None
        and request.block_size is not None
        and request.reserved_block_id is None
        and request.kind is not Kind.MOVE
        and (request.trunk is None or not request.trunk.blocks or request.id in redrawing)
    )
    for request in requests:
        if request.kind is Kind.MOVE and request.area_code is not None:
            wanted.update((request.area_code, size) for size in sizes_wanted(request))
    return wanted


def discard_ordered_account(request: Request, now: datetime) -> None:
    """Close the account, trunk and contract of an order that ended before its account became active.

    Does nothing for other requests. The customer number is never issued again, and the numbers return to the pool after
    their quarantine (90 days).
    """
    account = request.account
    if request.kind is Kind.ORDER and account is not None and account.state is AccountState.ORDERED:
        account.close()
        if request.trunk is not None:
            close_trunk(request.trunk, now)


def cancel_and_release(request: Request, reason: Reason, now: datetime) -> None:
    """Cancel a request for `reason`, and release what it has reserved: the account of an order, or a number block.

    If the request was a planned detachment, or a cancellation of contracts, mails tell the people concerned that it was
    taken back. If it had replaced a detachment that the people of the other account had planned, that detachment is
    restored.

    Raises `TooLate` if the request has ended (except as failed), a worker has claimed it, its provisioning has begun
    (and has not failed), or its step that changes the account or contract has begun. Raises `LaterChangePlanned` if the
    request changes a trunk for which a later change was agreed on top of it.
    """
    ensure_no_later_change(request)
    was_planned = request.is_scheduled(now)
    if request.can_cancel:
        free_reserved_numbers(request, now)
    request.cancel(reason, now)
    if restore_displaced(request, now) is None and was_planned:
        tell_of_withdrawal(request, now)
    discard_ordered_account(request, now)
    session = object_session(request)
    if request.kind is Kind.CANCEL and session is not None:
        tell_of_cancellation(session, request, "cancellation_taken_back", now)
