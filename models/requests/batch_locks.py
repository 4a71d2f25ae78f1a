"""Locks on the requests of a batch, as the workers take them, and on the accounts that these requests change."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import ids_by_customer_number
from models.accounts.locks import lock_free_accounts
from models.messages.outbox import Message, MessageState
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
    """Lock the requests with these ids that are still claimed under `lease`, and their accounts; return the requests.

    Never waits for a lock: a request is left out if another transaction has locked it or one of its accounts, so that
    one locked row delays only its own request.
    """
    ours = sa.select(Request).where(Request.id.in_(ids), Request.lease == lease)
    locked = session.scalars(ours.order_by(Request.id).with_for_update(skip_locked=True).options(*_WHOLE)).all()
    needed = _accounts_needed(session, locked)
    changing = {id for changed, _ in needed.values() for id in changed}
    free = lock_free_accounts(session, changing, [request.main_id for request in locked])
    return [request for request in locked if free.issuperset({*needed[request][0], needed[request][1]})]


def lock_announcing(session: Session, messages: Sequence[int]) -> None:
    """Lock the requests whose timelines will show one of the messages with these ids once the message is sent.

    Only messages that are still queued count. Lock the requests before the messages and before reading the time: then
    timeline entries of two transactions are in the order of their times.
    """
    announced = sa.select(Message.request_id).where(Message.id.in_(messages), Message.announced)
    announced = announced.where(Message.state == MessageState.QUEUED)
    query = sa.select(Request.id).where(Request.id.in_(announced)).order_by(Request.id)
    session.execute(query.with_for_update(key_share=True))


def _accounts_needed(session: Session, requests: Sequence[Request]) -> dict[Request, tuple[set[int], int]]:
    """Return for each request: the ids of the accounts that it may change, and the id of its main account.

    The caller locks them with one statement for the batch, in one order for every worker, before anything is written.
    Otherwise two batches would deadlock: a foreign key takes a shared lock of its account, and both would need the
    full lock afterwards.
    """
    named = [request.customer_number for request in requests if request.account_id is None]
    ids = ids_by_customer_number(session, named)
    needed = {}
    for request in requests:
        known = request.account_id if request.account_id is not None else ids.get(request.customer_number)
        becoming_main = {request.main_id} if request.main.role is AccountRole.STANDALONE else set()
        needed[request] = (becoming_main | ({known} if known is not None else set()), request.main_id)
    return needed
