"""More numbers for a SIP trunk, at once or from a day on: quotes, requests, and assigning of the reserved block.

The first step of a request waits for a certificate of need, if the trunk would have more than 100 numbers
(`models.proofs.certificates`). It then reserves a block of the pool (`models.requests.reserved_numbers`), so that no
other request gets it. On the agreed day the block is assigned to the trunk. If the request ends before that day, the
block returns to the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import USUAL_LIMITS, Limit, Limits, lock_limits, take_one
from models.accounts.locks import lock_accounts, lock_active_account
from models.calendar_days import berlin_day
from models.changes.changes import ensure_changeable, ensure_not_detached_before, ensure_not_leaving_invoice
from models.changes.quotes import Quote, TrunkTerms, agreed_line, current_terms, planned_terms
from models.changes.replaced_blocks import replace_block
from models.contracts.catalogue import Product, ProductKind, block_key, price_list
from models.contracts.contracts import ContractItem
from models.errors import Forbidden, InvalidField, NoNumbersAvailable, PricesChanged
from models.orders.area_code_of_address import ensure_area_code
from models.orders.orders import ensure_area_exists
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, counting_account
from models.proofs.certificates import (
    adding_numbers,
    covered_numbers,
    keep_certificate,
    numbers_asked_for,
    numbers_of,
)
from models.requests.contract_end import ensure_before_end, ensure_does_not_move
from models.requests.effective_days import day_to_wait_for
from models.requests.new_requests import create_account_request
from models.requests.receipts import queue_receipt
from models.requests.requests import Request
from models.states import AccountState, Kind
from models.telephony.number_pool import NumberPool, give_reserved_block, set_aside_block
from models.telephony.numbers import BLOCK_SIZES, NumberBlock
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from models.values import Locale


@dataclass(frozen=True, slots=True)
class NumbersDraft:
    """A request for more numbers as it was typed: a block of `block_size` numbers (1, 10 or 100) in the area code.

    `effective_on` is the day in Berlin with whose start the trunk gets the numbers; None, or today, means at once.
    """

    area_code: str
    block_size: int
    effective_on: date | None
    locale: Locale


@dataclass(frozen=True, slots=True)
class NumbersQuote:
    """A quote for more numbers: `terms` has the trunk's terms before and after, `product` is the number block.

    `numbers_before` is how many numbers the trunk has, including numbers that were requested earlier and are not
    assigned yet. `covered` is how many numbers the trunk can have without a further certificate of need.
    """

    area_code: str
    product: Product
    numbers_before: int
    covered: int
    terms: Quote

    @property
    def needs_certificate(self) -> bool:
        """Return whether the numbers are assigned only after a certificate of need was accepted."""
        return self.numbers_after > self.covered

    @property
    def numbers_after(self) -> int:
        """Return how many numbers the trunk will have, including all that are requested."""
        return self.numbers_before + (self.product.block_size or 0)

    @property
    def shown_text(self) -> str:
        """Return the count of numbers and the sums before and after as one text, which the form sends back.

        The text shows whether prices or numbers have changed since the page was shown. If the same form is sent twice,
        the second text is outdated, so the numbers are requested only once.
        """
        return f"{self.numbers_before}-{self.terms.shown_text}"


def submit_numbers(
    session: Session,
    principal: Principal,
    account: Account,
    trunk_id: int,
    draft: NumbersDraft,
    now: datetime,
    *,
    shown: str | None = None,
    usual: Limits = USUAL_LIMITS,
    bulk_id: UUID | None = None,
) -> Request:
    """Save a request for more numbers for the trunk `trunk_id`, log it, and queue a receipt; return the request.

    The prices of the day of the request are agreed. `shown` is the `NumbersQuote.shown_text` of the quote that the
    person saw on the page, None if there was no page. The request counts for the company's daily limit of number
    blocks, even if it is withdrawn; `usual` are the limits of companies without limits of their own. `bulk_id` is the
    bulk (the uploaded file) to which the request belongs, None if there is none; the sender then gets one receipt for
    the whole file. Locks the company's limits and the account.

    Raises `PricesChanged` if `shown` differs from what would be agreed now, `Forbidden` if the account is not active or
    the person may not change its contracts, `NotFound` if the account has no open trunk with this id, `InvalidField` if
    block size, area code or day are not possible, and `LimitReached` if the company has already requested its maximum
    of blocks today.
    """
    company = counting_account(principal, account)
    lock_for_numbers(session, principal, account)
    quote = quote_numbers(session, principal, account, trunk_id, draft, now)
    if shown is not None and shown != quote.shown_text:
        raise PricesChanged
    take_one(session, company, Limit.BLOCKS, now, usual)
    trunk, day = session.get_one(SipTrunk, trunk_id), quote.terms.effective_on
    request = create_account_request(
        session,
        principal,
        account,
        Kind.NUMBERS,
        draft.locale,
        now,
        product_key=quote.product.key,
        area_code=draft.area_code,
        block_size=draft.block_size,
        changed_trunk_id=trunk_id,
        bulk_id=bulk_id,
        effective_on=day,
        replaced_lines=[asdict(line) for line in quote.terms.before.lines],
        price_lines=[asdict(line) for line in quote.terms.after.lines],
    )
    user, code, size = trunk.sip_user, draft.area_code, draft.block_size
    facts: dict[str, Any] = {"sip_user": user, "area_code": code, "size": size}
    if day is None:
        request.note(now, "numbers_received", sip_user=user, area_code=code, size=size)
    else:
        facts["day"] = day.isoformat()
        request.note(now, "numbers_scheduled", sip_user=user, area_code=code, size=size, day=day.isoformat())
    record(session, principal, account, AuditEvent.NUMBERS_ASKED, Action.CHANGE_CONTRACT, now, facts)
    if bulk_id is None:
        queue_receipt(session, request, principal, "numbers_receipt", now)
    session.flush()
    return request


def lock_for_numbers(session: Session, principal: Principal, account: Account) -> None:
    """Lock the limits of the company for which the person requests numbers, and then the account.

    Raises `Forbidden` if the account is not active. Raises `NotFound` if the account was detached meanwhile, so that
    row-level security hides it from the person.
    """
    lock_limits(session, counting_account(principal, account))
    lock_active_account(session, account)


def quote_numbers(
    session: Session, principal: Principal, account: Account, trunk_id: int, draft: NumbersDraft, now: datetime
) -> NumbersQuote:
    """Return the terms of the trunk `trunk_id` before and after it gets the numbers, without saving anything.

    Changes and numbers planned until then count as made. Raises `Forbidden` if the account is not active or the person
    may not change its contracts, and `NotFound` if the account has no open trunk with this id.

    Raises `InvalidField` if no block of this size is sold, or the area code is unknown or cannot fit the account's
    address. Raises it if the day is over, more than 366 days away, or after the end of a cancelled contract, and while
    a move of the account is running. Raises it if the person has access to the account only through its main account,
    and the account is to be detached by that day.
    """
    if account.state is not AccountState.ACTIVE:
        raise Forbidden
    ensure_not_leaving_invoice(session, principal, account)
    trunk = find_trunk(session, principal, Action.CHANGE_CONTRACT, account, trunk_id)
    day = day_to_wait_for(draft.effective_on, now)
    ensure_before_end(session, account.id, day or berlin_day(now))
    ensure_does_not_move(session, account.id)
    if day is not None:
        ensure_not_detached_before(session, principal, account, "effective_on", day, now)
    product = price_list(session, now).get(block_key(draft.block_size))
    if product is None or product.kind is not ProductKind.NUMBER_BLOCK or not product.orderable:
        raise InvalidField("numbers.block_size", "unknown_block_size", BLOCK_SIZES)
    ensure_area_exists(session, draft.area_code)
    ensure_area_code(session, account.postal_code, account.city, draft.area_code)
    before = planned_terms(session, trunk, day, now)
    after = TrunkTerms(before.channels, (*before.lines, product.price_line))
    has = numbers_of(session, trunk_id) + numbers_asked_for(session, trunk_id)
    covered = covered_numbers(session, trunk_id)
    return NumbersQuote(draft.area_code, product, has, covered, Quote(before, after, day))


def planned_numbers(session: Session, trunk_id: int) -> list[Request]:
    """Return the running requests for numbers whose numbers the trunk does not have yet, sorted by effective day."""
    query = adding_numbers(trunk_id, sa.select(Request))
    return list(session.scalars(query.order_by(Request.effective_on.nulls_first(), Request.id)))


def add_numbers(session: Session, request: Request, now: datetime) -> NumberBlock:
    """Assign the reserved block to the trunk, add its item to the contract, and schedule a registrar update.

    Returns the block. The contract item begins now, when the trunk gets the numbers, so days on which the pool had none
    are not charged. The terms before and after are saved in the request again, since other items may have begun or
    ended in the meantime. Safe to run twice. Locks the trunk. Raises `RuleBroken` if the account is not active or the
    trunk is closed.
    """
    trunk = ensure_changeable(session, request)
    assert request.reserved_block_id is not None and request.product_key is not None
    block = session.get_one(NumberBlock, request.reserved_block_id)
    if block.account_id is not None:
        return block
    line, before = agreed_line(request.price_lines, request.product_key), current_terms(session, trunk, now).lines
    request.replaced_lines = [asdict(one) for one in before]
    request.price_lines = [asdict(one) for one in (*before, line)]
    give_reserved_block(session, block, trunk.account_id, trunk.id, now)
    lines = sa.select(sa.func.max(ContractItem.occurrence)).where(
        ContractItem.contract_id == trunk.contract_id, ContractItem.product_key == line.product_key
    )
    session.add(
        ContractItem(
            contract_id=trunk.contract_id,
            occurrence=(session.scalar(lines) or 0) + 1,
            started_at=now,
            block_id=block.id,
            **asdict(line),
        )
    )
    keep_certificate(session, trunk)
    trunk.changed(now)
    session.flush()
    return block


def replace_refused_block(session: Session, request: Request, taken: Set[str], now: datetime) -> NumberBlock | None:
    """Give the trunk another block for the one of this request if it has a number in `taken`; return the refused block.

    `taken` are numbers, with the plus sign, that the registrar lists under another trunk. The refused block is set
    aside, as that of an order is, and the trunk is written again. Returns None if the block has none of these numbers,
    or if the pool has no other: staff are told of that. Locks account, trunk and blocks.
    """
    assert request.account_id is not None and request.reserved_block_id is not None
    lock_accounts(session, [request.account_id])
    account = session.get_one(Account, request.account_id)
    trunk = session.get_one(SipTrunk, request.changed_trunk_id, with_for_update=True)
    block = session.get_one(NumberBlock, request.reserved_block_id, with_for_update=True)
    if block.account_id != account.id or taken.isdisjoint(block.numbers):
        return None
    pool = NumberPool(session, now, Counter([(block.area_code, block.size)]))
    try:
        other = pool.reserve(block.area_code, block.size)
    except NoNumbersAvailable:
        return None
    replace_block(session, account, block, other, now, set_aside_block)
    request.reserved_block_id = other.id
    request.note(now, "numbers_replaced", before=block.display, numbers=other.display)
    session.flush()
    trunk.changed(now)
    return block
