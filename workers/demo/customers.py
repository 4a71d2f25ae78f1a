"""Create accounts for the demo that look older than the portal, with contract, trunk and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, selectinload

from models.accounts.accounts import Account, IssuedCustomerNumber, issue_customer_numbers
from models.contracts.contracts import new_contract
from models.orders.baskets import basket_of
from models.people.rights import Role
from models.people.users import Membership, User
from models.telephony.high_risk import high_risk_prefixes
from models.telephony.number_pool import NumberPool
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState, new_sip_user
from models.vault import Vault, new_sip_secret
from tasks.ports import TrunkRecord
from tasks.registrar.trunks import forwardings_of, record_of
from workers.demo.cast import Person, Site

KNOWN_FOR = timedelta(days=400)
"""The age of the demo's existing accounts, contracts and trunks."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """The values that all accounts and users created for the demo share.

    `vault` encrypts SIP passwords, `password_hash` is the hash of every login's password, `now` the time of creation.
    """

    vault: Vault
    sip_domain: str
    password_hash: str
    now: datetime


def sign_up(session: Session, carrier: Carrier, person: Person) -> User:
    """Return the user with the person's e-mail address; create the user, with a confirmed address, if there is none.

    An existing user is left unchanged, password included.
    """
    user = session.scalar(sa.select(User).where(User.email == person.email))
    if user is None:
        user = User(
            email=person.email,
            email_confirmed_at=carrier.now,
            name=person.name,
            password_hash=carrier.password_hash,
            locale=person.locale,
            is_staff=person.is_staff,
            created_at=carrier.now,
        )
        session.add(user)
        session.flush()
    return user


def give_role(session: Session, user: User, account: Account, role: Role) -> None:
    """Give the user this role in the account; a user who already has a role in the account keeps that role."""
    session.execute(
        postgresql.insert(Membership).values(user_id=user.id, account_id=account.id, role=role).on_conflict_do_nothing()
    )


def open_account(session: Session, carrier: Carrier, site: Site) -> Account:
    """Create a standalone account for the site, with administrator, contract, trunk and number block, and return it.

    Raises `NoNumbersAvailable` if the number pool of the site's area code has no free block of the site's size.
    """
    since = carrier.now - KNOWN_FOR
    if site.customer_number is None:
        [customer_number] = issue_customer_numbers(session)
    else:
        customer_number = site.customer_number
        session.add(IssuedCustomerNumber(number=customer_number))
        session.flush()
    account = Account(
        customer_number=customer_number,
        name=site.name,
        street=site.street,
        postal_code=site.postal_code,
        city=site.city,
        contact_name=site.administrator.name,
        contact_email=site.administrator.email,
        created_at=since,
    )
    session.add(account)
    session.flush()
    give_role(session, sign_up(session, carrier, site.administrator), account, Role.ADMINISTRATOR)
    block = NumberPool(session, carrier.now, {}).take(site.area_code, site.block_size, account.id)
    account.contact_phone = block.numbers[0]
    session.add(_trunk(session, carrier, site, account, block, since))
    session.flush()
    return account


def trunk_records(session: Session, vault: Vault, accounts: Sequence[Account]) -> list[TrunkRecord]:
    """Return the accounts' trunks as records for the registrar. `vault` decrypts their SIP passwords.

    Closed trunks are left out, and so are trunks created by orders, because the orders write them to the registrar.
    """
    trunks = session.scalars(
        sa.select(SipTrunk)
        .where(
            SipTrunk.account_id.in_([account.id for account in accounts]),
            SipTrunk.request_id.is_(None),
            SipTrunk.state != TrunkState.CLOSED,
        )
        .options(selectinload(SipTrunk.blocks), selectinload(SipTrunk.account))
    )
    forwardings = forwardings_of(session, [account.id for account in accounts])
    return [record_of(trunk, vault, forwardings, high_risk_prefixes(session)) for trunk in trunks]


def _trunk(
    session: Session, carrier: Carrier, site: Site, account: Account, block: NumberBlock, since: datetime
) -> SipTrunk:
    basket = basket_of(session, site.product, site.block_size, (), since)
    return SipTrunk(
        account_id=account.id,
        contract=new_contract(account.id, basket.price_lines, since),
        sip_user=new_sip_user(),
        domain=carrier.sip_domain,
        secret=carrier.vault.seal(new_sip_secret()),
        channels=site.channels,
        created_at=since,
        blocks=[block],
    )
