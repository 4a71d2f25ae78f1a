"""The part of the random histories in which a second person approves what somebody asks for, and accounts move.

Each rule is one action that Hypothesis can choose, and its effect on the simple model.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, rule
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import Account
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.moves import MoveDraft, submit_move
from models.errors import DomainError, NotAwaited
from models.people.rights import Principal, Role
from models.people.users import principal_of
from models.proofs.proofs import AddressProof
from models.requests.approvals import decide_approval
from models.requests.requests import Request
from models.same_address import Place
from models.states import AccountState, AddressMethod, Status
from models.telephony.trunks import SipTrunk
from tests.factories import an_order, join, make_main, make_user, prove_contact
from tests.tasks.engine.existing_accounts import ExistingAccounts

BERLIN, MUNICH = Place("Invalidenstr. 10", "10115", "Berlin"), Place("Marienplatz 8", "80331", "München")


def prove_places(session: Session, main: Account, now: datetime) -> None:
    """Give the main account proofs of the addresses to which its accounts move."""
    for place in (BERLIN, MUNICH):
        facts = {"main_id": main.id, "address_key": place.key, "method": AddressMethod.LETTER}
        session.add(AddressProof(**facts, asked_at=now, expires_at=now, proved_at=now))


class ApprovedAndMoved(ExistingAccounts):
    """The Hypothesis rules of a random history about approvals and moves.

    `careful` is a main account in which each request waits for an approval, with its administrator, and `approver` its
    location manager.
    """

    careful: tuple[Account, Principal]
    approver: Principal

    def begin_careful(self, session: Session) -> None:
        """Make the main account in which each request waits for an approval, and its people."""
        main, manager = make_main(session)
        prove_contact(session, main)
        person = make_user(session)
        join(session, person, main, Role.LOCATION_MANAGER)
        main.approval_from_cents = 1
        self.careful, self.approver = (main, manager), principal_of(session, person)

    @rule(target=ExistingAccounts.requests)
    def order_to_approve(self) -> UUID:
        """Place an order that waits for an approval; return its id. The model expects that it goes on waiting."""
        main, self.pipeline.manager = self.careful
        id = self.pipeline.order(an_order(), main)
        self.model.expected[id] = Status.PENDING
        self.model.approvals.append(id)
        return id

    @rule(target=ExistingAccounts.requests)
    def numbers_to_approve(self) -> MultipleResults[UUID]:
        """Request ten more numbers that wait for an approval, for the newest trunk; return the request's id.

        Nothing if there is no trunk, or if a rule forbids the request.
        """
        main, manager = self.careful
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            trunk = self.newest_trunk(session, main)
            if trunk is not None:
                draft, now = NumbersDraft("030", 10, None, "de"), self.pipeline.clock.now
                request = submit_numbers(session, manager, trunk.account, trunk.id, draft, now)
                self.model.expected[request.id] = Status.PENDING
                self.model.approvals.append(request.id)
                self.model.numbers[request.id] = trunk.id
                return multiple(request.id)
        return multiple()

    @rule(place=st.integers(0, 5), approved=st.sampled_from([True, True, False]))
    def decide_on_it(self, place: int, approved: bool) -> None:
        """Approve or refuse one of the requests that wait for it. Does nothing if none waits.

        `place` chooses the request: its index, modulo the number of those that wait. Before a worker has looked at it,
        it does not wait yet.
        """
        if not (waiting := self.model.approvals):
            return
        id = waiting[place % len(waiting)]
        with suppress(NotAwaited), self.pipeline.runtime.database.transaction() as session:
            request, now = session.get_one(Request, id), self.pipeline.clock.now
            decide_approval(session, self.approver, request, approved=approved, note=None, now=now)
            self.model.decide(id, Status.COMPLETED if approved else Status.REJECTED)

    @rule(place=st.integers(0, 5))
    def the_time_for_it_ends(self, place: int) -> None:
        """Let the time for one of the approvals end, as if 14 days had passed. Does nothing if none waits."""
        if not (waiting := self.model.approvals):
            return
        id = waiting[place % len(waiting)]
        with self.pipeline.runtime.database.transaction() as session:
            request = session.get_one(Request, id, with_for_update=True)
            request.approval_until = self.pipeline.clock.now
            request.make_due(self.pipeline.clock.now)
        self.model.decide(id, Status.REJECTED)

    @rule(target=ExistingAccounts.requests, who=st.integers(0, 1), to=st.sampled_from([BERLIN, MUNICH]))
    def move(self, who: int, to: Place) -> MultipleResults[UUID]:
        """Request that the account of the newest trunk of customer `who` (0 or 1) moves to a proved address.

        The model expects that it is completed. Return the request's id; nothing if there is no trunk, or if a rule
        forbids the move.
        """
        main, manager = self.customers[who]
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            trunk = self.newest_trunk(session, main)
            if trunk is not None:
                draft, now = MoveDraft(to, None, None, "de"), self.pipeline.clock.now
                request = submit_move(session, manager, trunk.account, draft, now)
                self.model.expected[request.id] = Status.COMPLETED
                self.model.moves[request.id] = trunk.account_id, to
                return multiple(request.id)
        return multiple()

    def newest_trunk(self, session: Session, main: Account) -> SipTrunk | None:
        """Return the newest trunk of the main account's active sub-accounts, None if there is none."""
        mine = Account.main_id == main.id, Account.state == AccountState.ACTIVE
        newest = sa.select(SipTrunk).join(Account).where(*mine).order_by(SipTrunk.id.desc()).limit(1)
        return session.scalar(newest.options(selectinload(SipTrunk.account)))
