"""Load the demo data: a company with its main account, existing accounts, users of every role, and free numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import (
    Account,
    account_by_number,
)
from models.accounts.contract_holders import HolderData, LegalForm, put_holder
from models.accounts.hierarchy import attach
from models.db.advisory_locks import AdvisoryLock, take_advisory_lock
from models.db.session import Database
from models.links.collective_invoices import put_on_invoice
from models.people.passwords import hash_password
from models.states import Origin
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.number_pool import stock_pool
from models.telephony.numbers import NumberBlock
from models.vault import Vault
from tasks.ports import Registrar
from workers.demo.cast import (
    BACK_OFFICE,
    BILLED_TOGETHER,
    DEMO_LOGINS,
    EXISTING,
    HAMBURG,
    INVOICE_NUMBER,
    LINKS,
    MAIN,
    PASSWORD,
    POOLS,
    REGISTERED,
    ROLES,
    TAGS,
    DemoLogin,
    Pool,
    Site,
)
from workers.demo.customers import Carrier, give_role, open_account, sign_up, trunk_records

__all__ = ["DEMO_LOGINS", "DemoLogin", "Seeded", "seed"]

SHELVES = ((100, "000", 5), (10, "500", 40), (1, "900", 100))
"""The blocks of a pool's 1,000 numbers: block size, last three digits of the first number, number of blocks."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """The result of loading the demo data: its logins, and how many accounts and number blocks were created."""

    logins: tuple[DemoLogin, ...]
    new_accounts: int
    new_blocks: int


def seed(
    database: Database, vault: Vault, sip_domain: str, now: datetime, *, registrar: Registrar | None = None
) -> Seeded:
    """Load the demo data. Price list and area codes must be loaded before (`standorte migrate`).

    `vault` encrypts the SIP passwords. With `registrar`, all demo trunks are written to the registrar every time, which
    restores lost ones. Raises `GatewayError` if the registrar refuses a trunk; the demo data is saved all the same.
    Safe to run twice and in parallel: existing accounts and blocks are left unchanged, even if edited since.
    """
    sites = (MAIN, *EXISTING, *BILLED_TOGETHER)
    with database.transaction() as session:
        take_advisory_lock(session, AdvisoryLock.DEMO)
        blocks = sum(_stock(session, pool, now) for pool in POOLS)
        missing = [site for site in sites if _account(session, site) is None]
        if missing:
            carrier = Carrier(vault, sip_domain, hash_password(PASSWORD), now)
            _open(session, carrier, missing)
        records = trunk_records(session, vault, [account for site in sites if (account := _account(session, site))])
    if registrar is not None:
        for failure in registrar.put_trunks(records):
            if failure is not None:
                raise failure
    return Seeded(DEMO_LOGINS, len(missing), blocks)


def _open(session: Session, carrier: Carrier, missing: list[Site]) -> None:
    opened = {site: open_account(session, carrier, site) for site in missing}
    sign_up(session, carrier, BACK_OFFICE)
    for person, site, role in ROLES:
        if site in opened:
            give_role(session, sign_up(session, carrier, person), opened[site], role)
    for site, register_number in REGISTERED.items():
        if site in opened:
            place = {"street": site.street, "postal_code": site.postal_code, "city": site.city}
            holder = HolderData(site.name, LegalForm.COMPANY, register_number, None, **place)
            put_holder(session, opened[site].id, holder, carrier.now)
    for main, sub in LINKS:
        main_account = _account(session, main)
        if sub in opened and main_account is not None:
            attach(session, main_account.id, opened[sub].id, Origin.LINK, carrier.now).tags = TAGS.get(sub)
    for site in BILLED_TOGETHER:
        payer = _account(session, MAIN)
        if site in opened and payer is not None:
            put_on_invoice(session, INVOICE_NUMBER, payer, opened[site], carrier.now)
    if HAMBURG in opened:
        session.add_all(_forwardings(session, opened[HAMBURG]))
        session.flush()


def _forwardings(session: Session, account: Account) -> list[CallForwarding]:
    target, mobile = "+493023125000", "+4915123456789"
    block = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == account.id)).first()
    assert block is not None
    desk = block.last_number
    return [
        CallForwarding(account_id=account.id, condition=Condition.BUSY, target=target),
        CallForwarding(account_id=account.id, condition=Condition.NO_ANSWER, target=target, after_seconds=20),
        CallForwarding(
            account_id=account.id, condition=Condition.BUSY, target=mobile, first_number=desk, last_number=desk
        ),
    ]


def _stock(session: Session, pool: Pool, now: datetime) -> int:
    return sum(
        stock_pool(session, pool.area_code, pool.prefix + first, size, count, now) for size, first, count in SHELVES
    )


def _account(session: Session, site: Site) -> Account | None:
    assert site.customer_number is not None
    return account_by_number(session, site.customer_number)
