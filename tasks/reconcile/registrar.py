"""registrar: its subscribers against our trunks, both ways, in one pass.

Two streams ordered by SIP user are merged: the registrar's as of the moment when the pass began, and ours a page at a
time. What differs there is only suspected, for it may have changed since: it is looked up again on both sides before
anything is said or done. Trunks that are on their way to the registrar are left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from typing import cast

import sqlalchemy as sa
from sqlalchemy.orm import Session, selectinload

from models.accounts import Account
from models.requests import Request
from models.states import StepName
from models.telephony import SipTrunk, TrunkState
from models.vault import SecretUnreadable, Vault
from tasks.jobs import Run
from tasks.ports import SipAddress, Subscriber, TrunkRecord
from tasks.sync import record_of

PAGE = 500
"""Trunks of ours, and suspects, that are in memory at once."""
REFUSED_OFTEN = 3
"""After so many attempts a trunk is no longer on its way: the registrar will not have it."""
MOST_REMOVED = 1000
"""Unknown SIP users that one run takes away. If there are more, more likely we look at the wrong registrar."""


@dataclass(frozen=True, slots=True)
class Ours:
    """A trunk as far as it is compared. Without a record it must not be there, or nobody can say what it is."""

    trunk_id: int
    address: SipAddress
    customer_number: str
    record: TrunkRecord | None
    unreadable: bool
    on_its_way: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong with one SIP user. `what` is in the words of `models.findings.WHAT`.

    `foreign`: it is there under somebody else's key, and the registrar would give it to nobody else.
    """

    kind: str
    what: tuple[str, ...] = ()
    foreign: bool = False


def reconcile_registrar(run: Run) -> None:
    """Have every trunk that is missing or differs written again, and take away what no trunk of ours has.

    Safe to run twice: a trunk is written from its row. Memory does not grow with the number of trunks.
    """
    with closing(run.runtime.ports.subscribers.read()) as theirs:
        suspects: list[SipAddress] = []
        for ours, found in _side_by_side(_trunks(run), theirs):
            run.counts["compared"] += 1
            if _difference(ours, found) is not None:
                suspects.append((ours or _known(found)).address)
            if len(suspects) == PAGE:
                _settle(run, suspects)
                suspects.clear()
        _settle(run, suspects)


def _known(found: Subscriber | None) -> Subscriber:
    assert found is not None
    return found


def _side_by_side(
    ours: Iterator[Ours], theirs: Iterator[Subscriber]
) -> Iterator[tuple[Ours | None, Subscriber | None]]:
    """Both sides, each SIP user once. Neither is read further than it has to be."""
    sides = cast(tuple[Iterator[Ours | Subscriber], ...], (ours, theirs))
    for _, same in groupby(merge(*sides, key=_address), _address):
        pair = list(same)
        yield (
            next((one for one in pair if isinstance(one, Ours)), None),
            next((one for one in pair if isinstance(one, Subscriber)), None),
        )


def _address(one: Ours | Subscriber) -> SipAddress:
    return one.address


def _trunks(run: Run) -> Iterator[Ours]:
    after = ""
    while True:
        # The lease is renewed with every page, however long the pass takes.
        with run.transaction() as session:
            page = _read(session, run.runtime.vault, SipTrunk.sip_user > after)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].address[0]


def _read(session: Session, vault: Vault, which: sa.ColumnElement[bool]) -> list[Ours]:
    rows = session.execute(
        sa.select(SipTrunk, Account.customer_number, Request.step)
        .join(Account, Account.id == SipTrunk.account_id)
        .outerjoin(Request, Request.id == SipTrunk.request_id)
        .where(which)
        .order_by(SipTrunk.sip_user)
        .limit(PAGE)
        .options(selectinload(SipTrunk.blocks))
    )
    return [_ours(vault, trunk, number, step) for trunk, number, step in rows]


def _ours(vault: Vault, trunk: SipTrunk, customer_number: str, step: StepName | None) -> Ours:
    record, unreadable = None, False
    if trunk.state is TrunkState.ACTIVE:
        try:
            record = record_of(trunk, vault)
        except SecretUnreadable:
            unreadable = True
    being_provisioned = step is StepName.PROVISION and trunk.state is TrunkState.ACTIVE
    on_its_way = being_provisioned or (trunk.due_at is not None and trunk.attempts < REFUSED_OFTEN)
    address = (trunk.sip_user, trunk.domain)
    return Ours(trunk.id, address, customer_number, record, unreadable, on_its_way, trunk.attempts)


def _difference(ours: Ours | None, found: Subscriber | None) -> Difference | None:
    if ours is None:
        return Difference("unknown_there", tuple(_parts(_known(found))))
    if ours.on_its_way:
        return None
    if ours.unreadable:
        return Difference("secret_unreadable")
    if ours.record is None:
        return Difference("still_there") if found is not None else None
    what = tuple(_differing(ours.record, found)) if found is not None else ()
    if found is not None and not what:
        return None
    keys = {value for name, value in found.preferences if name == "provision_key"} if found is not None else set()
    return Difference(_kind(ours, found, what), what, foreign=not keys <= {ours.record.key})


def _kind(ours: Ours, found: Subscriber | None, what: tuple[str, ...]) -> str:
    if ours.attempts >= REFUSED_OFTEN:
        return "not_accepted"
    if found is None or found.login is None:
        return "missing_there"
    return "doubled_there" if what == ("doubled",) else "differs_there"


def _differing(record: TrunkRecord, found: Subscriber) -> Iterator[str]:
    if found.login != (record.ha1, record.ha1b, ""):
        yield "secret"
    if set(found.aliases) != {(number, record.domain) for number in record.numbers}:
        yield "numbers"
    wanted = record.preferences
    for name, value in wanted.items():
        if {there for attribute, there in found.preferences if attribute == name} != {value}:
            yield name
    if any(name not in wanted for name, _ in found.preferences):
        yield "preferences"
    if _has_doubles([*found.aliases, *found.preferences]):
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


def _settle(run: Run, suspects: Collection[SipAddress]) -> None:
    """Look at the suspects as they are now, and mend what is still wrong."""
    if not suspects:
        return
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
    cleared = _clear(run, wrong)
    again = {address for address, one in wrong.items() if one.kind in _WRITTEN_AGAIN} | (cleared & ours.keys())
    with run.transaction() as session:
        ids = [ours[address].trunk_id for address in again]
        for trunk in session.scalars(sa.select(SipTrunk).where(SipTrunk.id.in_(ids)).with_for_update()):
            trunk.make_due(run.now)
        for address, difference in wrong.items():
            _find(run, ours.get(address), address, difference, repaired=address in again | cleared)


_WRITTEN_AGAIN = {"missing_there", "differs_there", "doubled_there", "still_there"}


def _clear(run: Run, wrong: dict[SipAddress, Difference]) -> set[SipAddress]:
    """Take away what no trunk of ours has, and what would keep a trunk of ours from being written."""
    unknown = [address for address, difference in wrong.items() if difference.kind == "unknown_there"]
    unknown = unknown[: MOST_REMOVED - run.counts["removed"]]
    run.counts["removed"] += len(unknown)
    cleared = {*unknown, *(address for address, difference in wrong.items() if difference.foreign)}
    if cleared and not run.dry:
        run.runtime.ports.subscribers.remove(cleared)
    return cleared


def _find(run: Run, ours: Ours | None, address: SipAddress, difference: Difference, *, repaired: bool) -> None:
    user, domain = address
    facts: dict[str, object] = {"sip_user": user, "domain": domain, "what": list(difference.what)}
    if ours is not None:
        facts |= {"customer_number": ours.customer_number, "attempts": ours.attempts}
    run.find(difference.kind, user, repaired=repaired, **facts)
