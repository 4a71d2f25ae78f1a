"""The products that can be ordered, and their monthly and one-off prices in integer euro cents, net.

A product has the price in this module's list (`PRICE_LIST`) until the carrier sets another one from a day on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.calendar_days import berlin_day
from models.contracts.terms import LONGEST_NOTICE, LONGEST_TERM, OPEN_TERMS, ContractTerms
from models.db.base import Base, enumeration
from models.errors import InvalidField, NotFound
from models.values import Locale


class ProductKind(StrEnum):
    """The kind of a product: a SIP trunk, a number block, or an option."""

    TRUNK = "trunk"
    NUMBER_BLOCK = "number_block"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A product's key with its monthly and one-off price in net euro cents: as agreed, or as in the price list."""

    product_key: str
    monthly_cents: int
    one_off_cents: int


def term_checks() -> tuple[sa.CheckConstraint, ...]:
    """Return the check constraints for the columns `term_months`, `notice_months` and `renewal_months` of a table."""
    return (
        sa.CheckConstraint(f"term_months BETWEEN 0 AND {LONGEST_TERM}", name="term_months"),
        sa.CheckConstraint(f"notice_months BETWEEN 0 AND {LONGEST_NOTICE}", name="notice_months"),
        sa.CheckConstraint(f"renewal_months BETWEEN 0 AND {LONGEST_TERM}", name="renewal_months"),
    )


class HasTerms:
    """A mixin for tables with the terms of a contract in months: first term, notice period and extension."""

    term_months: Mapped[int] = mapped_column(default=0, server_default="0")
    notice_months: Mapped[int] = mapped_column(default=1, server_default="1")
    renewal_months: Mapped[int] = mapped_column(default=0, server_default="0")

    @property
    def terms(self) -> ContractTerms:
        """Return the row's first term, notice period and extension as one `ContractTerms`."""
        return ContractTerms(self.term_months, self.notice_months, self.renewal_months)


def price_lines_from_json(saved: Iterable[Mapping[str, Any]]) -> dict[str, PriceLine]:
    """Return a dict of product key to price line, from price lines that were saved as JSON objects."""
    return {line["product_key"]: PriceLine(**line) for line in saved}


class Product(HasTerms, Base):
    """A product on the price list, with net prices in euro cents.

    `channels` is the number of simultaneous calls of a trunk, `block_size` the number of phone numbers in a number
    block; null for other kinds. `position` is the product's place on the price list. Withdrawn products (`orderable` is
    false) stay in the table for the contracts that contain them. The `terms` of a trunk are those of its contract; for
    other kinds of products they have no meaning.

    The prices, the terms and `orderable` in this table apply only until the first day for which the product has a
    `ProductPrice`; `price_list` returns products with the values of a given day.
    """

    __tablename__ = "products"

    key: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[ProductKind] = mapped_column(enumeration(ProductKind, "kind"))
    name_de: Mapped[str]
    name_en: Mapped[str]
    channels: Mapped[int | None]
    block_size: Mapped[int | None]
    monthly_cents: Mapped[int]
    one_off_cents: Mapped[int]
    orderable: Mapped[bool] = mapped_column(default=True)
    position: Mapped[int]

    __table_args__ = (
        sa.CheckConstraint("(kind = 'trunk') = (channels IS NOT NULL)", name="trunk_has_channels"),
        sa.CheckConstraint("(kind = 'number_block') = (block_size IS NOT NULL)", name="block_has_size"),
        sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name="prices"),
        *term_checks(),
    )

    @property
    def price_line(self) -> PriceLine:
        """Return the product's key with its prices."""
        return PriceLine(self.key, self.monthly_cents, self.one_off_cents)

    def name(self, locale: Locale) -> str:
        """Return the product's name in the given language."""
        return self.name_en if locale == "en" else self.name_de


class ProductPrice(HasTerms, Base):
    """The net prices and contract terms of a product from a day in Berlin on, and whether it can be ordered.

    They apply until the day `valid_from` of the product's next row.
    """

    __tablename__ = "product_prices"

    product_key: Mapped[str] = mapped_column(sa.ForeignKey("products.key"), primary_key=True)
    valid_from: Mapped[date] = mapped_column(sa.Date, primary_key=True)
    monthly_cents: Mapped[int]
    one_off_cents: Mapped[int]
    orderable: Mapped[bool]
    set_at: Mapped[datetime]

    __table_args__ = (
        sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name="prices"),
        *term_checks(),
    )


def _product(
    key: str,
    kind: ProductKind,
    names: tuple[str, str],
    monthly: int,
    one_off: int,
    *,
    orderable: bool = True,
    **size: int,
) -> dict[str, Any]:
    return {
        "key": key,
        "kind": kind,
        "name_de": names[0],
        "name_en": names[1],
        "monthly_cents": monthly,
        "one_off_cents": one_off,
        "channels": size.get("channels"),
        "block_size": size.get("block_size"),
        "orderable": orderable,
    }


MOBILE_BACKUP = "mobile-backup"
"""The key of the option that sends calls to a mobile number while no phone system is registered."""

DIRECTORY_ENTRY = "directory-entry"
"""The key of the option that gives an account an entry in the telephone directory."""

_T, _B, _O = ProductKind.TRUNK, ProductKind.NUMBER_BLOCK, ProductKind.OPTION
PRICE_LIST: Sequence[dict[str, Any]] = (
    _product("trunk-2", _T, ("SIP-Trunk mit 2 Kanälen", "SIP trunk, 2 channels"), 990, 0, channels=2),
    _product("trunk-10", _T, ("SIP-Trunk mit 10 Kanälen", "SIP trunk, 10 channels"), 2990, 2900, channels=10),
    _product("trunk-50", _T, ("SIP-Trunk mit 50 Kanälen", "SIP trunk, 50 channels"), 9990, 9900, channels=50),
    _product("block-1", _B, ("Einzelrufnummer", "Single number"), 100, 0, block_size=1),
    _product("block-10", _B, ("Rufnummernblock mit 10 Nummern", "Block of 10 numbers"), 290, 990, block_size=10),
    _product(
        "block-100",
        _B,
        ("Rufnummernblock mit 100 Nummern", "Block of 100 numbers"),
        990,
        1990,
        block_size=100,
    ),
    # Cannot be ordered; on the list for the contracts that have it.
    _product("fax2mail", _O, ("Fax per E-Mail", "Fax by e-mail"), 290, 0, orderable=False),
    _product(MOBILE_BACKUP, _O, ("Notfall-Umleitung auf Mobilfunk", "Mobile fallback"), 490, 0),
    _product(DIRECTORY_ENTRY, _O, ("Telefonbucheintrag", "Directory entry"), 0, 990),
)


def load_price_list(session: Session) -> None:
    """Insert the products of `PRICE_LIST`, the list in this file, or update their names and sizes. Safe to run twice.

    The prices of a product that is already in the table stay, because the carrier sets them. A product that the carrier
    or the list has withdrawn stays withdrawn. Products that are not in the list stay as they are.
    """
    statement = postgresql.insert(Product).values([{**row, "position": place} for place, row in enumerate(PRICE_LIST)])
    kept = {"key", "monthly_cents", "one_off_cents"}
    new: dict[str, Any] = {column.name: column for column in statement.excluded if column.name not in kept}
    new["orderable"] = sa.and_(Product.orderable, statement.excluded.orderable)
    session.execute(statement.on_conflict_do_update(index_elements=[Product.key], set_=new))


_TERMS = tuple(field.name for field in fields(ContractTerms))
"""The names of the columns of `HasTerms`."""
_PRICE_LISTS = "price_lists"
"""The key in `Session.info` of the price lists that the session has read, by day."""


def all_products(session: Session) -> dict[str, Product]:
    """Return all products by product key, in price list order, including withdrawn products: for names and sizes.

    For prices, and for what can be ordered, use `price_list`. Reads the short table once for each session and keeps the
    result.
    """
    products: dict[str, Product] | None = session.info.get("all_products")
    if products is None:
        rows = session.scalars(sa.select(Product).order_by(Product.position))
        products = session.info["all_products"] = {product.key: product for product in rows}
    return products


def price_list(session: Session, now: datetime) -> Mapping[str, Product]:
    """Return a dict of product key to product, with the prices and availability on the day of `now`.

    It is in price list order and includes withdrawn products. The products are copies that belong to no session. Reads
    the tables once for each session and day and keeps the result.
    """
    day = berlin_day(now)
    if day not in session.info.get(_PRICE_LISTS, {}):
        keep_price_list(session, day, session.scalars(_price_list(), {"day": day}).one())
    products: Mapping[str, Product] = session.info[_PRICE_LISTS][day]
    return products


def keep_price_list(session: Session, day: date, saved: str | None) -> None:
    """Cache a price list in the session, so that `price_list` returns it for this day in Berlin without a query.

    `saved` is the JSON text that another query has read with `price_list_sql`; None if there are no products.
    """
    session.info.setdefault(_PRICE_LISTS, {})[day] = _products(saved or "[]")


def price_list_sql() -> sa.ScalarSelect[str]:
    """Return a scalar subquery that gives the price list of one day as JSON text, for use in another query.

    The text is an array with an object for each product, in price list order, whose keys are the columns of `Product`;
    the subquery's value is NULL if there are no products. Executing that query needs a parameter `day`, a date.
    """
    priced = _prices_of_a_day().subquery("priced")
    rows = sa.func.json_agg(postgresql.aggregate_order_by(sa.literal_column("priced"), priced.c.position))
    return sa.select(sa.cast(rows, sa.Text)).select_from(priced).scalar_subquery()


@cache
def _price_list() -> sa.Select[str]:
    return sa.select(price_list_sql())


# By its whole text, so that a process never works with an old price list.
@lru_cache(4)
def _products(saved: str) -> Mapping[str, Product]:
    names = Product.__mapper__.columns.keys()
    rows = ({name: row[name] for name in names} | {"kind": ProductKind(row["kind"])} for row in json.loads(saved))
    return MappingProxyType({row["key"]: Product(**row) for row in rows})


def _prices_of_a_day() -> sa.Select[Any]:
    """Return a query, with the parameter `day`, for all products with that day's prices and availability."""
    latest = (
        sa.select(ProductPrice)
        .where(ProductPrice.valid_from <= sa.bindparam("day", type_=sa.Date()))
        .ext(postgresql.distinct_on(ProductPrice.product_key))
        .order_by(ProductPrice.product_key, ProductPrice.valid_from.desc())
        .subquery()
    )
    terms = {name: sa.func.coalesce(latest.c[name], getattr(Product, name)) for name in _TERMS}
    priced = {
        **terms,
        # What this version of the program cannot deliver is not sold, whatever its price.
        "orderable": sa.and_(Product.orderable, sa.func.coalesce(latest.c.orderable, sa.true())),
        "monthly_cents": sa.func.coalesce(latest.c.monthly_cents, Product.monthly_cents),
        "one_off_cents": sa.func.coalesce(latest.c.one_off_cents, Product.one_off_cents),
    }
    columns = [priced.get(column.name, column).label(column.name) for column in Product.__table__.columns]
    query = sa.select(*columns).outerjoin_from(Product, latest, latest.c.product_key == Product.key)
    return query.order_by(Product.position)


def withdrawn_products(session: Session, now: datetime) -> list[Product]:
    """Return the products that cannot be ordered on the day of `now`, in price list order.

    Contracts may still contain them.
    """
    return [product for product in price_list(session, now).values() if not product.orderable]


def orderable_products(session: Session, now: datetime) -> list[Product]:
    """Return the products that customers can order on the day of `now`, in price list order, with its prices."""
    return [product for product in price_list(session, now).values() if product.orderable]


def set_price(
    session: Session,
    key: str,
    day: date,
    now: datetime,
    *,
    monthly_cents: int,
    one_off_cents: int,
    orderable: bool,
    terms: ContractTerms = OPEN_TERMS,
) -> bool:
    """Set a product's net prices in euro cents, its contract terms, and whether it can be ordered, from `day` on.

    Earlier orders and running contracts keep their prices and terms; an offer keeps its prices. Returns False if
    exactly these values were already set for the day. Safe to run twice. Raises `NotFound` if there is no product with
    the key, and `InvalidField` if the day is over.
    """
    if session.get(Product, key) is None:
        raise NotFound
    if day < berlin_day(now):
        raise InvalidField("valid_from", "day_is_over")
    cents = {"monthly_cents": monthly_cents, "one_off_cents": one_off_cents}
    facts = {**cents, **asdict(terms), "orderable": orderable}
    new = postgresql.insert(ProductPrice).values(product_key=key, valid_from=day, set_at=now, **facts)
    same = sa.and_(*(getattr(ProductPrice, name) == value for name, value in facts.items()))
    changed = new.on_conflict_do_update(
        index_elements=[ProductPrice.product_key, ProductPrice.valid_from], set_={**facts, "set_at": now}, where=~same
    )
    session.info.pop(_PRICE_LISTS, None)
    return session.scalar(changed.returning(ProductPrice.product_key)) is not None


def planned_prices(session: Session, now: datetime) -> Sequence[ProductPrice]:
    """Return the prices that are set for days after the day of `now`, sorted by product and day."""
    later = sa.select(ProductPrice).where(ProductPrice.valid_from > berlin_day(now))
    return session.scalars(later.order_by(ProductPrice.product_key, ProductPrice.valid_from)).all()


def block_key(size: int) -> str:
    """Return the product key of a number block with `size` numbers."""
    return f"block-{size}"
