"""The scenes of the demo. Each is one request, such as an order, a link or a cancellation, with its expected end.

Everything that a run uses up (numbers, accounts to link, addresses to prove) is created anew for every run, so that the
demo can be repeated on the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import (
    Account,
    account_by_number,
)
from models.accounts.hierarchy import attach
from models.people.api_tokens import ApiToken, create_token
from models.people.rights import Role, Scope
from models.people.users import User
from models.states import Origin, Reason, Status
from models.telephony.numbers import NumberBlock
from models.values import random_customer_number
from workers.demo.api import PortalApi, View
from workers.demo.cast import KOELN, MAIN_NUMBER, MAXI, MUENCHEN, PASSWORD, STUTTGART, Person, Pool, Site
from workers.demo.customers import Carrier, give_role, open_account
from workers.demo.number_pools import empty, stocked
from workers.demo.people import People
from workers.demo.play import CannotPlay, Scene, Stand

TOKEN_NAME = "standorte demo"  # noqa: S105 - its name, not the token
DOERTE = Person("Dörte Dortmund", "dortmund@example.de")
NIKO = Person("Niko Nürnberg", "nuernberg@example.de")

COMPLETED = Stand(Status.COMPLETED)
NOT_PROVEN = Stand(Status.REJECTED, Reason.OWNERSHIP_NOT_PROVEN)
EMAIL = Stand(Status.PENDING, Reason.EMAIL_NOT_CONFIRMED)
ADDRESS = Stand(Status.PENDING, Reason.ADDRESS_NOT_PROVED)
REVIEW = Stand(Status.PENDING, Reason.DOCUMENT_IN_REVIEW)
CONSENT = Stand(Status.PENDING, Reason.CONSENT_AWAITED)
APPROVAL = Stand(Status.PENDING, Reason.APPROVAL_AWAITED)
MAIN_CONSENT = Stand(Status.PENDING, Reason.MAIN_CONSENT_AWAITED)
WAITS_FOR_DAY = Stand(Status.ACKNOWLEDGED)
RESERVED_FOR_DAY = Stand(Status.IN_PROGRESS)
NEED = Stand(Status.PENDING, Reason.NEED_NOT_PROVED)
CERTIFICATE = Stand(Status.PENDING, Reason.CERTIFICATE_IN_REVIEW)
NO_NUMBERS = Stand(Status.HELD, Reason.NO_NUMBERS_AVAILABLE)

Submit = Callable[[PortalApi, str], View]
"""A function that submits a request under an idempotency key and returns the API's view of the request."""
FRESH = (
    "administers_both", "credentials", "link_code", "consent", "declined", "expired", "attached", "planned", "changed",
    "more", "certified", "kept", "cancelled", "moved", "switched", "approved",
)  # fmt: skip
"""Names of the accounts created for each run, by what happens to the account in the run."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The data prepared for one run of the demo.

    `token` is the API token; `hanna` a contact with an unconfirmed e-mail address; `street` the name of a street whose
    addresses are not proved yet; `berlin` a number pool with free numbers; `new_home` one with single numbers, to whose
    town an account moves; `empty` and `empty_too` pools without free numbers. `fresh` has the accounts created for the
    run, by a word for what happens to them, such as "cancelled" (`FRESH`). `more_area_code` is the area code of the
    account that orders one more number, `certified_area_code` that of the account that orders so many that it needs a
    certificate. `nobodys_number` is a customer number without an account.
    """

    token: str
    hanna: Person
    street: str
    berlin: Pool
    new_home: Pool
    empty: Pool
    empty_too: Pool
    fresh: dict[str, Account]
    more_area_code: str
    certified_area_code: str
    nobodys_number: str


def set_stage(session: Session, carrier: Carrier) -> Stage:
    """Prepare one run of the demo: create an API token and accounts, and choose pools with and without free numbers.

    Return what was prepared. Raises `CannotPlay` if the demo data is not loaded, or if there is no pool with free
    numbers or none without.
    """
    main = account_by_number(session, MAIN_NUMBER)
    maxi = session.scalar(sa.select(User).where(User.email == MAXI.email))
    elsewhere = account_by_number(session, MUENCHEN.customer_number or "")
    if main is None or maxi is None or elsewhere is None:
        raise CannotPlay("There is no demo data; `standorte up` loads it.")
    fresh = {becomes: _open(session, carrier, becomes) for becomes in FRESH}
    give_role(session, maxi, fresh["administers_both"], Role.ADMINISTRATOR)
    # A linked company pays for itself: there two people lead, and one of them approves what the other orders.
    give_role(session, maxi, fresh["approved"], Role.ADMINISTRATOR)
    for becomes in ("attached", "planned", "approved"):
        attach(session, main.id, fresh[becomes].id, Origin.LINK, carrier.now)
    fresh["approved"].approval_from_cents = 10_00
    attach(session, elsewhere.id, fresh["switched"].id, Origin.LINK, carrier.now)
    # A link does not reach contracts.
    for becomes in ("changed", "more", "certified", "kept", "cancelled", "moved"):
        attach(session, main.id, fresh[becomes].id, Origin.ORDER, carrier.now)
    first = empty(session, carrier.now)
    performance = random_customer_number()
    return Stage(
        token=create_token(session, main, maxi, TOKEN_NAME, frozenset(Scope), carrier.now),
        hanna=Person("Hanna Palmer", f"hanna.palmer.{performance}@example.com"),
        street=f"Brückenstr. {performance}",
        berlin=stocked(session, "030", 10, carrier.now),
        new_home=stocked(session, "030", 1, carrier.now),
        empty=first,
        empty_too=empty(session, carrier.now, {first.area_code}),
        fresh=fresh,
        more_area_code=_area_code_of(session, fresh["more"]),
        certified_area_code=_area_code_of(session, fresh["certified"]),
        nobodys_number=_nobodys_number(session),
    )


def _area_code_of(session: Session, account: Account) -> str:
    return session.scalars(sa.select(NumberBlock.area_code).where(NumberBlock.account_id == account.id)).one()


def clear_stage(session: Session, now: datetime) -> None:
    """Revoke all API tokens that this and earlier runs of the demo have created."""
    for token in session.scalars(sa.select(ApiToken).where(ApiToken.name == TOKEN_NAME, ApiToken.revoked_at.is_(None))):
        token.revoke(now)


def scenes(stage: Stage, people: People) -> list[Scene]:
    """Return all scenes (requests with what people do until their end) of one run; none is submitted yet.

    `stage` is the data prepared for the run; `people` act in the scenes in place of users and staff.
    """
    rest = (
        _detach(stage),
        _detach_tomorrow(stage, people),
        _change(stage),
        _approval(stage, people),
        _numbers(stage, people),
        _certificate(stage, people),
        _move(stage, people),
        *_cancellations(stage, people),
    )
    links = (*_links(stage, people), *_refused_links(stage), _switch(stage, people))
    return [*_orders(stage, people), *links, *rest]


def _orders(stage: Stage, people: People) -> Iterator[Scene]:
    # One is the receipt. Of an order that is held, one says by when the carrier acts.
    to_maxi, to_both, held = {MAXI.email: 2}, {MAXI.email: 2, stage.hanna.email: 2}, {MAXI.email: 3}
    yield Scene(
        "Order, e-mail and letter",
        _order(stage.street, stage.berlin, 10, stage.hanna),
        COMPLETED,
        [(EMAIL, partial(people.confirm_email, stage.hanna)), (ADDRESS, people.enter_letter_code)],
        twice=True,
        mails=to_both,
    )
    yield Scene(
        "Order, document instead of letter",
        _order(f"{stage.street} a", stage.berlin, 1),
        COMPLETED,
        [(ADDRESS, people.hand_in_document), (REVIEW, people.release_document)],
        mails=to_maxi,
    )
    yield Scene(
        f"Order in {stage.empty.city}, no numbers left",
        _order(stage.street, stage.empty, 1),
        COMPLETED,
        [(ADDRESS, people.enter_letter_code), (NO_NUMBERS, partial(people.stock, stage.empty))],
        mails=held,
    )
    yield Scene(
        f"Order in {stage.empty_too.city}, tried again",
        _order(stage.street, stage.empty_too, 1),
        COMPLETED,
        [(ADDRESS, people.enter_letter_code), (NO_NUMBERS, partial(people.stock_and_retry, stage.empty_too))],
        mails=held,
    )
    yield Scene(
        "Order, area code of the town nearby",
        _order(stage.street, Pool("089", "Dachau", "85221", ""), 10),
        Stand(Status.CANCELLED, Reason.CANCELLED_BY_REQUESTER),
        [(ADDRESS, people.cancel)],
        mails={MAXI.email: 1},
    )


def _links(stage: Stage, people: People) -> Iterator[Scene]:
    def number(becomes: str) -> str:
        return stage.fresh[becomes].customer_number

    def with_link_code(api: PortalApi, key: str) -> View:
        code = people.create_link_code(NIKO, number("link_code"))
        return _link(number("link_code"), method="link_code", code=code)(api, key)

    both_sides = {MAXI.email: 2, NIKO.email: 1}
    yield Scene(
        "Link, requester administers both",
        _link(number("administers_both"), method="administers_both"),
        COMPLETED,
        # A token reaches its account alone: its person agrees for the other one.
        [(CONSENT, partial(people.decide, MAXI, "accepted"))],
        mails={MAXI.email: 3, DOERTE.email: 2},
    )
    yield Scene(
        "Link with the other account's login",
        _link(number("credentials"), method="credentials", email=NIKO.email, password=PASSWORD),
        COMPLETED,
        twice=True,
        mails=both_sides,
    )
    yield Scene("Link with a link code", with_link_code, COMPLETED, mails=both_sides)
    consent = partial(_link, method="consent")
    yield Scene(
        "Link by consent",
        consent(number("consent")),
        COMPLETED,
        [(CONSENT, partial(people.decide, NIKO, "accepted"))],
        mails={MAXI.email: 2, NIKO.email: 2},
    )
    yield Scene(
        "Link that is declined",
        consent(number("declined")),
        Stand(Status.REJECTED, Reason.DECLINED_BY_OWNER),
        [(CONSENT, partial(people.decide, NIKO, "declined"))],
        mails={MAXI.email: 2, NIKO.email: 2},
    )
    yield Scene(
        "Link that nobody answers",
        consent(number("expired")),
        Stand(Status.REJECTED, Reason.PROOF_EXPIRED),
        [(CONSENT, partial(people.let_time_pass, 15))],
        mails=both_sides,
    )


def _refused_links(stage: Stage) -> Iterator[Scene]:
    def login(of: Site | None, number: str | None, password: str = PASSWORD) -> Submit:
        email = (of or KOELN).administrator.email
        return _link(number, method="credentials", email=email, password=password)

    to_maxi = {MAXI.email: 2}
    for title, submit, end in (
        ("Link with a wrong password", login(KOELN, KOELN.customer_number, "wrong"), NOT_PROVEN),
        ("Link, no such customer number", login(None, stage.nobodys_number), NOT_PROVEN),
        (
            "Link, attached elsewhere already",
            login(STUTTGART, STUTTGART.customer_number),
            Stand(Status.REJECTED, Reason.ALREADY_ATTACHED),
        ),
        (
            "Link of a main account",
            login(MUENCHEN, MUENCHEN.customer_number),
            Stand(Status.REJECTED, Reason.IS_MAIN_ACCOUNT),
        ),
    ):
        yield Scene(title, submit, end, mails=to_maxi)


def _switch(stage: Stage, people: People) -> Scene:
    number = stage.fresh["switched"].customer_number
    proof = {"method": "credentials", "email": NIKO.email, "password": PASSWORD}
    body = {"customer_number": number, "locale": "de", "proof": proof, "switch": True}
    return Scene(
        "Switch from another main account",
        lambda api, key: api.submit("link-requests", body, key),
        COMPLETED,
        [(MAIN_CONSENT, partial(people.decide, MUENCHEN.administrator, "accepted"))],
        mails={MAXI.email: 2, NIKO.email: 1, MUENCHEN.administrator.email: 2},
    )


def _detach(stage: Stage) -> Scene:
    def detach(api: PortalApi, key: str) -> View:
        del key
        return api.detach(stage.fresh["attached"].customer_number)

    return Scene("Detach", detach, COMPLETED, mails={MAXI.email: 1, NIKO.email: 1})


def _detach_tomorrow(stage: Stage, people: People) -> Scene:
    def detach(api: PortalApi, key: str) -> View:
        del key
        return api.detach(stage.fresh["planned"].customer_number, people.tomorrow())

    return Scene(
        "Detach tomorrow",
        detach,
        COMPLETED,
        [(WAITS_FOR_DAY, people.let_day_come)],
        mails={MAXI.email: 2, NIKO.email: 2},
    )


def _change(stage: Stage) -> Scene:
    body = {"customer_number": stage.fresh["changed"].customer_number, "product": "trunk-50", "channels": 30}
    return Scene(
        "Change to 30 channels",
        lambda api, key: api.submit("changes", body, key),
        COMPLETED,
        twice=True,
        mails={MAXI.email: 2, NIKO.email: 1},
    )


def _approval(stage: Stage, people: People) -> Scene:
    body = {"customer_number": stage.fresh["approved"].customer_number, "product": "trunk-50", "channels": 30}
    return Scene(
        "Change that a second person approves",
        lambda api, key: api.submit("changes", body, key),
        COMPLETED,
        [(APPROVAL, partial(people.approve, NIKO))],
        mails={MAXI.email: 3, NIKO.email: 2},
    )


def _numbers(stage: Stage, people: People) -> Scene:
    account = stage.fresh["more"]
    body = {
        "customer_number": account.customer_number,
        "numbers": {"area_code": stage.more_area_code, "block_size": 1},
        "effective_on": people.tomorrow().isoformat(),
    }
    return Scene(
        "One more number tomorrow",
        lambda api, key: api.submit("numbers", body, key),
        COMPLETED,
        [(RESERVED_FOR_DAY, people.let_day_come)],
        twice=True,
        mails={MAXI.email: 2, NIKO.email: 1},
    )


def _move(stage: Stage, people: People) -> Scene:
    place = {"street": f"{stage.street} b", "postal_code": stage.new_home.postal_code, "city": stage.new_home.city}
    body = {
        "customer_number": stage.fresh["moved"].customer_number,
        "location": place,
        "numbers": {"area_code": stage.new_home.area_code},
        "effective_on": people.tomorrow().isoformat(),
    }
    return Scene(
        f"Move to {stage.new_home.city} tomorrow, with another number",
        lambda api, key: api.submit("moves", body, key),
        COMPLETED,
        [(ADDRESS, people.enter_letter_code), (RESERVED_FOR_DAY, people.let_day_come)],
        twice=True,
        mails={MAXI.email: 2, NIKO.email: 1},
    )


def _certificate(stage: Stage, people: People) -> Scene:
    # Taken back in the end: there are few blocks of 100, and none is reserved before the certificate.
    numbers = {"area_code": stage.certified_area_code, "block_size": 100}
    body = {"customer_number": stage.fresh["certified"].customer_number, "numbers": numbers}
    return Scene(
        "100 more numbers, whose certificate of need is refused",
        lambda api, key: api.submit("numbers", body, key),
        Stand(Status.CANCELLED, Reason.CANCELLED_BY_REQUESTER),
        [(NEED, people.hand_in_certificate), (CERTIFICATE, people.refuse_certificate), (NEED, people.cancel)],
        mails={MAXI.email: 2},
    )


def _cancellations(stage: Stage, people: People) -> Iterator[Scene]:
    def cancellation(becomes: str) -> Submit:
        body = {"customer_number": stage.fresh[becomes].customer_number}
        return lambda api, key: api.submit("cancellations", body, key)

    to_both, waits = {MAXI.email: 2, NIKO.email: 2}, Stand(Status.ACKNOWLEDGED)
    yield Scene(
        "Cancellation that is taken back",
        cancellation("kept"),
        Stand(Status.CANCELLED, Reason.CANCELLED_BY_REQUESTER),
        [(waits, people.cancel)],
        mails=to_both,
    )
    yield Scene(
        "Cancellation whose day comes",
        cancellation("cancelled"),
        COMPLETED,
        [(waits, people.let_day_come)],
        twice=True,
        mails=to_both,
    )


def _order(street: str, pool: Pool, block_size: int, contact: Person = MAXI) -> Submit:
    body = {
        "product": "trunk-10" if block_size > 1 else "trunk-2",
        "channels": 2,
        "location": {
            "name": f"Filiale {pool.city}",
            "street": street,
            "postal_code": pool.postal_code,
            "city": pool.city,
        },
        "contact": {"name": contact.name, "email": contact.email, "phone": "+493023125901"},
        "numbers": {"area_code": pool.area_code, "block_size": block_size},
        "locale": "de",
    }
    return lambda api, key: api.submit("orders", body, key)


def _link(customer_number: str | None, **proof: str) -> Submit:
    body = {"customer_number": customer_number, "locale": "de", "proof": proof}
    return lambda api, key: api.submit("link-requests", body, key)


def _open(session: Session, carrier: Carrier, becomes: str) -> Account:
    person, area_code = (DOERTE, "0231") if becomes == "administers_both" else (NIKO, "0911")
    pool = stocked(session, area_code, 1, carrier.now)
    site = Site(
        None, f"Messestand {pool.city}", "Messeplatz 1", pool.postal_code, pool.city, pool.area_code, person,
        block_size=1,
    )  # fmt: skip
    return open_account(session, carrier, site)


def _nobodys_number(session: Session) -> str:
    while account_by_number(session, number := random_customer_number()) is not None:
        pass
    return number
