"""The table of SIP trunks, with each trunk's credentials and state, and methods that suspend and resume a trunk."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column, object_session, relationship

from models.accounts.accounts import Account
from models.contracts.contracts import Contract
from models.db.base import Base, enumeration
from models.db.work_queue import QueueRow, WorkKind, due_index, lease_ends
from models.errors import TrunkClosed
from models.telephony.number_pool import release_block
from models.telephony.numbers import NumberBlock


class TrunkState(StrEnum):
    """The states of a trunk: active, suspended (only emergency calls), and closed (for good)."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class SuspendedBy(StrEnum):
    """The party that has suspended a trunk: the customer or the carrier. Each can lift only its own suspension."""

    CUSTOMER = "customer"
    CARRIER = "carrier"


class RequestUri(StrEnum):
    """What the request line (request URI) of incoming calls contains: the phone's contact or the dialled number.

    The contact is the address that the phone registered.
    """

    CONTACT = "contact"
    NUMBER = "number"


def usual_request_uri(block_size: int) -> RequestUri:
    """Return what the request line of a new trunk's calls contains by default, given the size of its number block.

    A single number is usually a single phone, which takes only calls to the contact that it registered. A phone system
    with a block needs the dialled number.
    """
    return RequestUri.CONTACT if block_size == 1 else RequestUri.NUMBER


class SipTrunk(QueueRow, Base):
    """A SIP trunk with its credentials; `secret` is encrypted by the `Vault`.

    The trunk is suspended while `customer_suspended_at` or `carrier_suspended_at` is set; `carrier_reason` is shown to
    the customer. `due_at` is the time from which a worker may write the trunk to the registrar; None if the registrar
    is up to date. Call `changed` after each change that the registrar has to know.

    `countries` are the keys of the destinations that the trunk may call (`models.telephony.country_prefixes`), None for
    all; `high_risk` is whether these include high-risk ones (`models.telephony.high_risk`). `certified_numbers` is how
    many numbers the trunk can have by accepted certificates of need; None if there is none.
    """

    __tablename__ = "sip_trunks"
    WORK = WorkKind.REGISTRAR
    OWNER = "(SELECT coalesce(main_id, id) FROM accounts WHERE accounts.id = sip_trunks.account_id)"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), index=True)
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"), unique=True)
    # In the order of bytes, whatever the database's own order is: as the registrar's rows are compared.
    sip_user: Mapped[str] = mapped_column(sa.Text(collation="C"), unique=True)
    domain: Mapped[str]
    secret: Mapped[bytes]
    channels: Mapped[int]
    request_uri: Mapped[RequestUri] = mapped_column(
        enumeration(RequestUri, "request_uri"), default=RequestUri.NUMBER, server_default=RequestUri.NUMBER
    )
    # A trunk that was there before there were limits keeps all destinations.
    countries: Mapped[list[str] | None] = mapped_column(postgresql.ARRAY(sa.Text))
    high_risk: Mapped[bool] = mapped_column(default=True, server_default=sa.true())
    state: Mapped[TrunkState] = mapped_column(enumeration(TrunkState, "state"), default=TrunkState.ACTIVE)
    customer_suspended_at: Mapped[datetime | None]
    carrier_suspended_at: Mapped[datetime | None]
    carrier_reason: Mapped[str | None]
    certified_numbers: Mapped[int | None]
    created_at: Mapped[datetime]
    # Taken over from a registrar, which keeps its rows as they are until the trunk is adopted, or written once changed.
    unadopted_since: Mapped[datetime | None]
    # Keyed digests of the login and the numbers that it had there, from `models.telephony.trunk_takeover`.
    taken_over_as: Mapped[bytes | None]

    account: Mapped[Account] = relationship(lazy="raise_on_sql")
    contract: Mapped[Contract] = relationship(lazy="raise_on_sql")
    blocks: Mapped[list[NumberBlock]] = relationship(lazy="raise_on_sql", order_by="NumberBlock.first_number")

    __table_args__ = (
        sa.CheckConstraint("channels > 0", name="channels"),
        sa.CheckConstraint(
            "state = 'closed' OR (state = 'suspended')"
            " = (customer_suspended_at IS NOT NULL OR carrier_suspended_at IS NOT NULL)",
            name="suspended_by_somebody",
        ),
        sa.CheckConstraint(
            "(carrier_suspended_at IS NULL) = (carrier_reason IS NULL) AND carrier_reason <> ''",
            name="carrier_says_why",
        ),
        lease_ends(),
        due_index("sip_trunks"),
        # Few ever: a main account's overview counts its own among them.
        sa.Index("ix_sip_trunks_suspended", "account_id", postgresql_where=sa.text("state = 'suspended'")),
        sa.Index("ix_sip_trunks_unadopted", "id", postgresql_where=sa.text("unadopted_since IS NOT NULL")),
    )

    def changed(self, now: datetime) -> None:
        """Schedule a registrar update of the trunk for now, and reset the count of failed attempts.

        This is also the first time that the portal writes a trunk that was taken over from the registrar and not
        adopted yet. Such a trunk is not written if the registrar's rows have changed since the takeover.
        """
        self.attempts = 0
        self.make_due(now)

    def suspend(self, by: SuspendedBy, now: datetime, reason: str | None = None) -> bool:
        """Suspend the trunk on behalf of `by`: no registration, no calls except to 110 and 112, until it is resumed.

        The carrier must give a `reason`, and may change it later; for the customer it must be None. Safe to run twice:
        returns False if nothing changed. A change schedules a registrar update. Raises `TrunkClosed` if the trunk is
        permanently closed.
        """
        assert (reason is not None) == (by is SuspendedBy.CARRIER)
        self._ensure_open()
        if by is SuspendedBy.CUSTOMER:
            changed = self.customer_suspended_at is None
            self.customer_suspended_at = self.customer_suspended_at or now
        else:
            changed = self.carrier_reason != reason
            self.carrier_suspended_at, self.carrier_reason = self.carrier_suspended_at or now, reason
        if changed:
            self.state = TrunkState.SUSPENDED
            self.changed(now)
        return changed

    def resume(self, by: SuspendedBy, now: datetime) -> bool:
        """Lift the suspension by `by`; the trunk stays suspended if the other party has suspended it, too.

        Safe to run twice: returns False if nothing changed. A change schedules a registrar update. Raises `TrunkClosed`
        if the trunk is permanently closed.
        """
        self._ensure_open()
        if by is SuspendedBy.CUSTOMER:
            changed = self.customer_suspended_at is not None
            self.customer_suspended_at = None
        else:
            changed = self.carrier_suspended_at is not None
            self.carrier_suspended_at = self.carrier_reason = None
        if changed:
            self.state = (
                TrunkState.SUSPENDED if self.customer_suspended_at or self.carrier_suspended_at else TrunkState.ACTIVE
            )
            self.changed(now)
        return changed

    def _ensure_open(self) -> None:
        if self.state is TrunkState.CLOSED:
            raise TrunkClosed(self.sip_user)


def provision_key(request_id: uuid.UUID | None, sip_user: str) -> str:
    """Return the key under which the registrar stores a trunk: the id of the order that created the trunk.

    For a trunk without an order (`request_id` is None), the key is a UUID derived from the SIP user.
    """
    return str(request_id or uuid.uuid5(uuid.NAMESPACE_OID, sip_user))


def close_trunk(trunk: SipTrunk, now: datetime) -> None:
    """Close a trunk permanently, end its contract, release its number blocks, and schedule a registrar update.

    The released blocks return to the pool after their quarantine. The trunk must be in a session.
    """
    session = object_session(trunk)
    assert session is not None
    trunk.state = TrunkState.CLOSED
    trunk.changed(now)
    blocks = sa.select(NumberBlock).where(NumberBlock.trunk_id == trunk.id)
    for block in session.scalars(blocks.order_by(NumberBlock.id).with_for_update()):
        release_block(block, now)
    session.get_one(Contract, trunk.contract_id).end(now)


def new_sip_user() -> str:
    """Return a random SIP user name: 't' and 12 digits, unrelated to the customer."""
    return f"t{secrets.randbelow(10**12):012d}"
