"""The states of a main account's locations: the possible states, and SQL expressions for the state of each location."""

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
    """The state of a location (an account with its connection address), most urgent first; each has exactly one.

    While a request about the account is running, the location waits for the requester (`YOURS`), for the contact or
    another account's administrators (`CONFIRMATION`), or for the carrier (`RUNNING`). Changes of contracts and planned
    detachments do not count. Otherwise the location has a suspended trunk (`SUSPENDED`), a trunk at which no phone
    system is registered (`OFFLINE`), or neither (`IN_SERVICE`).
    """

    YOURS = "yours"
    SUSPENDED = "suspended"
    OFFLINE = "offline"
    CONFIRMATION = "confirmation"
    RUNNING = "running"
    IN_SERVICE = "in_service"


class Show(StrEnum):
    """The filters of the overview by an account's state; an account can match several.

    `NEW` accounts have an order that has not ended, `WAITING` accounts a request that waits for somebody other than the
    carrier, and `ACTIVE` accounts have no unfinished request. The others are states of locations: `YOURS` waits for the
    requester, `CONFIRMATION` for somebody's confirmation, `RUNNING` for the carrier, `OFFLINE` has a trunk without a
    registered phone system, `SUSPENDED` a suspended one, and `IN_SERVICE` none of these.
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

        For `NEW` these are all states with a request that has not ended; the caller must also check that this request
        is an order.
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
"""SQL condition on `Request`: the request is running, and its location has no other state until it ends.

Changes and cancellations of contracts do not count, nor does a detachment that is planned for a day.
"""
WAITS = {
    Actor.REQUESTER: SiteState.YOURS,
    Actor.CONTACT: SiteState.CONFIRMATION,
    Actor.OTHER_ACCOUNT: SiteState.CONFIRMATION,
    Actor.APPROVER: SiteState.CONFIRMATION,
}
RESTING = (SiteState.SUSPENDED, SiteState.OFFLINE, SiteState.IN_SERVICE)
MOVING = frozenset(SiteState) - frozenset(RESTING)


def state_of(request: Request | None) -> SiteState | None:
    """Return the state of a location from its unfinished request; None if `request` is None."""
    if request is None:
        return None
    return WAITS.get(request.waiting_for, SiteState.RUNNING) if request.waiting_for else SiteState.RUNNING


MAIN_ID = sa.bindparam("main_id", type_=sa.BigInteger)
_OFFLINE = sa.bindparam("offline", type_=postgresql.ARRAY(sa.BigInteger))


def values_for(main: Account, offline: Sequence[int] = ()) -> dict[str, Any]:
    """Return the parameters `main_id` and `offline` for a query about the locations of `main`, as a dict.

    `offline` are the ids of the accounts that have a trunk without a registered phone system. The queries themselves
    are built once and kept, because building one takes longer than running it.
    """
    return {"main_id": main.id, "offline": list(offline)}


def resting_state() -> sa.ColumnElement[str]:
    """Return SQL for the state of an account without an unfinished request: suspended, offline or in service."""
    return sa.case(
        (is_suspended(), SiteState.SUSPENDED),
        (is_offline(), SiteState.OFFLINE),
        else_=SiteState.IN_SERVICE,
    )


def running() -> sa.Subquery:
    """Return a subquery with each account's newest running request, among the requests of one main account.

    The main account's id is the query parameter `main_id` (`MAIN_ID`). Changes of contracts and planned detachments do
    not count (`RUNS`).
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
    """Return SQL for the state of a location with an unfinished request.

    `request` is a table or subquery with the columns of that request.
    """
    return sa.case(*((request.waiting_for == actor, state) for actor, state in WAITS.items()), else_=SiteState.RUNNING)


def is_suspended() -> sa.ColumnElement[bool]:
    """Return an SQL condition: the account has a suspended trunk."""
    return sa.exists().where(SipTrunk.account_id == Account.id, SipTrunk.state == TrunkState.SUSPENDED)


def is_offline() -> sa.ColumnElement[bool]:
    """Return an SQL condition: the account has a trunk without a registered phone system.

    It compares the account's id with the query parameter `offline`, a list of account ids.
    """
    return Account.id == sa.any_(_OFFLINE)
