"""What the demo plays: orders and link requests, each with the end that it has to come to.

Everything that gets used up (numbers, accounts that are linked) is made anew for every performance, so that the
demo can be played again and again on the same data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts import Account, account_by_number
from models.people import ApiToken, Role, Scope, User, create_token
from models.restocking import Restocked, restock
from models.states import Reason, Status
from models.telephony import AreaCode, NumberBlock, pool_has
from models.values import national_to_e164, random_customer_number
from workers.demo.cast import (
    EMPTY_POOL,
    KOELN,
    MAIN_NUMBER,
    MAXI,
    MUENCHEN,
    PASSWORD,
    POOLS,
    STUTTGART,
    Person,
    Pool,
    Site,
)
from workers.demo.customers import Carrier, give_role, open_account
from workers.demo.play import CannotPlay, Scene, Stand

TOKEN_NAME = "standorte demo"  # noqa: S105 - its name, not the token
HANNA = Person("Hanna Palmer", "hanna.palmer@example.com")
DOERTE = Person("Dörte Dortmund", "dortmund@example.de")
NIKO = Person("Niko Nürnberg", "nuernberg@example.de")

COMPLETED = Stand(Status.COMPLETED)
NOT_PROVEN = Stand(Status.REJECTED, Reason.OWNERSHIP_NOT_PROVEN)


@dataclass(frozen=True, slots=True)
class Stage:
    """What was made ready for one performance. `fresh` are the accounts that will be linked."""

    token: str
    berlin: Pool
    bielefeld: Pool
    empty: Pool
    by_both: Account
    by_credentials: Account
    nobodys_number: str

    @property
    def fresh(self) -> tuple[Account, Account]:
        """The existing accounts that were made for this performance."""
        return self.by_both, self.by_credentials


def set_stage(session: Session, carrier: Carrier) -> Stage:
    """Make a token, two existing accounts to link, and choose where there are numbers. Raises `CannotPlay`."""
    main = account_by_number(session, MAIN_NUMBER)
    maxi = session.scalar(sa.select(User).where(User.email == MAXI.email))
    if main is None or maxi is None:
        raise CannotPlay("There is no demo data; `standorte up` loads it.")
    dortmund = _stocked(session, "0231", 1, carrier.now)
    by_both = open_account(session, carrier, _site("Pop-up", dortmund, DOERTE))
    give_role(session, maxi, by_both, Role.ADMINISTRATOR)
    nuernberg = _stocked(session, "0911", 1, carrier.now)
    return Stage(
        token=create_token(session, main, maxi, TOKEN_NAME, frozenset(Scope), carrier.now),
        berlin=_stocked(session, "030", 10, carrier.now),
        bielefeld=_stocked(session, "0521", 1, carrier.now),
        empty=_empty(session, carrier.now),
        by_both=by_both,
        by_credentials=open_account(session, carrier, _site("Messestand", nuernberg, NIKO)),
        nobodys_number=_nobodys_number(session),
    )


def clear_stage(session: Session, now: datetime) -> None:
    """Revoke the demo's tokens."""
    for token in session.scalars(sa.select(ApiToken).where(ApiToken.name == TOKEN_NAME, ApiToken.revoked_at.is_(None))):
        token.revoke(now)


def refill(session: Session, pool: Pool, now: datetime) -> Restocked:
    """One more single number for the pool that was empty. Raises `CannotPlay` once its range is used up."""
    first = _next_number(session, pool)
    if first is None:
        raise CannotPlay(f"All numbers of {pool.area_code} {pool.prefix}-000 … -999 have been given out.")
    return restock(session, pool.area_code, first, 1, 1, now)


def scenes(stage: Stage, stock: Callable[[str], str], cancel: Callable[[str], str]) -> list[Scene]:
    """Every scene of the performance."""
    to_both = frozenset({MAXI.email, HANNA.email})
    return [
        Scene(
            f"Order in {stage.berlin.city}, 10 numbers",
            "orders",
            _order("Brückenstr. 5", stage.berlin, "trunk-10", 4, 10),
            COMPLETED,
            twice=True,
            recipients=to_both,
        ),
        Scene(
            f"Order in {stage.bielefeld.city}, single number",
            "orders",
            _order("Alter Markt 9", stage.bielefeld, "trunk-2", 2, 1),
            COMPLETED,
            recipients=to_both,
        ),
        Scene(
            f"Order in {stage.empty.city}, no numbers left",
            "orders",
            _order("Hafenweg 2", stage.empty, "trunk-2", 2, 1),
            COMPLETED,
            stop=Stand(Status.HELD, Reason.NO_NUMBERS_AVAILABLE),
            act=stock,
            recipients=to_both,
        ),
        Scene(
            "Order with another town's area code",
            "orders",
            _order("Marienplatz 1", Pool("030", "München", "80331", ""), "trunk-2", 2, 10),
            Stand(Status.CANCELLED, Reason.CANCELLED_BY_REQUESTER),
            stop=Stand(Status.PENDING, Reason.AREA_CODE_MISMATCH),
            act=cancel,
        ),
        Scene(
            "Link, requester administers both",
            "link-requests",
            {**_link(stage.by_both.customer_number), "proof": {"method": "administers_both"}},
            COMPLETED,
            recipients=frozenset({MAXI.email, DOERTE.email}),
        ),
        Scene(
            "Link with the other account's login",
            "link-requests",
            _link(stage.by_credentials.customer_number, NIKO),
            COMPLETED,
            twice=True,
            recipients=frozenset({MAXI.email, NIKO.email}),
        ),
        Scene(
            "Link with a wrong password",
            "link-requests",
            _link(KOELN.customer_number, KOELN.administrator, "wrong"),
            NOT_PROVEN,
        ),
        Scene(
            "Link, no such customer number",
            "link-requests",
            _link(stage.nobodys_number, KOELN.administrator),
            NOT_PROVEN,
        ),
        Scene(
            "Link, attached elsewhere already",
            "link-requests",
            _link(STUTTGART.customer_number, STUTTGART.administrator),
            Stand(Status.REJECTED, Reason.ALREADY_ATTACHED),
        ),
        Scene(
            "Link of a main account",
            "link-requests",
            _link(MUENCHEN.customer_number, MUENCHEN.administrator),
            Stand(Status.REJECTED, Reason.IS_MAIN_ACCOUNT),
        ),
    ]


def _order(street: str, pool: Pool, product: str, channels: int, block_size: int) -> dict[str, Any]:
    return {
        "product": product,
        "channels": channels,
        "location": {
            "name": f"Filiale {pool.city}",
            "street": street,
            "postal_code": pool.postal_code,
            "city": pool.city,
        },
        "contact": {"name": HANNA.name, "email": HANNA.email, "phone": "+493023125901"},
        "numbers": {"area_code": pool.area_code, "block_size": block_size},
        "locale": "de",
    }


def _link(customer_number: str | None, login: Person | None = None, password: str = PASSWORD) -> dict[str, Any]:
    body: dict[str, Any] = {"customer_number": customer_number, "locale": "de"}
    if login is not None:
        body["proof"] = {"method": "credentials", "email": login.email, "password": password}
    return body


def _site(name: str, pool: Pool, administrator: Person) -> Site:
    street = "Messeplatz 1"
    return Site(
        None, f"{name} {pool.city}", street, pool.postal_code, pool.city, pool.area_code, administrator,
        block_size=1,
    )  # fmt: skip


def _stocked(session: Session, preferred: str, size: int, now: datetime) -> Pool:
    """The preferred pool, or another one that has a free block of this size."""
    pools = sorted(POOLS, key=lambda pool: pool.area_code != preferred)
    for pool in pools:
        if pool_has(session, pool.area_code, size, now):
            return pool
    raise CannotPlay(f"No pool has a free block of {size}; `standorte numbers stock` refills one.")


def _empty(session: Session, now: datetime) -> Pool:
    """A pool without single numbers that can still be refilled."""
    usable = _next_number(session, EMPTY_POOL) is not None
    if usable and not pool_has(session, EMPTY_POOL.area_code, 1, now):
        return EMPTY_POOL
    untouched = session.scalar(
        sa.select(AreaCode)
        .where(
            sa.func.length(AreaCode.code) == 5,
            sa.not_(sa.exists().where(NumberBlock.area_code == AreaCode.code)),
        )
        .order_by(AreaCode.code)
        .limit(1)
    )
    if untouched is None:
        raise CannotPlay("There is no area code left whose pool is empty.")
    return Pool(untouched.code, untouched.name, EMPTY_POOL.postal_code, EMPTY_POOL.prefix)


def _next_number(session: Session, pool: Pool) -> str | None:
    """The lowest subscriber number of the pool's range above all that were ever in it; None if it is used up."""
    prefix = national_to_e164(pool.area_code)
    start = int(f"{prefix}{pool.prefix}000")
    last = session.scalar(
        sa.select(sa.func.max(NumberBlock.first_number + NumberBlock.size)).where(
            NumberBlock.first_number.between(start, start + 999)
        )
    )
    following = max(start, last or 0)
    return str(following).removeprefix(prefix) if following < start + 1000 else None


def _nobodys_number(session: Session) -> str:
    while account_by_number(session, number := random_customer_number()) is not None:
        pass
    return number
