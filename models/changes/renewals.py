"""Reminders to administrators that contracts will soon be extended unless they are cancelled (§ 56 (3) TKG)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import berlin_day, first_moment
from models.contracts.catalogue import all_products
from models.contracts.contracts import Contract, ContractItem, runs
from models.contracts.terms import ContractTerms, Renewal, next_renewal
from models.messages.outbox import Message, Recipient, queue_message
from models.people.rights import Action, Principal, may
from models.people.users import User, administrators_of, principal_of
from models.requests.requests import Request
from models.states import ENDED, AccountState, Kind

REMINDED_BEFORE = timedelta(days=30)
"""How long before the last day for a notice people are reminded; that is about two months before the extension."""
RENEWAL_MAIL = "contract_renews"
MOST_LISTED = 300
"""The greatest number of contracts in one mail. Further ones wait for the next day's mail, unless they are urgent."""
URGENT = timedelta(days=7)
"""An extension whose last day for a notice is this near is in the next mail, however many the mail lists."""
_TOLD_FOR = timedelta(days=120)
"""How far back to look for mails about extensions that can still be prevented: more than 30 days and one month."""


@dataclass(frozen=True, slots=True)
class ComingRenewal:
    """An extension of the contract `contract_id` of the account `account_id`, which a notice can still prevent."""

    contract_id: int
    account_id: int
    renewal: Renewal

    @property
    def key(self) -> str:
        """Return a text that identifies this extension among all extensions of all contracts."""
        return f"{self.contract_id}/{self.renewal.last_day.isoformat()}"


def coming_renewals(session: Session, now: datetime, after: int, limit: int) -> tuple[list[ComingRenewal], int | None]:
    """Return the coming extensions among the next `limit` contracts after the id `after`, and the last id read.

    That id is None once no contract is left. An extension is coming from 30 days before its last day for a notice
    (`REMINDED_BEFORE`). A contract that goes on for an indefinite time after its first term is extended once. Left out
    are contracts without a first term, contracts of accounts that are not active, and contracts for which a
    cancellation is running.
    """
    cancelled = sa.exists().where(
        Request.account_id == Contract.account_id, Request.kind == Kind.CANCEL, Request.status.not_in(ENDED)
    )
    terms = Contract.term_months, Contract.notice_months, Contract.renewal_months
    query = (
        sa.select(Contract.id, Contract.account_id, Contract.started_at, *terms)
        .join(Account, Account.id == Contract.account_id)
        .where(
            Contract.id > after,
            Contract.term_months > 0,
            runs(Contract, now),
            Account.state == AccountState.ACTIVE,
            ~cancelled,
        )
        .order_by(Contract.id)
        .limit(limit)
    )
    rows, today, coming = session.execute(query).all(), berlin_day(now), []
    for row in rows:
        agreed = ContractTerms(row.term_months, row.notice_months, row.renewal_months)
        found = next_renewal(berlin_day(row.started_at), agreed, today)
        if found is not None and today >= found.notice_by - REMINDED_BEFORE:
            coming.append(ComingRenewal(row.id, row.account_id, found))
    return coming, rows[-1].id if len(rows) == limit else None


def who_may_cancel(session: Session, coming: Sequence[ComingRenewal]) -> list[set[int]]:
    """Return, for each extension in `coming`, the ids of the users to remind; an empty set if there are none.

    These are administrators who may cancel the contract: those of the account, and those of its main account if it has
    ordered the account or pays for it.
    """
    administrators: dict[int, list[Principal]] = {}

    def leading(account_id: int) -> list[Principal]:
        if account_id not in administrators:
            people = administrators_of(session, account_id)
            administrators[account_id] = [principal_of(session, person) for person in people]
        return administrators[account_id]

    ids = {one.account_id for one in coming}
    accounts = {one.id: one for one in session.scalars(sa.select(Account).where(Account.id.in_(ids)))}
    told = []
    for one in coming:
        account = accounts[one.account_id]
        people = [*leading(account.id), *(leading(account.main_id) if account.main_id is not None else ())]
        told.append({person.user_id for person in people if may(person, Action.CHANGE_CONTRACT, account)})
    return told


def remind(session: Session, waiting: Mapping[int, Sequence[ComingRenewal]], now: datetime) -> int:
    """Queue one mail to each user about those of their extensions that no earlier mail named; return how many mails.

    `waiting` has the extensions by user id. The mail lists at most `MOST_LISTED` (300) of them and all urgent ones
    (`URGENT`), sorted by the last day for a notice. A user to whom all were named gets no mail. Safe to run twice:
    earlier mails to the same address show what was named.
    """
    people = session.scalars(sa.select(User).where(User.id.in_(waiting), User.disabled_at.is_(None)).order_by(User.id))
    to = {person.id: Recipient(person.name, person.email, person.locale) for person in people}
    told, queued, today = _told(session, [one.address for one in to.values()], now), 0, berlin_day(now)
    for id, recipient in to.items():
        new = [one for one in waiting[id] if one.key not in told[recipient.address]]
        new.sort(key=lambda one: (one.renewal.notice_by, one.contract_id))
        listed = [
            one for place, one in enumerate(new) if place < MOST_LISTED or one.renewal.notice_by <= today + URGENT
        ]
        if listed:
            facts = {**_facts(session, listed, recipient, now), "later": len(new) - len(listed)}
            queue_message(session, None, RENEWAL_MAIL, recipient, facts, now, occasion=listed[0].key)
            queued += 1
    return queued


def _told(session: Session, addresses: Sequence[str], now: datetime) -> Mapping[str, set[str]]:
    """Return which extensions earlier mails to these e-mail addresses have named: by address, a set of their keys.

    A key is a `ComingRenewal.key`. Only mails of the 120 days (`_TOLD_FOR`) before `now` count. The set of an address
    without such a mail is empty.
    """
    query = sa.select(Message.recipient_address, Message.occasion, Message.facts["told"]).where(
        Message.request_id.is_(None),
        Message.template == RENEWAL_MAIL,
        Message.recipient_address.in_(addresses),
        Message.queued_at > now - _TOLD_FOR,
    )
    told: defaultdict[str, set[str]] = defaultdict(set)
    for address, occasion, others in session.execute(query):
        told[address].update((occasion, *(others or ())))
    return told


def _facts(session: Session, listed: Sequence[ComingRenewal], to: Recipient, now: datetime) -> dict[str, Any]:
    """Return the variables, by name, of a mail to `to` about the extensions `listed`.

    For a single extension these are its own data; for several, the variable `contracts` has a list of their data. Then
    the variable `told` has the keys (`ComingRenewal.key`) of all but the first, whose key is the mail's occasion.
    """
    products = all_products(session)
    about = sa.select(Contract, Account).join(Account, Account.id == Contract.account_id)
    rows = session.execute(about.where(Contract.id.in_([one.contract_id for one in listed]))).all()
    found = {contract.id: (contract, account) for contract, account in rows}
    contracts, day = [], timedelta(days=1)
    for one in listed:
        contract, account = found[one.contract_id]
        contracts.append(
            {
                "customer_number": account.customer_number,
                "account_name": account.name,
                "ends_at": first_moment(one.renewal.last_day + day).isoformat(),
                "notice_until": first_moment(one.renewal.notice_by + day).isoformat(),
                "renewal_months": contract.renewal_months,
                "notice_months": contract.notice_months,
            }
        )
    if len(contracts) > 1:
        others = [one.key for one in listed[1:]]
        return {"contracts": contracts, "told": others, "path": "/standortverwaltung"}
    running = sa.select(ContractItem.product_key).where(
        ContractItem.contract_id == listed[0].contract_id, runs(ContractItem, now)
    )
    names = {products[key].name(to.locale) for key in session.scalars(running)}
    path = f"/standortverwaltung/{contracts[0]['customer_number']}/kuendigung"
    return {**contracts[0], "products": sorted(names), "path": path}
