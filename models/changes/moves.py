"""Moving an account to another connection address, at once or on a day: quotes and requests.

The first step of a request reserves a block in the new Ortsnetz for each block that cannot stay, and waits until the
new address is proved. How a move is carried out is in `models.changes.making_moves`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import USUAL_LIMITS, Limit, Limits, lock_limits, take_one
from models.accounts.locks import lock_active_account
from models.calendar_days import berlin_day
from models.changes.cancellations import running_lines
from models.changes.changes import ensure_not_detached_before, ensure_not_leaving_invoice
from models.changes.moved_numbers import divided_blocks, forwardings_to, lost_forwardings, place_of
from models.contracts.catalogue import PriceLine
from models.contracts.costs import Costs, costs_of
from models.errors import (
    AlreadyRequested,
    Forbidden,
    InvalidField,
    NotFound,
    PricesChanged,
)
from models.links.planned_detach import running_detach
from models.orders.area_code_of_address import (
    area_codes_for,
    ensure_address,
    ensure_area_code,
)
from models.orders.orders import ensure_area_exists
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, counting_account, may, through_main
from models.proofs.deadlines import VALID_FOR
from models.proofs.proofs import AddressProof
from models.requests.contract_end import ensure_before_end, running_move
from models.requests.contract_requests import owner_of_contracts
from models.requests.effective_days import day_to_wait_for
from models.requests.moved_blocks import MovedBlock
from models.requests.new_requests import create_account_request
from models.requests.receipts import queue_receipt
from models.requests.requests import Request
from models.same_address import Place
from models.states import ENDED, AccountState, Kind, StepName
from models.telephony.forwarding import CallForwarding
from models.telephony.holdings import trunks_of
from models.telephony.number_pool import count_free
from models.telephony.numbers import NumberBlock
from models.telephony.place_facts import places_of
from models.values import Locale


@dataclass(frozen=True, slots=True)
class MoveDraft:
    """A move as it was typed: the new connection address, and the area code of the numbers that replace others there.

    `area_code` is None for the first that fits the address. `effective_on` is the day in Berlin with whose start the
    account moves; None, or today, for at once.
    """

    place: Place
    area_code: str | None
    effective_on: date | None
    locale: Locale


@dataclass(frozen=True, slots=True)
class MoveQuote:
    """The consequences of a move to `place`: which number blocks stay, and which go because of another Ortsnetz.

    Each block of `goes` is replaced by one of the same size with the area code `area_code`, which is None if all stay.
    `lost` are the forwardings that are deleted, as their numbers are not all of one block. `aimed` are forwardings to a
    number that goes, with their accounts: of this account and of others of the company that the person may see. They
    reach nobody after the move. `lines` are the products of the contracts, whose prices stay. `effective_on` is the day
    in Berlin with whose start the account moves, None if at once. `is_proved` is whether the company has proved the new
    address already. `in_stock`: the pool has the new blocks.
    """

    place: Place
    area_code: str | None
    effective_on: date | None
    stays: Sequence[NumberBlock]
    goes: Sequence[NumberBlock]
    lost: Sequence[CallForwarding]
    aimed: Sequence[tuple[Account, CallForwarding]]
    lines: tuple[PriceLine, ...]
    is_proved: bool
    in_stock: bool

    @property
    def costs(self) -> Costs:
        """Return the monthly sum of all products, the same before and after; a move has no one-off price."""
        return costs_of(self.lines)

    @property
    def shown_text(self) -> str:
        """Return what the page has said as one text, which the form sends back to show whether that has changed.

        It has the address, the numbers that go, the forwardings that are deleted or lead nowhere, and the costs.
        """
        goes = ",".join(str(block.id) for block in self.goes)
        forwardings = ",".join(str(one.id) for one in [*self.lost, *(one for _, one in self.aimed)])
        to, costs = f"{self.place.key}-{self.area_code or ''}", self.costs.monthly.net
        return f"{to}-{goes}-{len(self.stays)}-{forwardings}-{costs}"


def submit_move(
    session: Session,
    principal: Principal,
    account: Account,
    draft: MoveDraft,
    now: datetime,
    *,
    shown: str | None = None,
    usual: Limits = USUAL_LIMITS,
    bulk_id: UUID | None = None,
) -> Request:
    """Save a request to move the account to another connection address, log it, and queue a receipt; return it.

    `shown` is the `MoveQuote.shown_text` of what the person saw on the page, None if there was no page. Counts for the
    company's daily limits: as one block if blocks are to be replaced, however many, as it gives as many back; and as a
    letter if the address is not proved yet. `usual` are the limits of companies that have none of their own. `bulk_id`
    is the bulk (the uploaded file) to which the move belongs, None if there is none; the sender then gets one receipt
    for the whole file. Locks the company's limits and the account.

    Raises `PricesChanged` if `shown` differs from what would be agreed now, `LimitReached` if a limit of the company is
    reached, and whatever `quote_move` raises.
    """
    company = counting_account(principal, account)
    lock_for_move(session, principal, account)
    quote = quote_move(session, principal, account, draft, now)
    if shown is not None and shown != quote.shown_text:
        raise PricesChanged
    if quote.goes:
        take_one(session, company, Limit.BLOCKS, now, usual)
    if not quote.is_proved:
        take_one(session, company, Limit.LETTERS, now, usual)
    to, day, lines = quote.place, quote.effective_on, [asdict(line) for line in quote.lines]
    request = create_account_request(
        session,
        principal,
        account,
        Kind.MOVE,
        draft.locale,
        now,
        new_street=to.street,
        new_postal_code=to.postal_code,
        new_city=to.city,
        replaced_place=asdict(place_of(account)),
        area_code=quote.area_code,
        bulk_id=bulk_id,
        effective_on=day,
        replaced_lines=lines,
        price_lines=lines,
    )
    session.add_all(MovedBlock(request_id=request.id, block_id=block.id) for block in quote.goes)
    # Without the street, which may be a person's: the log is kept for ever.
    facts: dict[str, Any] = {"postal_code": to.postal_code, "city": to.city}
    if day is None:
        request.note(now, "move_received", street=to.street, postal_code=to.postal_code, city=to.city)
    else:
        facts["day"] = day.isoformat()
        request.note(
            now, "move_scheduled", street=to.street, postal_code=to.postal_code, city=to.city, day=facts["day"]
        )
    record(session, principal, account, AuditEvent.MOVE_ASKED, Action.CHANGE_CONTRACT, now, facts)
    if bulk_id is None:
        queue_receipt(session, request, principal, "move_receipt", now)
    session.flush()
    return request


def lock_for_move(session: Session, principal: Principal, account: Account) -> None:
    """Lock the limits of the company for which the person asks for a move, and then the account.

    Raises `Forbidden` if the account is not active, and `NotFound` if it was detached meanwhile, so that
    row-level security hides it from the person.
    """
    lock_limits(session, counting_account(principal, account))
    lock_active_account(session, account)


def quote_move(session: Session, principal: Principal, account: Account, draft: MoveDraft, now: datetime) -> MoveQuote:
    """Return the consequences of the move `draft` of the account, without saving anything.

    Raises `Forbidden` if the account is not active or the person may not change its contracts, `NotFound` if it has no
    open trunk, and `AlreadyRequested` while another move of it is running. Raises `InvalidField` if the address is
    impossible or is the present one; if the area code is unknown or cannot fit the address; if the day is over, more
    than 366 days away, or after the end of a cancelled contract; if more numbers are requested; or if the person has
    access to the account only through its main account, and the account is to be detached by that day, or before the
    time for the proof is over.
    """
    if account.state is not AccountState.ACTIVE or not may(principal, Action.CHANGE_CONTRACT, account):
        raise Forbidden
    ensure_not_leaving_invoice(session, principal, account)
    if not trunks_of(session, account):
        raise NotFound
    running = running_move(session, account.id)
    if running is not None:
        raise AlreadyRequested(str(running.id))
    place = draft.place
    ensure_address(session, place.street, place.postal_code, place.city)
    # As it is printed on the contract and on letters.
    place = Place(place.street, place.postal_code, places_of(session).spelled(place.postal_code, place.city))
    if place.key == place_of(account).key:
        raise InvalidField("location.street", "present_address")
    day = day_to_wait_for(draft.effective_on, now)
    ensure_before_end(session, account.id, day or berlin_day(now))
    if day is not None:
        ensure_not_detached_before(session, principal, account, "effective_on", day, now)
    _ensure_no_numbers_asked(session, account)
    stays, goes = divided_blocks(session, account, place)
    area_code = _new_area_code(session, place, draft.area_code) if goes else None
    proved = sa.select(AddressProof.proved_at).where(
        AddressProof.main_id.in_((account.id, owner_of_contracts(account))),
        AddressProof.address_key == place.key,
        AddressProof.proved_at.is_not(None),
    )
    # People of the location alone do not see what the main account has proved: they read of a letter.
    is_proved = session.scalar(proved.limit(1)) is not None
    if not is_proved:
        _ensure_proved_before_detachment(session, principal, account, now)
    in_stock = area_code is None or _has_blocks(session, area_code, goes, now)
    return MoveQuote(
        place,
        area_code,
        day,
        stays,
        goes,
        lost_forwardings(session, account, goes),
        [(own, one) for own, one in forwardings_to(session, account, goes) if may(principal, Action.VIEW, own)],
        running_lines(session, account, now),
        is_proved=is_proved,
        in_stock=in_stock,
    )


def agreed_move(request: Request) -> tuple[Place, Place, Costs]:
    """Return the addresses before and after a move, and the costs of the contracts, which stay."""
    assert request.replaced_place is not None
    lines = [PriceLine(**line) for line in request.price_lines or ()]
    return Place(**request.replaced_place), request.place, costs_of(lines)


def _ensure_no_numbers_asked(session: Session, account: Account) -> None:
    """Raise `InvalidField` while a request for more numbers of the account is running: they may not fit the address."""
    asked = sa.select(Request.id).where(
        Request.account_id == account.id,
        Request.kind == Kind.NUMBERS,
        Request.status.not_in(ENDED),
        Request.step != StepName.CONFIRM,
    )
    if session.scalar(asked.limit(1)) is not None:
        raise InvalidField("effective_on", "numbers_planned")


def _ensure_proved_before_detachment(session: Session, principal: Principal, account: Account, now: datetime) -> None:
    """Raise `InvalidField` if the account leaves the main account of the person in the time that the proof may take."""
    if through_main(principal, Action.CHANGE_CONTRACT, account) is None:
        return
    detach = running_detach(session, account)
    if detach is not None and (leaves_on := detach.effective_on or berlin_day(now)) <= berlin_day(now + VALID_FOR):
        raise InvalidField("effective_on", "detached_before_proof", leaves_on)


def _new_area_code(session: Session, place: Place, typed: str | None) -> str:
    """Return the area code of the new numbers: the typed one, or else the first that fits the address."""
    if typed is not None:
        ensure_area_exists(session, typed)
        ensure_area_code(session, place.postal_code, place.city, typed)
        return typed
    fitting = area_codes_for(session, place.postal_code, place.city, 1)
    if not fitting:
        raise InvalidField("numbers.area_code", "missing")
    return fitting[0].code


def _has_blocks(session: Session, area_code: str, goes: Sequence[NumberBlock], now: datetime) -> bool:
    """Return whether the pool has as many blocks of each size in the area code as there are among `goes`."""
    wanted = Counter(block.size for block in goes)
    return all(count_free(session, area_code, size, now, most=many) >= many for size, many in wanted.items())
