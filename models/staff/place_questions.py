"""Decisions of the carrier's staff whether an address lies in the Ortsnetz (local exchange area) of an area code."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, contains_eager, joinedload

from models.accounts.accounts import Account
from models.errors import Forbidden, NotFound
from models.orders.area_code_of_address import area_codes_for
from models.people.rights import Principal
from models.requests.moved_blocks import MovedBlock
from models.requests.requests import Request
from models.staff.request_actions import SeenOtherwise
from models.states import ENDED, Kind, StepName
from models.telephony.area_codes import AreaCode
from models.telephony.numbers import NumberBlock
from models.telephony.place_answers import KnownPlace, answers_for, place_key, question_id
from models.telephony.place_facts import places_of


@dataclass(frozen=True, slots=True)
class PlaceQuestion:
    """The question to staff whether an address lies in an Ortsnetz (local exchange area), with facts for the answer.

    `place` has town, postal code and area code. `towns` are all towns with this postal code, `near` the Ortsnetze in
    which the address may lie, and `orders` the unfinished orders that wait for the answer.
    """

    place: KnownPlace
    towns: Sequence[str]
    near: Sequence[AreaCode]
    orders: Sequence[Request]


def find_question(session: Session, staff: Principal, id: uuid.UUID) -> PlaceQuestion:
    """Return the question with this id: whether an address lies in an Ortsnetz (local exchange area).

    The question may already be answered. Raises `Forbidden` if `staff` is not one of the carrier's staff, and
    `NotFound` if there is no such question.
    """
    place = _place_for_staff(session, staff, id)
    return PlaceQuestion(
        place,
        places_of(session).towns_of(place.postal_code),
        area_codes_for(session, place.postal_code, place.town),
        _waiting(session, place, sa.select(Request).options(joinedload(Request.main))),
    )


def answer_version(place: KnownPlace) -> int:
    """Return a number that changes with each answer to the question about `place`; 0 while there is no answer.

    The question is whether a town lies in the area of an area code. A form sends back the number that the person saw,
    which reveals whether somebody else has answered since.
    """
    return _version(place.decided_at)


def answer_place_question(
    session: Session, staff: Principal, id: uuid.UUID, now: datetime, *, fits: bool, seen: int
) -> list[Request]:
    """Store the answer whether the question's address lies in the Ortsnetz, and let the waiting orders continue now.

    An Ortsnetz is the local exchange area of an area code. `fits` is the answer, which also applies to all later
    orders. The next steps of the waiting orders are scheduled for now: if `fits` is True the orders continue, otherwise
    they are rejected, with the area codes that fit. Returns these orders. A new answer replaces an earlier one; orders
    that have ended stay as they are.

    `seen` is the `answer_version` that the person saw. Raises `SeenOtherwise` if the question was answered since then,
    `Forbidden` if `staff` is not one of the carrier's staff, and `NotFound` if there is no question with the id `id`.
    """
    place = _place_for_staff(session, staff, id)
    waiting = _waiting(session, place, sa.select(Request).order_by(Request.id).with_for_update(of=Request))
    # Locked after the orders, as workers lock them.
    decided_at = sa.select(KnownPlace.decided_at).where(KnownPlace.id == id).with_for_update()
    if _version(session.scalars(decided_at).one()) != seen:
        raise SeenOtherwise
    place.fits, place.decided_at, place.decided_by = fits, now, staff.user_id
    session.flush()
    for request in waiting:
        if fits:
            request.note(now, "area_code_confirmed", city=place.town, area_code=place.area_code)
        request.make_due(now)
    return waiting


def _version(decided_at: datetime | None) -> int:
    return int(decided_at.timestamp() * 1_000_000) if decided_at is not None else 0


def _place_for_staff(session: Session, staff: Principal, id: uuid.UUID) -> KnownPlace:
    if not staff.is_staff:
        raise Forbidden
    place = session.get(KnownPlace, id, options=[joinedload(KnownPlace.area), joinedload(KnownPlace.decider)])
    if place is None:
        raise NotFound
    return place


def _waiting(session: Session, place: KnownPlace, query: sa.Select[Request]) -> list[Request]:
    """Return the orders of `query` that wait at the step `verify` for the answer about `place`, sorted by id.

    They have its town, postal code and area code. Requests for more numbers for an existing account are included, and
    so are moves to such an address.
    """
    present = sa.and_(
        Request.kind.in_((Kind.ORDER, Kind.NUMBERS)),
        Request.area_code == place.area_code,
        Account.postal_code == place.postal_code,
    )
    goes = sa.exists().where(MovedBlock.request_id == Request.id, MovedBlock.block_id == NumberBlock.id)
    has_some = sa.exists().where(
        NumberBlock.account_id == Request.account_id, NumberBlock.area_code == place.area_code, ~goes
    )
    # The numbers that stay count, too.
    moving = sa.and_(
        Request.kind == Kind.MOVE,
        Request.new_postal_code == place.postal_code,
        sa.or_(Request.area_code == place.area_code, has_some),
    )
    found = query.join(Account, Account.id == Request.account_id).where(
        sa.or_(present, moving), Request.step == StepName.VERIFY, Request.status.not_in(ENDED)
    )
    orders = session.scalars(found.options(contains_eager(Request.account)).order_by(Request.id))
    return [order for order in orders if place_key(_city_of(order)) == place.place]


def open_question_of(session: Session, request: Request) -> uuid.UUID | None:
    """Return the id of the question about an area code for which the request waits; None if it waits for none.

    A move can wait for several, about its new numbers and about those that stay: then the first in the order of the
    area codes that has no answer.
    """
    account = request.account
    if account is None:
        return None
    codes = {request.area_code} if request.area_code is not None else set()
    city, postal_code = _city_of(request), account.postal_code
    if request.kind is Kind.MOVE:
        postal_code = request.place.postal_code
        goes = sa.select(MovedBlock.block_id).where(MovedBlock.request_id == request.id)
        own = sa.select(NumberBlock.area_code).where(NumberBlock.account_id == account.id, NumberBlock.id.not_in(goes))
        codes |= set(session.scalars(own.distinct()))
    answered = answers_for(session, postal_code, city)
    for code in sorted(codes - answered.keys()):
        found = question_id(session, postal_code, city, code)
        if found is not None:
            return found
    return None


def _city_of(request: Request) -> str:
    """Return the town of the address about which the request asks: the new one of a move, otherwise the account's."""
    assert request.account is not None
    return request.place.city if request.kind is Kind.MOVE else request.account.city
