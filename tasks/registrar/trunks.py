"""What has changed about a trunk reaches the registrar: new ones by provisioning, every later change from here.

The trunk's row is its own queue (`models.db.work_queue`): whoever changes what the registrar has to know makes it due.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, selectinload

from models.db.work_queue import claim_due
from models.telephony.forwarding import enabled_of
from models.telephony.trunks import SipTrunk, TrunkState, provision_key
from models.vault import SecretUnreadable, Vault
from tasks.ports import Forwarding, GatewayError, GatewayRefused, TrunkRecord
from tasks.runtime import Runtime

log = structlog.get_logger()


Forwardings = dict[int, tuple[Forwarding, ...]]
"""By the id of the account."""


def forwardings_of(session: Session, account_ids: Collection[int]) -> Forwardings:
    """What these accounts forward."""
    found: Forwardings = {}
    for one in enabled_of(session, account_ids):
        forwarding = Forwarding(one.condition, one.target, one.after_seconds, one.hours)
        found[one.account_id] = (*found.get(one.account_id, ()), forwarding)
    return found


def record_of(trunk: SipTrunk, vault: Vault, forwardings: Forwardings | None = None) -> TrunkRecord:
    """The trunk as the registrar has to know it; a new account forwards nothing. Raises `SecretUnreadable`."""
    numbers = tuple(number for block in trunk.blocks for number in block.numbers)
    return record_from(trunk, numbers, trunk.account.postal_code, forwardings or {}, vault)


def record_from(
    trunk: SipTrunk | sa.Row[*tuple[Any, ...]],
    numbers: tuple[str, ...],
    postal_code: str,
    forwardings: Forwardings,
    vault: Vault,
) -> TrunkRecord:
    """As `record_of`, also where only the columns were read: a pass over all trunks makes no objects of them."""
    return TrunkRecord(
        key=provision_key(trunk.request_id, trunk.sip_user),
        sip_user=trunk.sip_user,
        domain=trunk.domain,
        secret=vault.open(trunk.secret),
        channels=trunk.channels,
        numbers=numbers,
        postal_code=postal_code,
        forwardings=forwardings.get(trunk.account_id, ()),
        suspended=trunk.state is TrunkState.SUSPENDED,
    )


def write_due(runtime: Runtime, more_due: Callable[[], object]) -> None:
    """Bring the registrar up to date with a batch of due trunks. Safe to run twice, late or for nothing.

    One that is closed is taken away there. What fails is tried again at growing distances, also what
    the registrar refuses: a number may still be in the way that another trunk is about to give up.
    """
    lease, now = uuid.uuid4(), runtime.clock()
    with runtime.database.transaction() as session:
        ids = claim_due(session, SipTrunk, now=now, lease=lease, until=now + runtime.lease, limit=runtime.batch)
        claimed = _still_ours(session, ids, lease) if ids else []
        forwardings = forwardings_of(session, {trunk.account_id for trunk in claimed}) if claimed else {}
    if len(ids) == runtime.batch:
        more_due()
    if claimed:
        _record(runtime, lease, _write(runtime, claimed, forwardings) | _remove(runtime, claimed))


def _write(runtime: Runtime, trunks: Sequence[SipTrunk], forwardings: Forwardings) -> dict[int, GatewayError | None]:
    outcomes: dict[int, GatewayError | None] = {}
    records: dict[int, TrunkRecord] = {}
    for trunk in trunks:
        if trunk.state is not TrunkState.CLOSED:
            try:
                records[trunk.id] = record_of(trunk, runtime.vault, forwardings)
            except SecretUnreadable:
                outcomes[trunk.id] = GatewayRefused("secret_unreadable")
    answers = runtime.ports.registrar.put_trunks(list(records.values())) if records else []
    return outcomes | dict(zip(records, answers, strict=True))


def _remove(runtime: Runtime, trunks: Sequence[SipTrunk]) -> dict[int, GatewayError | None]:
    ended = {trunk.id: (trunk.sip_user, trunk.domain) for trunk in trunks if trunk.state is TrunkState.CLOSED}
    if not ended:
        return {}
    try:
        runtime.ports.subscribers.remove(ended.values())
    except GatewayError as error:
        return dict.fromkeys(ended, error)
    return dict.fromkeys(ended)


def _record(runtime: Runtime, lease: uuid.UUID, outcomes: dict[int, GatewayError | None]) -> None:
    now = runtime.clock()
    with runtime.database.transaction() as session:
        ours = _still_ours(session, list(outcomes), lease)
        # Whoever had the others meanwhile may have written before us what is newer: nobody knows who was last.
        lost = outcomes.keys() - {trunk.id for trunk in ours}
        session.execute(sa.update(SipTrunk).where(SipTrunk.id.in_(lost)).values(due_at=now, lease=None))
        for trunk in ours:
            failure = outcomes[trunk.id]
            if failure is None:
                trunk.attempts = 0
                trunk.rest()
            else:
                trunk.attempts += 1
                trunk.make_due(now + runtime.retry.pause(trunk.attempts))
    failed = [repr(failure) for failure in outcomes.values() if failure is not None]
    log.info("trunks.written", count=len(outcomes) - len(failed))
    if failed:
        log.warning("trunks.not_written", count=len(failed), error=failed[0])


def _still_ours(session: Session, ids: Sequence[int], lease: uuid.UUID) -> list[SipTrunk]:
    """Lock again the trunks whose lease is still ours; one that was changed since is due anew, and not ours."""
    ours = sa.select(SipTrunk).where(SipTrunk.id.in_(ids), SipTrunk.lease == lease).order_by(SipTrunk.id)
    return list(
        session.scalars(ours.options(selectinload(SipTrunk.blocks), selectinload(SipTrunk.account)).with_for_update())
    )
