"""Write changed SIP trunks to the registrar. A new trunk is written by the step `provision`, later changes here.

The table of trunks is a work queue: code that changes a trunk also marks its row as due to be written.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, selectinload

from models.changes.making_moves import replace_refused
from models.changes.more_numbers import replace_refused_block
from models.db.work_queue import made_due
from models.jobs.outages import ExternalSystem
from models.requests.requests import Request
from models.states import CONTRACT_CHANGES, ENDED, Kind, StepName
from models.telephony.country_prefixes import rules_of
from models.telephony.forwarding import enabled_of
from models.telephony.high_risk import high_risk_prefixes
from models.telephony.numbers import NumberBlock
from models.telephony.trunk_takeover import note_adoption
from models.telephony.trunks import SipTrunk, TrunkState, provision_key
from models.vault import SecretUnreadable, Vault
from tasks import tracing
from tasks.claims import Claim, claimed
from tasks.note_outages import note_answers
from tasks.ports import Forwarding, GatewayError, NotSent, NumberTaken, TrunkRecord
from tasks.registrar.taken_over import TakenOver
from tasks.runtime import Runtime

log = structlog.get_logger()


Forwardings = dict[int, tuple[Forwarding, ...]]
"""Enabled call forwardings by account id."""


def forwardings_of(session: Session, account_ids: Collection[int]) -> Forwardings:
    """Return the enabled call forwardings by account id; an account without enabled forwardings has no entry."""
    found: Forwardings = {}
    for one in enabled_of(session, account_ids):
        id = one.id if one.numbers else None
        forwarding = Forwarding(one.condition, one.target, one.after_seconds, one.hours, one.numbers, id)
        found[one.account_id] = (*found.get(one.account_id, ()), forwarding)
    return found


def record_of(
    trunk: SipTrunk, vault: Vault, forwardings: Forwardings | None = None, blocked: Sequence[str] = ()
) -> TrunkRecord:
    """Build the record of a trunk that is sent to the registrar.

    `forwardings` has the enabled call forwardings by account id (None: none). `blocked` are the high-risk prefixes,
    which only a trunk with `high_risk` may call. Raises `SecretUnreadable` if the trunk's secret was encrypted with a
    key that is not configured.
    """
    numbers = tuple(number for block in trunk.blocks for number in block.numbers)
    return record_from(trunk, numbers, trunk.account.postal_code, forwardings or {}, vault, blocked)


def record_from(
    trunk: SipTrunk | sa.Row[*tuple[Any, ...]],
    numbers: tuple[str, ...],
    postal_code: str,
    forwardings: Forwardings,
    vault: Vault,
    blocked: Sequence[str],
) -> TrunkRecord:
    """Build the record that is sent to the registrar, from a trunk or from a row of its columns.

    A row avoids loading objects. `numbers` are the trunk's numbers in E.164 with the plus sign. `postal_code` is that
    of the connection address. `forwardings` has the enabled call forwardings by account id. `blocked` are the high-risk
    prefixes, which only a trunk with `high_risk` may call. Raises `SecretUnreadable` if the trunk's secret was
    encrypted with a key that is not configured.
    """
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
        request_uri=trunk.request_uri,
        rules=rules_of(trunk.countries, () if trunk.high_risk else blocked),
    )


def write_due_trunks(runtime: Runtime, more_due: Callable[[], object]) -> None:
    """Write a batch of due (changed) trunks to the registrar, and delete the registrar's rows of closed trunks.

    A trunk that fails is retried with exponential backoff, even if the registrar refuses it: its number may still be
    assigned to a trunk that is about to release the number. A trunk that was imported from a running Kamailio is first
    written when it is changed in the portal or adopted, and then after each change. If its login or numbers at the
    registrar have changed since the import, nothing is overwritten, and the job `registrar` reports it. `more_due` is
    called after claiming a full batch, because more trunks may be due. Safe to run twice, late or when nothing is due.
    """
    with claimed(runtime, SipTrunk, more_due, limit=runtime.batch, system=ExternalSystem.REGISTRAR) as claim:
        if not claim.ids:
            return
        with runtime.database.transaction() as session:
            trunks = _lock_claimed(session, claim.ids, claim.lease)
            claim.give_back(set(claim.ids) - {trunk.id for trunk in trunks})
            forwardings = forwardings_of(session, {trunk.account_id for trunk in trunks})
            blocked = high_risk_prefixes(session)
        changed_there = _changed_there(runtime, trunks)
        writable = [trunk for trunk in trunks if trunk.id not in changed_there]
        outcomes = changed_there | _write(runtime, writable, forwardings, blocked) | _remove(runtime, trunks)
        _record(claim, outcomes)
        _draw_again(runtime, trunks, outcomes)
        note_answers(claim, ExternalSystem.REGISTRAR, outcomes.values())


def _changed_there(runtime: Runtime, trunks: Sequence[SipTrunk]) -> dict[int, GatewayError | None]:
    """Return an error, by trunk id, for each imported trunk that must not be written to the registrar now.

    These are trunks that are not adopted yet (never written by the portal), and whose login or numbers have changed at
    the registrar since the import. If the registrar cannot be read, all trunks that are not adopted get its error.
    """
    theirs = {trunk.id: taken for trunk in trunks if (taken := taken_over(trunk)) is not None}
    if not theirs:
        return {}
    try:
        with tracing.span("registrar.look_up", role="client", together=len(theirs)):
            found = runtime.ports.subscribers.look_up([taken.address for taken in theirs.values()])
    except GatewayError as error:
        return dict.fromkeys(theirs, error)
    differing = {id: list(taken.differing(runtime.vault, found.get(taken.address))) for id, taken in theirs.items()}
    return {id: NotSent("differs_there") for id, parts in differing.items() if parts}


def taken_over(trunk: SipTrunk | sa.Row[*tuple[Any, ...]]) -> TakenOver | None:
    """Return the data for comparing an imported trunk with the registrar; `trunk` may be a row of its columns.

    Return None if the trunk was not imported from a running Kamailio, if the portal writes it already (it is adopted),
    or if it is closed.
    """
    if trunk.unadopted_since is None or trunk.taken_over_as is None or trunk.state is TrunkState.CLOSED:
        return None
    key = provision_key(trunk.request_id, trunk.sip_user)
    return TakenOver((trunk.sip_user, trunk.domain), key, trunk.taken_over_as)


def _write(
    runtime: Runtime, trunks: Sequence[SipTrunk], forwardings: Forwardings, blocked: Sequence[str]
) -> dict[int, GatewayError | None]:
    outcomes: dict[int, GatewayError | None] = {}
    records: dict[int, TrunkRecord] = {}
    for trunk in trunks:
        if trunk.state is not TrunkState.CLOSED:
            try:
                records[trunk.id] = record_of(trunk, runtime.vault, forwardings, blocked)
            except SecretUnreadable:
                outcomes[trunk.id] = NotSent("secret_unreadable")
    if not records:
        return outcomes
    with tracing.span("registrar.put_trunks", role="client", together=len(records)):
        answers = runtime.ports.registrar.put_trunks(list(records.values()))
    return outcomes | dict(zip(records, answers, strict=True))


def _remove(runtime: Runtime, trunks: Sequence[SipTrunk]) -> dict[int, GatewayError | None]:
    ended = {trunk.id: (trunk.sip_user, trunk.domain) for trunk in trunks if trunk.state is TrunkState.CLOSED}
    if not ended:
        return {}
    try:
        with tracing.span("registrar.remove", role="client", together=len(ended)):
            runtime.ports.subscribers.remove(ended.values())
    except GatewayError as error:
        return dict.fromkeys(ended, error)
    return dict.fromkeys(ended)


def _record(claim: Claim, outcomes: dict[int, GatewayError | None]) -> None:
    runtime, lease = claim.runtime, claim.lease
    now = runtime.clock()
    with runtime.database.transaction() as session:
        ours = _lock_claimed(session, list(outcomes), lease)
        missing = outcomes.keys() - {trunk.id for trunk in ours}
        locked = set(session.scalars(sa.select(SipTrunk.id).where(SipTrunk.id.in_(missing), SipTrunk.lease == lease)))
        # Another worker may have written newer data before us; the order is unknown, so these are written again.
        if lost := missing - locked:
            session.execute(sa.update(SipTrunk).where(SipTrunk.id.in_(lost)).values(due_at=now, lease=None))
            made_due(session, SipTrunk.WORK)
        adopted = [trunk for trunk in ours if trunk.unadopted_since is not None and outcomes[trunk.id] is None]
        if adopted:
            note_adoption(session, adopted, now)
        written: list[int] = []
        for trunk in ours:
            failure = outcomes[trunk.id]
            if failure is None:
                trunk.attempts = 0
                trunk.rest()
                written.append(trunk.account_id)
            else:
                trunk.attempts += 1
                trunk.make_due(now + runtime.retry.pause(trunk.attempts))
        if written:
            _wake_waiting(session, written, now)
    claim.give_back(locked)
    failed = [repr(failure) for failure in outcomes.values() if failure is not None]
    log.info("trunks.written", count=len(outcomes) - len(failed))
    if failed:
        log.warning("trunks.not_written", count=len(failed), error=failed[0])


def _draw_again(runtime: Runtime, trunks: Sequence[SipTrunk], outcomes: Mapping[int, GatewayError | None]) -> None:
    """Give trunks other new numbers if the registrar lists those they have just got under another trunk.

    If a worker dies before, the trunk's next try is refused, too, and leads here again.
    """
    for trunk in trunks:
        failure = outcomes.get(trunk.id)
        if not isinstance(failure, NumberTaken) or not failure.numbers:
            continue
        with runtime.database.transaction() as session:
            waiting = _not_written([trunk.account_id]).with_for_update(skip_locked=True)
            for request in session.scalars(waiting):
                for block in _replaced(session, request, failure.numbers, runtime.clock()):
                    log.error("numbers.taken", request=str(request.id), numbers=block.display)


def _replaced(session: Session, request: Request, taken: Set[str], now: datetime) -> Sequence[NumberBlock]:
    """Replace blocks of the request that have a number in `taken` by others; return the blocks that are refused."""
    match request.kind:
        case Kind.MOVE:
            return replace_refused(session, request, taken, now)
        case Kind.NUMBERS:
            refused = replace_refused_block(session, request, taken, now)
            return [refused] if refused is not None else []
        case _:
            return []


def _not_written(account_ids: Collection[int]) -> sa.Select[Request]:
    """Return a query for requests of these accounts that wait until trunks are written (`wait_for_network`)."""
    waiting = sa.select(Request).where(
        Request.account_id == sa.any_(sa.literal(list(account_ids), postgresql.ARRAY(sa.BigInteger))),
        Request.kind.in_(CONTRACT_CHANGES),
        Request.step == StepName.CONFIRM,
        Request.status.not_in(ENDED),
    )
    return waiting.order_by(Request.id)


def _wake_waiting(session: Session, account_ids: Collection[int], now: datetime) -> None:
    """Let the requests of these accounts go on that wait until their trunks are written."""
    # A locked one looks by itself: to wait for it with trunks locked could be a deadlock.
    for request in session.scalars(_not_written(account_ids).with_for_update(skip_locked=True)):
        request.make_due(now)


def _lock_claimed(session: Session, ids: Sequence[int], lease: uuid.UUID) -> list[SipTrunk]:
    """Lock and return the trunks among `ids` that are still claimed under this lease.

    Trunks that another transaction has locked are left out, and so are trunks changed after they were claimed, because
    a change ends the claim.
    """
    ours = sa.select(SipTrunk).where(SipTrunk.id.in_(ids), SipTrunk.lease == lease).order_by(SipTrunk.id)
    return list(
        session.scalars(
            ours.options(selectinload(SipTrunk.blocks), selectinload(SipTrunk.account)).with_for_update(
                skip_locked=True
            )
        )
    )
