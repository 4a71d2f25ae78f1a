"""Take over trunks that exist already in a registrar: contracts at agreed prices, SIP users, secrets and numbers.

A trunk that was taken over is left alone at the registrar until the operator adopts it, or until it is changed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import first_moment
from models.contracts.catalogue import PriceLine
from models.contracts.contracts import new_contract
from models.contracts.terms import OPEN_TERMS, ContractTerms
from models.db.work_queue import made_due
from models.people.audit_log import AuditEvent, record_of_carrier
from models.states import AccountState
from models.telephony.number_pool import RESERVED, SET_ASIDE
from models.telephony.numbers import BLOCK_SIZES, BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk
from models.vault import Vault

AT_ONCE = 500
"""The most trunks that are adopted in one transaction."""


class TrunkFate(StrEnum):
    """What has become of a row: its trunk was created or was there before, or the reason for which it was refused."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    NO_ACCOUNT = "no_account"
    CLOSED = "account_closed"
    SIP_USER_TAKEN = "sip_user_taken"
    NUMBER_TAKEN = "number_taken"
    PART_OF_BLOCK = "part_of_block"
    NO_AREA_CODE = "no_area_code"


@dataclass(frozen=True, slots=True)
class TrunkRow:
    """A trunk that exists in a registrar. Its account must be in the portal.

    `secret` may also be a result of `login_digests.digests_as_secret`. `numbers` are in E.164 without the plus sign;
    `product` is billed at `monthly_cents` since the day `started_on`, to the agreed `terms`.
    """

    customer_number: str
    sip_user: str
    domain: str
    secret: str
    channels: int
    product: str
    monthly_cents: int
    started_on: date
    numbers: frozenset[int]
    terms: ContractTerms = OPEN_TERMS


class TrunkTakeover:
    """The takeover of trunks in one transaction.

    `area_codes` are all Ortsnetze. The registrar is left as it is. Safe to run twice: a trunk that its account has
    already is left as it is.
    """

    def __init__(self, session: Session, vault: Vault, area_codes: Collection[str], now: datetime) -> None:
        self._session = session
        self._vault = vault
        self._area_codes = area_codes
        self._now = now

    def take_over(self, rows: Sequence[TrunkRow]) -> list[TrunkFate]:
        """Create the trunks that are not there yet, each with contract and numbers; return what became of each row.

        Each is recorded in the audit log of its account.

        Numbers in a free block of the pool take that block, if the row has all numbers of the block. All others become
        new blocks, which count as ported in: they do not go to the pool when the account loses them.
        """
        numbers = [row.customer_number for row in rows]
        accounts = sa.select(Account).where(Account.customer_number.in_(numbers)).order_by(Account.id)
        # The lock is against an account that is closed at this moment.
        locked = self._session.scalars(accounts.with_for_update(read=True, key_share=True))
        self._accounts = {account.customer_number: account for account in locked}
        users = sa.select(SipTrunk.sip_user, SipTrunk.account_id)
        found = self._session.execute(users.where(SipTrunk.sip_user.in_([row.sip_user for row in rows])))
        self._users = {row.sip_user: row.account_id for row in found}
        self._blocks = self._blocks_with(number for row in rows for number in row.numbers)
        self._used = set[int]()
        return [self._take(row) for row in rows]

    def _take(self, row: TrunkRow) -> TrunkFate:
        account = self._accounts.get(row.customer_number)
        if account is None:
            return TrunkFate.NO_ACCOUNT
        if row.sip_user in self._users:
            return TrunkFate.UNCHANGED if self._users[row.sip_user] == account.id else TrunkFate.SIP_USER_TAKEN
        if account.state is not AccountState.ACTIVE:
            return TrunkFate.CLOSED
        blocks = {self._blocks[number].id: self._blocks[number] for number in row.numbers if number in self._blocks}
        pooled = {number for one in blocks.values() for number in range(one.first_number, one.last_number + 1)}
        if any(one.account_id is not None for one in blocks.values()) or not row.numbers.isdisjoint(self._used):
            return TrunkFate.NUMBER_TAKEN
        if not pooled <= row.numbers or any(one.available_from in (RESERVED, SET_ASIDE) for one in blocks.values()):
            return TrunkFate.PART_OF_BLOCK
        if not all(map(self._area_code, row.numbers)):
            return TrunkFate.NO_AREA_CODE
        self._create(row, account, list(blocks.values()), row.numbers - pooled)
        self._used |= row.numbers
        return TrunkFate.CREATED

    def _create(
        self, row: TrunkRow, account: Account, pooled: Sequence[NumberBlock], ported_in: Collection[int]
    ) -> None:
        started = first_moment(row.started_on)
        trunk = SipTrunk(
            account_id=account.id,
            contract=new_contract(account.id, [PriceLine(row.product, row.monthly_cents, 0)], started, terms=row.terms),
            sip_user=row.sip_user,
            domain=row.domain,
            secret=self._vault.seal(row.secret),
            channels=row.channels,
            created_at=started,
            unadopted_since=self._now,
        )
        new = [
            NumberBlock(area_code=self._area_code(first), first_number=first, size=size, ported_in=True)
            for first, size in as_blocks(ported_in)
        ]
        for block in (*pooled, *new):
            block.account_id, block.available_from = account.id, self._now
        # The history of the numbers is completed by the job `leftovers`.
        trunk.blocks = [*pooled, *new]
        self._session.add(trunk)
        facts = {
            "sip_user": row.sip_user,
            "channels": row.channels,
            "product": row.product,
            "monthly_cents": row.monthly_cents,
            "day": row.started_on.isoformat(),
        }
        record_of_carrier(self._session, account, AuditEvent.TRUNK_TAKEN_OVER, self._now, facts)

    def _area_code(self, number: int) -> str | None:
        """Return the area code of the number; None if it is in no Ortsnetz."""
        national = f"0{str(number).removeprefix('49')}" if str(number).startswith("49") else ""
        return next((national[:long] for long in range(6, 2, -1) if national[:long] in self._area_codes), None)

    def _blocks_with(self, numbers: Iterable[int]) -> dict[int, NumberBlock]:
        """Lock the blocks that contain some of the numbers, and return them by each number that they contain."""
        firsts, lasts = zip(*_runs(numbers), strict=True) if (numbers := set(numbers)) else ((), ())
        array = postgresql.ARRAY(sa.BigInteger)
        arrays = sa.func.unnest(sa.cast(list(firsts), array), sa.cast(list(lasts), array))
        runs = arrays.table_valued("first", "last").render_derived(name="runs")
        wanted = sa.func.int8range(runs.c.first, runs.c.last, "[]")
        # In two steps: FOR UPDATE does not go with a join that may find a block twice.
        ids = sa.select(NumberBlock.id).join(runs, NumberBlock.range_sql().bool_op("&&")(wanted))
        blocks = sa.select(NumberBlock).where(NumberBlock.id.in_(ids)).order_by(NumberBlock.id).with_for_update()
        return {
            number: block
            for block in self._session.scalars(blocks)
            for number in range(block.first_number, block.last_number + 1)
        }


def as_blocks(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield the largest possible blocks (first number and size) that have these numbers and no others."""
    left = set(numbers)
    for size in sorted(BLOCK_SIZES, reverse=True):
        counts = Counter(number // size for number in left)
        for first in sorted(place * size for place, count in counts.items() if count == size):
            left.difference_update(range(first, first + size))
            yield first, size


def adopt_trunks(session: Session, now: datetime, sip_user: str | None = None) -> int:
    """Make trunks that were taken over ours, at most `AT_ONCE` (500) in a call; return how many.

    They are written to the registrar from now on, and so are their numbers. With `sip_user` only that trunk is adopted.
    Each adoption is recorded in the audit log of the trunk's account.
    """
    waits = SipTrunk.unadopted_since.is_not(None)
    waiting = sa.select(SipTrunk.id, SipTrunk.account_id).where(waits)
    if sip_user is not None:
        waiting = waiting.where(SipTrunk.sip_user == sip_user)
    found = session.execute(waiting.order_by(SipTrunk.id).limit(AT_ONCE)).all()
    # Accounts are locked before trunks: the entries of the audit log refer to them.
    owners = sa.select(Account).where(Account.id.in_([row.account_id for row in found])).order_by(Account.id)
    accounts = {account.id: account for account in session.scalars(owners.with_for_update(read=True, key_share=True))}
    these = sa.select(SipTrunk).where(SipTrunk.id.in_([row.id for row in found]), waits).order_by(SipTrunk.id)
    trunks = session.scalars(these.with_for_update()).all()
    for trunk in trunks:
        trunk.changed(now)
        facts = {"sip_user": trunk.sip_user}
        record_of_carrier(session, accounts[trunk.account_id], AuditEvent.TRUNK_ADOPTED, now, facts)
    theirs = NumberBlock.trunk_id.in_([trunk.id for trunk in trunks])
    known = sa.select(NumberBlock.id, sa.literal(now)).where(theirs)
    statement = postgresql.insert(BlockAnnouncement).from_select(["block_id", "due_at"], known, include_defaults=False)
    session.execute(statement.on_conflict_do_nothing())
    made_due(session, BlockAnnouncement.WORK)
    return len(trunks)


def count_unadopted(session: Session) -> int:
    """Return how many trunks were taken over and not adopted yet."""
    waiting = sa.select(sa.func.count()).select_from(SipTrunk).where(SipTrunk.unadopted_since.is_not(None))
    return session.scalar(waiting) or 0


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last number of each run of consecutive numbers."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last
