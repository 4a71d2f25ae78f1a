"""Row locks that workers take on a batch of requests and on the accounts that these requests change."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import ids_by_customer_number
from models.accounts.locks import lock_free_accounts
from models.messages.outbox import Message, MessageState
from models.requests.contract_requests import present_owner
from models.requests.requests import Request
from models.states import AccountRole
from models.telephony.trunks import SipTrunk

# What the steps read, in one statement each for the whole batch.
_WHOLE = (
    selectinload(Request.main),
    selectinload(Request.account),
    selectinload(Request.requester),
    selectinload(Request.area),
    selectinload(Request.trunk).selectinload(SipTrunk.blocks),
)


def lock_claimed(session: Session, ids: Sequence[uuid.UUID], lease: uuid.UUID) -> list[Request]:
    """Lock the requests with these ids that this worker still claims, and their accounts; return these requests.

    `lease` is the id of the worker's claim. Never waits for a lock: a request is left out if another transaction has
    locked it or one of its accounts, so that one locked row delays only its own request. The accounts of a request
    about contracts include the one that `models.requests.contract_requests.hand_over` has to give it to.
    """
    ours = sa.select(Request).where(Request.id.in_(ids), Request.lease == lease)
    locked = session.scalars(ours.order_by(Request.id).with_for_update(skip_locked=True).options(*_WHOLE)).all()
    needed = _accounts_needed(session, locked)
    changing = {id for changed, _ in needed.values() for id in changed}
    free = lock_free_accounts(session, changing, {id for _, named in needed.values() for id in named})
    # Whose a request is, is known for certain only once its account is locked.
    return [request for request in locked if free.issuperset(needed[request][0] | _named(request))]


def lock_announcing(session: Session, messages: Sequence[int]) -> None:
    """Lock the requests in whose timelines the messages with these ids will appear once they are sent.

    Messages that are not queued any more are ignored. Call this before locking the messages and before reading the
    time, so that the timeline entries of two transactions are in the order of their times.
    """
    session.execute(_LOCK_ANNOUNCING, {"messages": messages})


_ANNOUNCED = sa.select(Message.request_id).where(
    Message.id == sa.any_(sa.bindparam("messages", type_=postgresql.ARRAY(sa.BigInteger))),
    Message.announced,
    Message.state == MessageState.QUEUED,
)
_LOCK_ANNOUNCING = (
    sa.select(Request.id).where(Request.id.in_(_ANNOUNCED)).order_by(Request.id).with_for_update(key_share=True)
)


def _named(request: Request) -> set[int]:
    """Return the ids of the request's main account and of the account to hand the request over to (`present_owner`)."""
    owner = present_owner(request)
    return {request.main_id} if owner is None else {request.main_id, owner}


def _accounts_needed(session: Session, requests: Sequence[Request]) -> dict[Request, tuple[set[int], set[int]]]:
    """Return, for each request, the ids of the accounts that it may change, and of those that its row names (`_named`).

    The caller must lock all of them before anything is written: with one statement for the batch, in the same order as
    every other worker. Otherwise two batches could deadlock. Inserting a row that refers to an account takes a shared
    lock on it, and both batches would then wait for the full lock.
    """
    named = [request.customer_number for request in requests if request.account_id is None]
    ids = ids_by_customer_number(session, named)
    needed = {}
    for request in requests:
        known = request.account_id if request.account_id is not None else ids.get(request.customer_number)
        becoming_main = {request.main_id} if request.main.role is AccountRole.STANDALONE else set()
        needed[request] = (becoming_main | ({known} if known is not None else set()), _named(request))
    return needed
