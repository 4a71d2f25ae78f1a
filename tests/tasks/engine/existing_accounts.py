"""The part of the random histories in which customers link, switch and detach accounts that exist already.

Each rule is one action of a customer that Hypothesis can choose, and its effect on the simple model.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.errors import DomainError, NotAwaited
from models.links.links import submit_detach
from models.people.rights import Principal
from models.people.users import User
from models.proofs.main_consents import decide_for_main
from models.proofs.ownership import decide
from models.proofs.proofs import Consent, Decision, MainConsent
from models.requests.requests import Request
from models.states import Kind, Origin, ProofMethod, Status
from tests.factories import a_link, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.engine.history_model import Model

WRONG = "AAAAA AAAAA"
"""A code that belongs to no proof."""


class ExistingAccounts(RuleBasedStateMachine):
    """The Hypothesis rules of a random history about links, switches, consents and detachments.

    `customers` are two main accounts, each with its administrator. `model` records what must be true when the history
    ends. `requests` collects the ids of requests for later rules.
    """

    pipeline: Pipeline
    requests: Bundle[UUID] = Bundle("requests")
    model: Model
    customers: list[tuple[Account, Principal]]

    @rule(target=requests, who=st.integers(0, 1))
    def link(self, who: int) -> UUID:
        """Request a link as customer `who` (0 or 1), with the login of the account's administrator as proof.

        The model expects that the request is completed. Return the request's id.
        """
        account, owner = self._new_account()
        main, manager = self.customers[who]
        id = self.pipeline.link(a_link(account, email=owner.email), manager, main)
        self.model.expected[id] = Status.COMPLETED
        return id

    @rule(target=requests, who=st.integers(0, 1))
    def link_by_consent(self, who: int) -> UUID:
        """Request a link by consent as customer `who` (0 or 1); return the request's id.

        The model expects that it waits for the account's administrator.
        """
        account, owner = self._new_account()
        main, manager = self.customers[who]
        id = self.pipeline.link(a_link(account, method=ProofMethod.CONSENT), manager, main)
        self.model.expected[id], self.model.consents[id] = Status.PENDING, owner.id
        return id

    @rule(place=st.integers(0, 5), decision=st.sampled_from(Decision), right=st.booleans())
    def answer(self, place: int, decision: Decision, right: bool) -> None:
        """Answer one of the requests for consent with the code from its mail, or with a wrong code if not `right`.

        `place` chooses the request: its index, modulo the number of requests that wait. Does nothing if none waits.
        """
        waiting = list(self.model.consents)
        if not waiting:
            return
        id = waiting[place % len(waiting)]
        vault, now = self.pipeline.runtime.vault, self.pipeline.clock.now
        with self.pipeline.runtime.database.transaction() as session:
            user, consent = session.get_one(User, self.model.consents[id]), session.get(Consent, id)
            code = vault.code(*consent.words(user)) if right and consent is not None and consent.sent_issue else WRONG
            request = session.get_one(Request, id)
            accepted = consent is not None and decide(session, vault, request, user, decision, code, now)
        assert accepted == (code != WRONG)
        if accepted:
            del self.model.consents[id]
            self.model.expected[id] = Status.COMPLETED if decision is Decision.ACCEPTED else Status.REJECTED

    def _new_account(self) -> tuple[Account, User]:
        with self.pipeline.runtime.database.transaction() as session:
            owner = make_user(session)
            return make_account(session, administrator=owner), owner

    @rule()
    def both_link_the_same(self) -> None:
        """Let both customers request a link to the same account.

        The model expects that exactly one of them is completed.
        """
        account, owner = self._new_account()
        for main, manager in self.customers:
            id = self.pipeline.link(a_link(account, email=owner.email), manager, main)
            self.model.rivals[account.customer_number].append(id)

    @rule(target=requests, who=st.integers(0, 1))
    def switch(self, who: int) -> UUID:
        """Request, as customer `who` (0 or 1), to switch a sub-account of the other customer.

        The proof is the login of the sub-account's administrator. The model expects that the request is completed,
        because the other customer consents in the end. Return the request's id.
        """
        account, owner = self._new_account()
        main, manager = self.customers[who]
        with self.pipeline.runtime.database.transaction() as session:
            attach(session, self.customers[1 - who][0].id, account.id, Origin.LINK, self.pipeline.clock.now)
        id = self.pipeline.link(replace(a_link(account, email=owner.email), kind=Kind.SWITCH), manager, main)
        self.model.expected[id] = Status.COMPLETED
        return id

    @rule()
    def let_go(self) -> None:
        """Consent, as the present main accounts, to all switches that wait for this consent."""
        self._let_go()

    def _let_go(self) -> bool:
        """Consent, as the present main accounts, to all switches that wait for this; return whether there were any."""
        managers = {main.id: manager for main, manager in self.customers}
        asked = sa.select(MainConsent).where(MainConsent.decision.is_(None), MainConsent.main_id.in_(managers))
        agreed = False
        with self.pipeline.runtime.database.transaction() as session:
            for consent in session.scalars(asked.order_by(MainConsent.request_id)).all():
                request = session.get_one(Request, consent.request_id)
                chief = session.get_one(User, managers[consent.main_id].user_id)
                vault, now = self.pipeline.runtime.vault, self.pipeline.clock.now
                # One that was cancelled, or whose account has been detached meanwhile, does not wait any more.
                with suppress(NotAwaited):
                    assert decide_for_main(session, vault, request, chief, Decision.ACCEPTED, None, now)
                    agreed = True
        return agreed

    @rule(who=st.integers(0, 1))
    def detach(self, who: int) -> None:
        """Request to detach the first linked account of customer `who` (0 or 1).

        Does nothing if there is none, or if a rule forbids it. An account that a switch is about to take away is left
        alone: of a detachment and a switch at once, either may be first.
        """
        main, manager = self.customers[who]
        leaving = sa.select(Request.customer_number).where(Request.kind == Kind.SWITCH, Request.ended_at.is_(None))
        mine = Account.main_id == main.id, ~Account.id.in_(_ordered()), ~Account.customer_number.in_(leaving)
        linked = sa.select(Account).where(*mine).order_by(Account.id)
        with suppress(DomainError), self.pipeline.runtime.database.transaction() as session:
            account = session.scalar(linked.limit(1))
            if account is not None:
                self._expect(submit_detach(session, manager, account, "de", self.pipeline.clock.now))

    def _expect(self, request: Request) -> None:
        self.model.expected[request.id] = Status.COMPLETED


def _ordered() -> sa.Select[int | None]:
    return sa.select(Request.account_id).where(Request.kind == Kind.ORDER)
