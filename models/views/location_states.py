"""The states of a main account's locations: which are possible, and SQL for the state of each."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from models.accounts.accounts import Account
from models.requests.requests import Request
from models.states import ENDED, OF_CONTRACTS, Actor, Status
from models.telephony.trunks import SipTrunk, TrunkState


class SiteState(StrEnum):
    """The state of a location, the most urgent first; each location has exactly one.

    With a running request: `YOURS` waits for the requester, `CONFIRMATION` for the contact or another account's
    administrators, `RUNNING` is worked on by the carrier. Without one: `SUSPENDED` has a suspended trunk, `OFFLINE` a
    trunk at which no phone system is registered, `IN_SERVICE` neither.
    """

    YOURS = "yours"
    SUSPENDED = "suspended"
    OFFLINE = "offline"
    CONFIRMATION = "confirmation"
    RUNNING = "running"
    IN_SERVICE = "in_service"


class Show(StrEnum):
    """The filters of the overview by an account's state; an account can match several.

    `NEW` accounts have a running order, `WAITING` accounts a request that waits for anybody but the carrier, `ACTIVE`
    accounts no running request. The others are states of locations: `YOURS` and `CONFIRMATION` wait for the requester
    or for somebody's confirmation, `RUNNING` for the carrier, `OFFLINE` has a trunk without a registration, `SUSPENDED`
    a suspended one, and `IN_SERVICE` none of these.
    """

    NEW = "new"
    YOURS = "yours"
    CONFIRMATION = "confirmation"
    WAITING = "waiting"
    RUNNING = "running"
    OFFLINE = "offline"
    SUSPENDED = "suspended"
    ACTIVE = "active"
    IN_SERVICE = "in_service"

    @property
    def states(self) -> frozenset[SiteState]:
        """Return the states that a location shown by this filter can be in.

        For `NEW` these are all states with a running request; the caller also has to check that the request is an
        order.
        """
        match self:
            case Show.WAITING:
                return frozenset({SiteState.YOURS, SiteState.CONFIRMATION})
            case Show.NEW:
                return MOVING
            case Show.ACTIVE:
                return frozenset(RESTING)
        return frozenset({SiteState(self.value)})


# A location whose contract is about to change or to end, or that is detached on a later day, is in service meanwhile.
_WAITS_FOR_DAY = sa.and_(
    Request.effective_on.is_not(None), Request.status.in_((Status.ACKNOWLEDGED, Status.IN_PROGRESS))
)
RUNS = sa.and_(Request.status.not_in(ENDED), Request.kind.not_in(OF_CONTRACTS), ~_WAITS_FOR_DAY)
"""SQL: the request is running, and its location waits for it.

Changes and cancellations of contracts do not count, nor does a detachment that is planned for a day.
"""
WAITS = {
    Actor.REQUESTER: SiteState.YOURS,
    Actor.CONTACT: SiteState.CONFIRMATION,
    Actor.OTHER_ACCOUNT: SiteState.CONFIRMATION,
}
RESTING = (SiteState.SUSPENDED, SiteState.OFFLINE, SiteState.IN_SERVICE)
MOVING = frozenset(SiteState) - frozenset(RESTING)


def state_of(request: Request | None) -> SiteState | None:
    """Return the state of a location with this running request; None if `request` is None."""
    if request is None:
        return None
    return WAITS.get(request.waiting_for, SiteState.RUNNING) if request.waiting_for else SiteState.RUNNING


MAIN_ID = sa.bindparam("main_id", type_=sa.BigInteger)
_OFFLINE = sa.bindparam("offline", type_=postgresql.ARRAY(sa.BigInteger))


def values_for(main: Account, offline: Sequence[int] = ()) -> dict[str, Any]:
    """Return the values of the parameters `main_id` and `offline` of queries about the locations of `main`.

    `offline` are the ids of the accounts that have a trunk without a registration. The queries themselves are built
    once and kept, because building one takes longer than running it.
    """
    return {"main_id": main.id, "offline": list(offline)}


def resting_state() -> sa.ColumnElement[str]:
    """Return SQL for the state of an account without a running request: suspended, offline or in service."""
    return sa.case(
        (is_suspended(), SiteState.SUSPENDED),
        (is_offline(), SiteState.OFFLINE),
        else_=SiteState.IN_SERVICE,
    )


def running() -> sa.Subquery:
    """Return a subquery with one row for each account that a running request of the main account `MAIN_ID` is about.

    The row is that of the account's newest such request.
    """
    # An account can have two at a time: its order is being confirmed while it is already taken out again.
    columns = (
        Request.id,
        Request.account_id,
        Request.kind,
        Request.status,
        Request.waiting_for,
        Request.bulk_id,
        Request.created_at,
    )
    return (
        sa.select(*columns)
        .ext(postgresql.distinct_on(Request.account_id))
        .where(Request.main_id == MAIN_ID, Request.account_id.is_not(None), RUNS)
        .order_by(Request.account_id, Request.id.desc())
        .subquery()
    )


def moving_state(request: Any) -> sa.ColumnElement[str]:
    """Return SQL for the state of a location with a running request; `request` has that request's columns."""
    return sa.case(*((request.waiting_for == actor, state) for actor, state in WAITS.items()), else_=SiteState.RUNNING)


def is_suspended() -> sa.ColumnElement[bool]:
    """Return an SQL condition: the account has a suspended trunk."""
    return sa.exists().where(SipTrunk.account_id == Account.id, SipTrunk.state == TrunkState.SUSPENDED)


def is_offline() -> sa.ColumnElement[bool]:
    """Return an SQL condition: the account has a trunk without a registration.

    That is: the account's id is among those in the query's parameter `offline`.
    """
    return Account.id == sa.any_(_OFFLINE)
