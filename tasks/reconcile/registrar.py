"""Job `registrar`: compare the registrar's subscribers and number blocks with the portal's trunks and blocks.

Two streams sorted by SIP user are merged: the registrar's snapshot from the start of the pass, and the portal's trunks
read in pages. Because a row may have changed since, the rows of each difference are read again on both sides before the
difference is reported or repaired. Trunks that are due to be written to the registrar are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.requests.requests import Request
from models.states import StepName
from models.telephony.high_risk import high_risk_prefixes
from models.telephony.numbers import NumberBlock
from models.telephony.trunk_takeover import count_unadopted
from models.telephony.trunks import SipTrunk, TrunkState
from models.values import block_numbers
from models.vault import SecretUnreadable, Vault
from tasks import tracing
from tasks.ports import ALLOW, DENY, FORWARD, REQUEST_URI, SECRET_ISSUE, SUSPENDED, SipAddress, Subscriber, TrunkRecord
from tasks.reconcile import merge_compare
from tasks.reconcile.job_run import Run
from tasks.reconcile.merge_compare import Comparison
from tasks.reconcile.registrar_blocks import BLOCKS, our_blocks, report_set_aside
from tasks.registrar.trunks import Forwardings, forwardings_of, record_from, taken_over

LOOK_FIRST = {"forgotten_here", "unknown_there", "too_many_unknown", "too_many_unknown_blocks"}
"""The kinds of unrepaired findings after which a run deletes nothing at the registrar until staff look and allow it."""
REFUSED_OFTEN = 3
"""After this many failed attempts a due trunk counts as not accepted by the registrar, not as about to be written."""


@dataclass(frozen=True, slots=True)
class Ours:
    """One of the portal's trunks, to be compared with its rows in the registrar.

    `address` is its SIP user and domain, `customer_number` that of its account. `record` is what the registrar should
    have: None for a closed trunk, and for one whose secret cannot be decrypted (`unreadable`). `on_its_way` is whether
    the trunk is about to be written to the registrar, so that a difference is no finding. `attempts` is how often
    writing it has failed since the last success. `changed_there` is a function for a trunk that was imported from a
    running Kamailio and is not adopted yet: the portal does not write it. It gets the registrar's subscriber (None if
    there is none), and yields what was changed there since: "secret", "numbers" or both. It is None for any other
    trunk.
    """

    trunk_id: int
    address: SipAddress
    customer_number: str
    record: TrunkRecord | None
    unreadable: bool
    on_its_way: bool
    attempts: int
    changed_there: Callable[[Subscriber | None], Iterator[str]] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between portal and registrar for one SIP user.

    `kind` is the kind of finding, and `what` names the parts of the trunk's record that differ; both are keys of tables
    in `tasks.wording.findings`. `foreign` is whether the registrar has the SIP user under another idempotency key, and
    would therefore refuse the trunk's record. `stays` is whether the registrar's rows stay as they are without the
    staff's permission. These are rows that the portal never wrote, rows of a trunk that the portal wrote and no longer
    has, and rows of an imported trunk that the portal does not write yet (it is not adopted).
    """

    kind: str
    what: tuple[str, ...] = ()
    foreign: bool = False
    stays: bool = False

    def takes_away(self, allowed: bool) -> bool:
        """Return whether rows at the registrar must be deleted to repair the difference, and may be.

        `allowed` is whether staff have allowed deletions.
        """
        return (self.foreign or self.kind in _UNKNOWN) and (allowed or not self.stays)


_UNKNOWN = ("unknown_there", "forgotten_here")


def reconcile_registrar(run: Run) -> None:
    """Find differences between the portal's trunks and number blocks and the registrar's, report and repair them.

    What the registrar lacks or has differently is scheduled to be written again. Rows of the registrar without a trunk
    or block of the portal are deleted. But nothing is deleted while there are trunks that were imported from a running
    Kamailio (taken over) and that the portal does not write yet (not adopted). These trunks are left as they are, and
    reported if they have changed at the registrar since.

    Some deletions need the staff's permission (`run.allow_removals`). Without it, no SIP user is deleted that the
    portal did not write: it may be a customer's of a Kamailio that was there before. Nothing at all is deleted without
    it if there are too many rows to delete. The same holds if one of them is a trunk that the portal once wrote and no
    longer has, as after restoring an old backup.

    Safe to run twice: a trunk is always written from its row. Memory does not grow with the number of rows.
    """
    report_set_aside(run)
    with run.transaction() as session:
        if unadopted := count_unadopted(session):
            run.find("not_adopted", run.job.name, repaired=False, count=unadopted)
    there = run.runtime.ports.subscribers
    compared = _comparison(run.allow_removals and not unadopted)
    # Read and compared at once, a row at a time.
    with tracing.span("registrar.read_blocks", role="client"):
        blocks = BLOCKS.compare(run, our_blocks(run), there.read_blocks())
    with tracing.span("registrar.read", role="client"):
        trunks = compared.compare(run, _trunks(run), there.read())
    # Too many deletions of one kind mean the wrong registrar: then nothing of the other kind is deleted either. The
    # same where we have forgotten a trunk: no trunk's row is ever deleted, so an older backup was restored.
    # While trunks are taken over, rows that we do not know are customers' of whom no row was taken over yet.
    if unadopted:
        return
    if blocks is not None and trunks is not None and (run.allow_removals or not run.found["forgotten_here"]):
        BLOCKS.take_away(run, blocks)
        compared.take_away(run, trunks)


def _trunks(run: Run) -> Iterator[Ours]:
    after = ""
    while True:
        # Each page's transaction renews the lease.
        with run.transaction() as session:
            page = _read(session, run.runtime.vault, SipTrunk.sip_user > after)
        yield from page
        if len(page) < merge_compare.PAGE:
            return
        after = page[-1].address[0]


_COLUMNS = (
    SipTrunk.id,
    SipTrunk.account_id,
    SipTrunk.request_id,
    SipTrunk.sip_user,
    SipTrunk.domain,
    SipTrunk.secret,
    SipTrunk.channels,
    SipTrunk.request_uri,
    SipTrunk.countries,
    SipTrunk.high_risk,
    SipTrunk.state,
    SipTrunk.due_at,
    SipTrunk.attempts,
    SipTrunk.unadopted_since,
    SipTrunk.taken_over_as,
    Account.customer_number,
    Account.postal_code,
    Request.step,
)


def _read(session: Session, vault: Vault, which: sa.ColumnElement[bool]) -> list[Ours]:
    rows = session.execute(
        sa.select(*_COLUMNS)
        .select_from(SipTrunk)
        .join(Account, Account.id == SipTrunk.account_id)
        .outerjoin(Request, Request.id == SipTrunk.request_id)
        .where(which)
        .order_by(SipTrunk.sip_user)
        .limit(merge_compare.PAGE)
    ).all()
    numbers = _numbers(session, [row.id for row in rows])
    forwardings = forwardings_of(session, {row.account_id for row in rows})
    blocked = high_risk_prefixes(session)
    return [_ours(vault, row, numbers.get(row.id, ()), forwardings, blocked) for row in rows]


def _numbers(session: Session, trunk_ids: list[int]) -> dict[int | None, tuple[str, ...]]:
    # One array parameter: a statement with one parameter for each id would be long and parsed every time.
    theirs = NumberBlock.trunk_id == sa.any_(sa.literal(trunk_ids, postgresql.ARRAY(sa.BigInteger)))
    blocks = sa.select(NumberBlock.trunk_id, NumberBlock.first_number, NumberBlock.size).where(theirs)
    found: dict[int | None, tuple[str, ...]] = {}
    for trunk_id, first, size in session.execute(blocks):
        found[trunk_id] = found.get(trunk_id, ()) + block_numbers(first, size)
    return found


def _ours(
    vault: Vault,
    trunk: sa.Row[*tuple[Any, ...]],
    numbers: tuple[str, ...],
    forwardings: Forwardings,
    blocked: Sequence[str],
) -> Ours:
    record, unreadable = None, False
    if trunk.state is not TrunkState.CLOSED:
        try:
            record = record_from(trunk, numbers, trunk.postal_code, forwardings, vault, blocked)
        except SecretUnreadable:
            unreadable = True
    being_provisioned = trunk.step is StepName.PROVISION and trunk.state is not TrunkState.CLOSED
    on_its_way = being_provisioned or (trunk.due_at is not None and trunk.attempts < REFUSED_OFTEN)
    address = (trunk.sip_user, trunk.domain)
    return Ours(
        trunk.id,
        address,
        trunk.customer_number,
        record,
        unreadable,
        on_its_way,
        trunk.attempts,
        partial(taken.differing, vault) if (taken := taken_over(trunk)) is not None else None,
    )


def _difference(ours: Ours | None, found: Subscriber | None) -> Difference | None:
    if ours is None:
        # None once it is gone, between the two readings.
        keys = _keys(found) if found is not None else set[str]()
        forgotten = found is not None and found.login is not None and bool(keys)
        what = tuple(_parts(found)) if found is not None else ()
        return Difference("forgotten_here" if forgotten else "unknown_there", what, stays=forgotten or not keys)
    if ours.changed_there is not None:
        what = tuple(ours.changed_there(found))
        return Difference("differs_there", what, stays=True) if what else None
    if ours.on_its_way:
        return None
    if ours.unreadable:
        return Difference("secret_unreadable")
    if ours.record is None:
        return Difference("still_there") if found is not None else None
    what = tuple(_differing(ours.record, found)) if found is not None else ()
    if found is not None and not what:
        return None
    keys = _keys(found) if found is not None else set()
    return Difference(_kind(ours, found, what), what, foreign=not keys <= {ours.record.key})


def _keys(found: Subscriber) -> set[str]:
    """Return the idempotency keys of the registrar's subscriber: empty if the portal has not written its rows."""
    return {value for name, value in found.preferences if name == "provision_key"}


def _kind(ours: Ours, found: Subscriber | None, what: tuple[str, ...]) -> str:
    if ours.attempts >= REFUSED_OFTEN:
        return "not_accepted"
    if found is None or found.login is None:
        return "missing_there"
    return "doubled_there" if what == ("doubled",) else "differs_there"


def _takes_away(allowed: bool, ours: Ours | None, found: Subscriber | None) -> bool | None:
    difference = _difference(ours, found)
    return difference.takes_away(allowed) if difference is not None else None


_IN_PARTS = (FORWARD, ALLOW, DENY)
"""The prefixes of preferences of which a trunk may have several, which together make one setting."""
_ONLY_OF_SOME = (SUSPENDED, REQUEST_URI)
"""The names of preferences that not every trunk has."""


def _differing(record: TrunkRecord, found: Subscriber) -> Iterator[str]:
    wanted, there = record.preferences, found.preferences
    wrong = [name for name, value in wanted.items() if {found for known, found in there if known == name} != {value}]
    strange = [name for name, _ in there if name not in wanted]
    if found.login != (record.ha1, record.ha1b, "") or SECRET_ISSUE in wrong:
        yield "secret"
    if set(found.aliases) != {(number, record.domain) for number in record.numbers}:
        yield "numbers"
    yield from (name for name in wrong if name != SECRET_ISSUE and not name.startswith(_IN_PARTS))
    if any(name.startswith(FORWARD) for name in wrong + strange):
        yield "forwardings"
    if any(name.startswith((ALLOW, DENY)) for name in wrong + strange):
        yield "destinations"
    yield from (name for name in _ONLY_OF_SOME if name in strange)
    doubled = _has_doubles([*found.aliases, *found.preferences])
    # For rows under another key, often added by hand, no further difference is reported.
    badly_marked = not (wrong or strange or doubled) and found.keys != {record.key}
    if badly_marked or not all(name.startswith(_IN_PARTS) or name in _ONLY_OF_SOME for name in strange):
        yield "preferences"
    if doubled:
        yield "doubled"


def _has_doubles(rows: Sequence[tuple[str, str]]) -> bool:
    return len(set(rows)) < len(rows)


def _parts(found: Subscriber) -> Iterator[str]:
    if found.login is not None:
        yield "subscriber"
    if found.aliases:
        yield "numbers"
    if found.preferences:
        yield "preferences"
    if found.registered:
        yield "registration"


def _settle(allowed: bool, run: Run, suspects: Collection[SipAddress]) -> None:
    """Read the trunks and subscribers with these SIP addresses again, and repair and report those that still differ.

    Repairing means to schedule a trunk to be written again, or to delete rows from the registrar. `allowed`: staff have
    allowed deletions.
    """
    if not suspects:
        return
    with tracing.span("registrar.look_up", role="client", together=len(suspects)):
        found = run.runtime.ports.subscribers.look_up(suspects)
    users = [user for user, _ in suspects]
    with run.transaction() as session:
        ours = {one.address: one for one in _read(session, run.runtime.vault, SipTrunk.sip_user.in_(users))}
    wrong = {
        address: difference
        for address in suspects
        if (address in ours or address in found)
        and (difference := _difference(ours.get(address), found.get(address))) is not None
    }
    cleared = _clear(run, {address for address, one in wrong.items() if one.takes_away(allowed)}, ours.keys())
    again = {address for address, one in wrong.items() if one.kind in _WRITTEN_AGAIN and not one.stays} | (
        cleared & ours.keys()
    )
    with run.transaction() as session:
        ids = [ours[address].trunk_id for address in again]
        for trunk in session.scalars(
            sa.select(SipTrunk).where(SipTrunk.id.in_(ids)).order_by(SipTrunk.id).with_for_update()
        ):
            trunk.make_due(run.now)
        for address, difference in wrong.items():
            _find(run, ours.get(address), address, difference, repaired=address in again | cleared)


_WRITTEN_AGAIN = {"missing_there", "differs_there", "doubled_there", "still_there"}


def _clear(run: Run, cleared: set[SipAddress], ours: Collection[SipAddress]) -> set[SipAddress]:
    """Delete rows of SIP addresses without a trunk from the registrar, and keys that keep trunks from being written.

    `cleared` are the SIP addresses of both; those that are also in `ours` have a trunk in the portal, and only lose
    their idempotency keys. Return `cleared`. A dry run deletes nothing.
    """
    if cleared and not run.dry:
        with tracing.span("registrar.remove", role="client", together=len(cleared)):
            run.runtime.ports.subscribers.remove(cleared.difference(ours))
            run.runtime.ports.subscribers.release(cleared.intersection(ours))
    run.counts["removed"] += len(cleared)
    return cleared


def _find(run: Run, ours: Ours | None, address: SipAddress, difference: Difference, *, repaired: bool) -> None:
    user, domain = address
    facts: dict[str, object] = {"sip_user": user, "domain": domain, "what": list(difference.what)}
    if ours is not None:
        facts |= {"customer_number": ours.customer_number, "attempts": ours.attempts}
    run.find(difference.kind, user, repaired=repaired, **facts)


def _comparison(allowed: bool) -> Comparison[SipAddress, Ours, Subscriber]:
    """Return the `Comparison` of the portal's trunks with the registrar's subscribers.

    `allowed` is whether staff have allowed deletions.
    """
    return Comparison(
        key=attrgetter("address"),
        takes_away=partial(_takes_away, allowed),
        settle=partial(_settle, allowed),
        counted="compared",
        too_many="too_many_unknown",
    )
