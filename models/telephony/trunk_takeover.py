"""The takeover of trunks that exist in a registrar already, with contracts, prices, SIP users, secrets and numbers.

To take over a trunk is to create it in the portal, without a change of the registrar. To adopt it is to let the portal
write it to the registrar from then on: by a command of the operator, or when the trunk is changed in the portal. It is
not adopted if the registrar's rows have changed since the takeover, for example by an older provisioning system.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import Account
from models.calendar_days import first_moment
from models.contracts.catalogue import PriceLine
from models.contracts.contracts import new_contract
from models.contracts.terms import OPEN_TERMS, ContractTerms
from models.db.work_queue import made_due
from models.people.audit_log import AuditEvent, record_of_carrier
from models.states import AccountState
from models.telephony.login_digests import ha1_of
from models.telephony.number_history import begin_assignment
from models.telephony.number_pool import RESERVED, SET_ASIDE, release_block
from models.telephony.numbers import BLOCK_SIZES, BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState, usual_request_uri
from models.vault import Vault

AT_ONCE = 500
"""The most trunks that one transaction adopts: from then on the portal writes them to the registrar."""
_USE = "trunk takeover"
_DIGEST = 32
"""The length in bytes of a keyed digest. `SipTrunk.taken_over_as` is that of the login, then that of the numbers."""


class TrunkFate(StrEnum):
    """The result for one row of a takeover of trunks: created, updated or unchanged, or the reason for a refusal."""

    CREATED = "created"
    REFRESHED = "refreshed"
    UNCHANGED = "unchanged"
    NO_ACCOUNT = "no_account"
    CLOSED = "account_closed"
    SIP_USER_TAKEN = "sip_user_taken"
    TRUNK_CLOSED = "trunk_closed"
    NUMBER_TAKEN = "number_taken"
    PART_OF_BLOCK = "part_of_block"
    NO_AREA_CODE = "no_area_code"


@dataclass(frozen=True, slots=True)
class TrunkRow:
    """One trunk to take over, as it exists in a registrar. The account `customer_number` must be in the portal.

    `secret` is the SIP password or, if only its digests are known, these in the form "{HA1}<ha1>:<ha1b>"
    (`models.telephony.login_digests`). `numbers` are in E.164 without the plus sign. `product` is the product key of
    the trunk. It is billed at `monthly_cents` from the day `started_on` on, under the agreed `terms`.
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
    """The takeover, in one transaction, of trunks that a registrar has already; the registrar stays unchanged.

    `area_codes` are those of all Ortsnetze (local exchange areas), with the leading zero. Safe to run twice: a trunk
    that the portal writes to the registrar already (an adopted one) stays unchanged. A trunk that was taken over and
    not adopted yet gets the row's secret and numbers, unless they were changed in the portal since the takeover.
    """

    def __init__(self, session: Session, vault: Vault, area_codes: Collection[str], now: datetime) -> None:
        self._session = session
        self._vault = vault
        self._area_codes = area_codes
        self._now = now

    def take_over(self, rows: Sequence[TrunkRow]) -> list[TrunkFate]:
        """Create the trunks that do not exist yet, each with contract and numbers; return the result for each row.

        The results are in the order of `rows`. Each new trunk is recorded in the audit log of its account. A block that
        exists and has no account (free, in quarantine or withdrawn) is assigned if the row has all its numbers; if it
        has only some, the row is refused. Other numbers get new blocks, which count as ported in from another carrier:
        they do not go to the pool when the account loses them.
        """
        numbers = [row.customer_number for row in rows]
        accounts = sa.select(Account).where(Account.customer_number.in_(numbers)).order_by(Account.id)
        # The lock is against an account that is closed at this moment.
        locked = self._session.scalars(accounts.with_for_update(read=True, key_share=True))
        self._accounts = {account.customer_number: account for account in locked}
        users = sa.select(SipTrunk).where(SipTrunk.sip_user.in_([row.sip_user for row in rows]))
        present = users.order_by(SipTrunk.id).with_for_update().options(selectinload(SipTrunk.blocks))
        self._trunks = {trunk.sip_user: trunk for trunk in self._session.scalars(present)}
        self._gained: list[NumberBlock] = []
        self._blocks = self._blocks_with(number for row in rows for number in row.numbers)
        self._used = set[int]()
        fates = [self._take(row) for row in rows]
        # New blocks get their ids.
        self._session.flush()
        for block in self._gained:
            assert block.account_id is not None
            begin_assignment(self._session, block.id, block.account_id, self._now)
        return fates

    def _take(self, row: TrunkRow) -> TrunkFate:
        account = self._accounts.get(row.customer_number)
        if account is None:
            return TrunkFate.NO_ACCOUNT
        trunk = self._trunks.get(row.sip_user)
        if trunk is not None and (trunk.account_id, trunk.domain) != (account.id, row.domain):
            return TrunkFate.SIP_USER_TAKEN
        if trunk is not None and trunk.state is TrunkState.CLOSED:
            return TrunkFate.TRUNK_CLOSED
        if trunk is not None:
            return self._refresh(row, trunk)
        if account.state is not AccountState.ACTIVE:
            return TrunkFate.CLOSED
        refusal = self._refusal(row.numbers)
        if refusal is not None:
            return refusal
        self._create(row, account)
        return TrunkFate.CREATED

    def _refusal(self, numbers: frozenset[int]) -> TrunkFate | None:
        """Return why a trunk cannot get these numbers (E.164, without the plus sign); None if it can."""
        blocks = self._blocks_of(numbers)
        pooled = {number for one in blocks for number in range(one.first_number, one.last_number + 1)}
        if any(one.account_id is not None for one in blocks) or not numbers.isdisjoint(self._used):
            return TrunkFate.NUMBER_TAKEN
        if not pooled <= numbers or any(one.available_from in (RESERVED, SET_ASIDE) for one in blocks):
            return TrunkFate.PART_OF_BLOCK
        return None if all(map(self._area_code, numbers)) else TrunkFate.NO_AREA_CODE

    def _blocks_of(self, numbers: Iterable[int]) -> list[NumberBlock]:
        """Return the existing number blocks that contain some of the numbers, each once."""
        found = (self._blocks[number] for number in numbers if number in self._blocks)
        return list({block.id: block for block in found}.values())

    def _create(self, row: TrunkRow, account: Account) -> None:
        started = first_moment(row.started_on)
        trunk = SipTrunk(
            account_id=account.id,
            contract=new_contract(account.id, [PriceLine(row.product, row.monthly_cents, 0)], started, terms=row.terms),
            sip_user=row.sip_user,
            domain=row.domain,
            secret=self._vault.seal(row.secret),
            channels=row.channels,
            request_uri=usual_request_uri(max(1, len(row.numbers))),
            created_at=started,
            unadopted_since=self._now,
            taken_over_as=_state(self._vault, row),
        )
        trunk.blocks = self._given(row.numbers, account.id)
        self._session.add(trunk)
        self._trunks[row.sip_user] = trunk
        facts = {
            "sip_user": row.sip_user,
            "channels": row.channels,
            "product": row.product,
            "monthly_cents": row.monthly_cents,
            "day": row.started_on.isoformat(),
        }
        record_of_carrier(self._session, account, AuditEvent.TRUNK_TAKEN_OVER, self._now, facts)

    def _given(self, numbers: Collection[int], account_id: int) -> list[NumberBlock]:
        """Assign unassigned numbers to the account with this id, and return their blocks, created where needed."""
        blocks = self._blocks_of(numbers)
        left = set(numbers).difference(*(range(one.first_number, one.last_number + 1) for one in blocks))
        blocks += [
            NumberBlock(area_code=self._area_code(first), first_number=first, size=size, ported_in=True)
            for first, size in as_blocks(left)
        ]
        for block in blocks:
            block.account_id, block.available_from = account_id, self._now
        self._gained += blocks
        self._used.update(numbers)
        return blocks

    def _refresh(self, row: TrunkRow, trunk: SipTrunk) -> TrunkFate:
        """Update a trunk that exists already to the secret and numbers of the row; return the result for the row.

        Changes nothing if the portal writes the trunk to the registrar already (it was adopted). A secret or numbers
        that were changed in the portal since the takeover stay.
        """
        before, after = trunk.taken_over_as, _state(self._vault, row)
        numbers = {number for block in trunk.blocks for number in range(block.first_number, block.last_number + 1)}
        if before is None or trunk.unadopted_since is None or not self._has_changed(row, before):
            return TrunkFate.UNCHANGED
        if same_numbers(self._vault, before, numbers) and numbers != row.numbers:
            lost: list[NumberBlock] = []
            for block in trunk.blocks:
                of_block = set(range(block.first_number, block.last_number + 1))
                if of_block.isdisjoint(row.numbers):
                    lost.append(block)
                elif not of_block <= row.numbers:
                    return TrunkFate.PART_OF_BLOCK
            refusal = self._refusal(row.numbers - numbers)
            if refusal is not None:
                return refusal
            for block in lost:
                release_block(block, self._now)
            staying = [block for block in trunk.blocks if block not in lost]
            trunk.blocks = [*staying, *self._given(row.numbers - numbers, trunk.account_id)]
        if same_login(self._vault, before, ha1_of(self._vault.open(trunk.secret), trunk.sip_user, trunk.domain)):
            trunk.secret = self._vault.seal(row.secret)
        trunk.taken_over_as = after
        if trunk.due_at is not None:
            trunk.changed(self._now)
        return TrunkFate.REFRESHED

    def _has_changed(self, row: TrunkRow, before: bytes) -> bool:
        login = same_login(self._vault, before, ha1_of(row.secret, row.sip_user, row.domain))
        return not login or not same_numbers(self._vault, before, row.numbers)

    def _area_code(self, number: int) -> str | None:
        """Return the area code, with the leading zero, of a number in E.164; None if no area code fits the number."""
        national = f"0{str(number).removeprefix('49')}" if str(number).startswith("49") else ""
        return next((national[:long] for long in range(6, 2, -1) if national[:long] in self._area_codes), None)

    def _blocks_with(self, numbers: Iterable[int]) -> dict[int, NumberBlock]:
        """Lock the number blocks that contain some of the numbers, and return them by each number that they contain."""
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
    """Split numbers into the largest possible blocks (100, 10 or 1); yield each as a pair of first number and size."""
    left = set(numbers)
    for size in sorted(BLOCK_SIZES, reverse=True):
        counts = Counter(number // size for number in left)
        for first in sorted(place * size for place, count in counts.items() if count == size):
            left.difference_update(range(first, first + size))
            yield first, size


def unadopted_trunks(session: Session, after: int = 0, sip_user: str | None = None) -> Sequence[SipTrunk]:
    """Return trunks that were taken over and that the portal does not write to the registrar yet, sorted by id.

    They are at most 500 (`AT_ONCE`), with ids greater than `after`; with `sip_user`, only the trunk with this SIP user.
    """
    waiting = sa.select(SipTrunk).where(SipTrunk.unadopted_since.is_not(None), SipTrunk.id > after)
    if sip_user is not None:
        waiting = waiting.where(SipTrunk.sip_user == sip_user)
    return session.scalars(waiting.order_by(SipTrunk.id).limit(AT_ONCE)).all()


def adopt_trunks(session: Session, now: datetime, states: Mapping[int, bytes | None]) -> int:
    """Adopt trunks that were taken over: workers then write them and their numbers to the registrar. Return how many.

    `states` maps the id of each trunk to its `SipTrunk.taken_over_as` at the time when the caller compared the trunk
    with the registrar. That value has digests of the login and the numbers with which the trunk was taken over; it is
    None for a trunk without them. A trunk is left out if it is adopted already, or if another takeover has changed this
    value since. Each adoption is recorded in the audit log of the trunk's account.
    """
    # Accounts are locked before trunks: the entries of the audit log refer to them.
    ids = sa.select(SipTrunk.account_id).where(SipTrunk.id.in_(states))
    owners = sa.select(Account).where(Account.id.in_(ids)).order_by(Account.id)
    accounts = {account.id: account for account in session.scalars(owners.with_for_update(read=True, key_share=True))}
    waiting = sa.select(SipTrunk).where(SipTrunk.id.in_(states), SipTrunk.unadopted_since.is_not(None))
    locked = session.scalars(waiting.order_by(SipTrunk.id).with_for_update())
    trunks = [trunk for trunk in locked if trunk.taken_over_as == states[trunk.id]]
    for trunk in trunks:
        trunk.changed(now)
        facts = {"sip_user": trunk.sip_user}
        record_of_carrier(session, accounts[trunk.account_id], AuditEvent.TRUNK_ADOPTED, now, facts)
    note_adoption(session, trunks, now)
    return len(trunks)


def note_adoption(session: Session, trunks: Collection[SipTrunk], now: datetime) -> None:
    """Mark the trunks as adopted (written to the registrar by the portal), and announce their number blocks to it.

    The announcements are scheduled for now; a worker makes them.
    """
    for trunk in trunks:
        trunk.unadopted_since = None
    theirs = NumberBlock.trunk_id.in_([trunk.id for trunk in trunks])
    known = sa.select(NumberBlock.id, sa.literal(now)).where(theirs)
    statement = postgresql.insert(BlockAnnouncement).from_select(["block_id", "due_at"], known, include_defaults=False)
    session.execute(statement.on_conflict_do_nothing())
    made_due(session, BlockAnnouncement.WORK)


def same_login(vault: Vault, state: bytes, ha1: str) -> bool:
    """Return whether a trunk was taken over with the SIP login of which `ha1` is the digest HA1.

    `state` is the trunk's `taken_over_as`: keyed digests of the login and the numbers at the takeover.
    """
    return state[:_DIGEST] in vault.fingerprints(_USE, ha1.encode())


def same_numbers(vault: Vault, state: bytes, numbers: Collection[int]) -> bool:
    """Return whether a trunk was taken over with exactly these numbers (E.164, without the plus sign).

    `state` is the trunk's `taken_over_as`: keyed digests of the login and the numbers at the takeover.
    """
    return state[_DIGEST:] in vault.fingerprints(_USE, _as_text(numbers))


def _state(vault: Vault, row: TrunkRow) -> bytes:
    login = ha1_of(row.secret, row.sip_user, row.domain).encode()
    return vault.fingerprints(_USE, login)[0] + vault.fingerprints(_USE, _as_text(row.numbers))[0]


def _as_text(numbers: Collection[int]) -> bytes:
    return " ".join(map(str, sorted(numbers))).encode()


def count_unadopted(session: Session) -> int:
    """Return how many trunks were taken over from the registrar and are not yet written to it by the portal."""
    waiting = sa.select(sa.func.count()).select_from(SipTrunk).where(SipTrunk.unadopted_since.is_not(None))
    return session.scalar(waiting) or 0


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last number of each run of consecutive numbers, in ascending order."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last
