"""Functions that create test data with realistic German defaults: people, accounts, orders and links."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from models import migrations
from models.accounts.accounts import (
    Account,
    issue_customer_numbers,
)
from models.accounts.company_limits import Limit, Limits
from models.accounts.contract_holders import HolderData, LegalForm
from models.accounts.hierarchy import attach
from models.bulk.bulk import Bulk, as_facts
from models.bulk.uploads import CheckedRow, fingerprints_of, keep_file
from models.contracts import catalogue
from models.db.privileges import grant_privileges
from models.db.row_security import apply_row_security
from models.db.session import Database
from models.links.links import LinkDraft
from models.orders.orders import Contact, Location, OrderDraft, ensure_orderable, submit_orders
from models.people.passwords import hash_password
from models.people.rights import Principal, Role
from models.people.second_factors import new_app
from models.people.sign_in_log import begin_access_log
from models.people.users import (
    Membership,
    User,
    principal_of,
)
from models.proofs.deadlines import VALID_FOR
from models.proofs.ownership import Credentials
from models.proofs.proofs import AddressProof, EmailProof
from models.requests.requests import Request
from models.same_address import address_key
from models.states import AddressMethod, Kind, Origin, ProofMethod
from models.telephony.area_codes import load_area_codes
from models.telephony.directory import DirectoryData
from models.telephony.number_pool import stock_pool
from models.telephony.place_answers import load_towns
from models.vault import Vault
from models.views.person_data import make_own_data
from tests.fakes import FakeClock

PASSWORD = "Brückenstraße-5"
VAULT = Vault("a key for files")
SECRET = "for-development-only: the key of the tests"
"""The secret key (SECRET_KEY) of the web application under test."""
APP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
"""The secret of the authenticator apps that `give_app` sets up; `tests.second_factor` computes codes from it."""
ROW_SECURITY = os.environ.get("ROW_SECURITY") != "false"
"""Whether tests run with row-level security, as in production. Without it, tests find queries that forget to filter."""
_count = itertools.count(1)
# Hashing is slow on purpose, so all test users share one hash.
_hash = hash_password(PASSWORD)

ORDER = OrderDraft(
    product_key="trunk-10",
    channels=4,
    location=Location("Filiale Berlin", "Brückenstr. 5", "10179", "Berlin"),
    contact=Contact("Hanna Palmer", "hanna.palmer@example.com", "+4930901820"),
    area_code="030",
    block_size=10,
    option_keys=(),
    locale="de",
)
NOW = FakeClock().now
HOLDER = HolderData(
    "Muster Logistik GmbH",
    LegalForm.COMPANY,
    "HRB 4711, Amtsgericht Bielefeld",
    None,
    "Kontor 7",
    "33603",
    "Bielefeld",
)
ENTRY = DirectoryData("Muster Berlin", show_address=True, published_in=("print", "online"))
PLENTY = Limits(**{field.name: 10**6 for field in fields(Limits)})
"""Limits that are too high to be reached, for tests that are not about limits."""
UNLIMITED = {f"LIMIT_{limit.upper()}{'' if limit is Limit.OPEN_ORDERS else '_PER_DAY'}": str(10**6) for limit in Limit}
"""Environment variables that raise every limit, for systems that get more work than one company may ask for."""
MOBILE = "+4915123456789"
"""A mobile number, the target for the option `mobile-backup`."""


def make_user(session: Session, *, email: str | None = None, **facts: Any) -> User:
    """Create a user who can sign in with the password `PASSWORD`, and return it.

    Without `email`, the user gets an address that no other user has. `facts` are columns that replace the defaults.
    """
    number = next(_count)
    user = User(
        email=email or f"person{number}@example.com",
        **{"name": f"Person {number}", "password_hash": _hash, "created_at": NOW, "email_confirmed_at": NOW, **facts},
    )
    session.add(user)
    session.flush()
    return user


def make_staff(session: Session, **facts: Any) -> User:
    """Create a member of the carrier's staff, with the authenticator app that staff need to sign in; return the user.

    `facts` are columns of the user that replace the defaults.
    """
    user = make_user(session, is_staff=True, **facts)
    give_app(session, user)
    return user


def give_app(session: Session, user: User) -> None:
    """Give the user an authenticator app with the key `APP_SECRET`. None of its codes has been used."""
    session.add(new_app(Vault(SECRET), user.id, "Phone", APP_SECRET, 0, NOW))
    session.flush()


def make_account(session: Session, *, administrator: User | None = None, **facts: Any) -> Account:
    """Create a standalone account in Bielefeld, and return it; `facts` are columns that replace the defaults.

    `administrator` becomes the account's administrator; None leaves the account without users.
    """
    [number] = issue_customer_numbers(session)
    account = Account(
        **{
            "customer_number": number,
            "name": f"Standort {number}",
            "street": "Alter Markt 1",
            "postal_code": "33602",
            "city": "Bielefeld",
            "contact_name": "Kim Beispiel",
            "contact_email": "kim@example.com",
            "created_at": NOW,
            **facts,
        }
    )
    session.add(account)
    session.flush()
    if administrator is not None:
        join(session, administrator, account)
    return account


def join(session: Session, user: User, account: Account, role: Role = Role.ADMINISTRATOR) -> None:
    """Give a user a role in an account."""
    session.add(Membership(user_id=user.id, account_id=account.id, role=role))
    session.flush()


def make_main(session: Session, *, subs: int = 0, **facts: Any) -> tuple[Account, Principal]:
    """Create an account with `subs` sub-accounts; return it and its administrator as a `Principal`.

    With `subs=0` it is a standalone account, which becomes a main account with its first sub-account. `facts` are
    columns of the account.
    """
    user = make_user(session)
    main = make_account(session, administrator=user, **facts)
    for _ in range(subs):
        attach(session, main.id, make_account(session).id, Origin.LINK, NOW)
    session.flush()
    return main, principal_of(session, user)


def fill_pool(
    session: Session, *, area_code: str = "030", size: int = 10, count: int = 20, first: str = "20000000"
) -> None:
    """Add `count` free blocks of `size` numbers to the number pool of the area code.

    `first` is the first number without its area code; the blocks follow each other.
    """
    stock_pool(session, area_code, first, size, count, NOW)


def an_order(**changes: Any) -> OrderDraft:
    """Return the example order of the API documentation (`ORDER`), with the fields in `changes` replaced."""
    return replace(ORDER, **changes)


def a_link(
    account: Account | str,
    *,
    email: str | None = None,
    password: str = PASSWORD,
    code: str | None = None,
    method: ProofMethod = ProofMethod.ADMINISTERS_BOTH,
) -> LinkDraft:
    """Return the draft of a link request for an account, which is given as an object or as a customer number.

    With `email` its proof is the login `email` and `password`; with `code` it is this link code; else it is `method`.
    """
    number = account if isinstance(account, str) else account.customer_number
    if email is not None:
        return LinkDraft(number, ProofMethod.CREDENTIALS, Credentials(email, password), "de")
    return LinkDraft(number, ProofMethod.LINK_CODE if code else method, code, "de")


def make_bulk(
    session: Session,
    principal: Principal,
    main: Account,
    drafts: Sequence[OrderDraft],
    *,
    name: str = "Filialen.csv",
    now: datetime = NOW,
) -> Bulk:
    """Save the orders `drafts` as an uploaded and checked bulk file that is not sent off yet; return it.

    None of its cells is invalid.
    """
    rows = [
        CheckedRow(line, {"name": draft.location.name}, None, as_facts(draft)) for line, draft in enumerate(drafts, 2)
    ]
    cells = [{**row.cells, "draft": str(row.draft)} for row in rows]
    return keep_file(session, principal, main, Kind.ORDER, name, fingerprints_of(VAULT, Kind.ORDER, cells), rows, now)


def sites(count: int, first: int = 1) -> list[OrderDraft]:
    """Return `count` orders for one address; the locations are named "Filiale NUMBER", with numbers from `first` on."""
    place = ORDER.location
    return [an_order(location=replace(place, name=f"Filiale {number}")) for number in range(first, first + count)]


def prove_contact(session: Session, main: Account, draft: OrderDraft = ORDER) -> None:
    """Record that both the contact's e-mail address and the connection address of the order are proved for `main`.

    An order for them then waits for no proof.
    """
    place = draft.location
    asked = {"main_id": main.id, "asked_at": NOW, "expires_at": NOW + VALID_FOR, "proved_at": NOW}
    key = address_key(place.street, place.postal_code, place.city)
    session.add(EmailProof(address=draft.contact.email.lower(), **asked))
    session.add(AddressProof(address_key=key, method=AddressMethod.LETTER, **asked))
    session.flush()


def prepare(url: str) -> None:
    """Migrate an empty database as its owner, and load the reference data: price list, area codes and towns.

    Also grants the database roles their privileges, and switches row-level security on or off as `ROW_SECURITY` says.
    """
    database = Database(url)
    try:
        migrations.upgrade(database.engine)
        grant_privileges(database)
        apply_row_security(database, on=ROW_SECURITY)
        begin_access_log(database)
        make_own_data(database)
        with database.transaction() as session:
            catalogue.load_price_list(session)
            load_area_codes(session)
            load_towns(session, NOW)
    finally:
        database.close()


def submit_order(session: Session, principal: Principal, main: Account, draft: OrderDraft, now: datetime) -> Request:
    """Check and save one order, and return its request; the company's daily limits are not applied.

    Raises `InvalidField` if a field breaks a rule.
    """
    ensure_orderable(session, principal, main, draft, now)
    return submit_orders(session, principal, main, [draft], now)[0]
