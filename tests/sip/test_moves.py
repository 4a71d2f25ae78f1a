"""Tests that emergency calls during moves carry the old or the new location, with a number that is valid there.

`MOVES=20` plays twenty moves instead of four.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.changes.moves import MoveDraft, submit_move
from models.proofs.proofs import AddressProof
from models.requests.requests import Request
from models.same_address import Place
from models.states import AddressMethod, Status, StepName
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.due_work import advance_requests
from tests.factories import NOW, fill_pool
from tests.fakes import wait_until
from tests.sip.conftest import Sites
from tests.sip.phones import Phone, answer

MOVES = int(os.environ.get("MOVES", "4"))
EVERY = 0.5
"""Seconds between the begins of two calls."""
PLACES = (Place("Marienplatz 8", "80331", "München"), Place("Brückenstr. 5", "10179", "Berlin"))
"""The places to which the location moves in turn; it begins at the second one."""


@dataclass
class Calls:
    """Emergency calls of a phone system, one after the other: where each went and which number it showed, as heard."""

    phone: Phone
    port: int
    heard: list[tuple[str, str]] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    stopped: Event = field(default_factory=Event)

    def wait_for(self, more: int) -> None:
        """Wait until so many more calls were heard."""
        enough = len(self.heard) + more
        wait_until(lambda: len(self.heard) >= enough or bool(self.faults), what="an emergency call")

    def make(self) -> None:
        """Call 112 every half second until told to stop."""
        try:
            while not self.stopped.is_set():
                begun = time.monotonic()
                taking = answer(self.phone.line, self.port)
                self.phone.call("112")
                invite = taking.finish().heard("INVITE")
                place = re.search(r"^INVITE sip:112-(\d{5})@", invite)
                shown = re.search(r"P-Asserted-Identity: <sip:(\+\d+)@", invite)
                self.heard.append((place[1] if place else "", shown[1] if shown else ""))
                self.stopped.wait(max(0.0, begun + EVERY - time.monotonic()))
        except BaseException as fault:
            self.faults.append(fault)


@contextmanager
def calling(phone: Phone, port: int) -> Iterator[Calls]:
    """Let the phone call 112 again and again during the block; fail if a call fails."""
    calls = Calls(phone, port)
    thread = Thread(target=calls.make)
    thread.start()
    try:
        yield calls
    finally:
        calls.stopped.set()
        thread.join()
    if calls.faults:
        raise calls.faults[0]


def test_an_emergency_call_during_moves_is_never_a_mixture(sites: Sites, berlin: Phone, psap_port: int) -> None:
    database = sites.runtime.database
    with database.transaction() as session:
        fill_pool(session, area_code="089", first="20000000", count=MOVES)
        account_id = session.scalars(sa.select(SipTrunk.account_id).where(SipTrunk.sip_user == berlin.user)).one()
        asked = {"main_id": sites.main.id, "asked_at": NOW, "expires_at": NOW, "proved_at": NOW}
        session.add(AddressProof(address_key=PLACES[0].key, method=AddressMethod.LETTER, **asked))
    valid = {("10179", number) for number in berlin.numbers}
    with calling(berlin, psap_port) as calls:
        calls.wait_for(1)
        for place in (PLACES[turn % 2] for turn in range(MOVES)):
            with database.transaction() as session:
                account, draft = session.get_one(Account, account_id), MoveDraft(place, None, None, "de")
                id = submit_move(session, sites.manager, account, draft, sites.runtime.clock()).id
            advance_requests(sites.runtime)
            with database.transaction() as session:
                # It is confirmed once the registrar has it.
                assert session.get_one(Request, id).step is StepName.CONFIRM
                [block] = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == account_id))
                now = {(place.postal_code, number) for number in block.numbers}
            valid |= now
            committed = time.monotonic()
            sites.tell()
            assert time.monotonic() - committed < 2
            advance_requests(sites.runtime)
            with database.transaction() as session:
                assert session.get_one(Request, id).status is Status.COMPLETED
            # The call under way may have begun before.
            calls.wait_for(2)
            assert calls.heard[-1] in now
            sites.clock.advance(timedelta(minutes=1))
    assert len(calls.heard) > MOVES
    assert [call for call in calls.heard if call not in valid] == []
