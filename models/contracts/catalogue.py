"""The products that can be ordered, with monthly and one-off prices in integer euro cents, net; and the price list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base, enumeration
from models.values import Locale


class ProductKind(StrEnum):
    """The kind of a product: a SIP trunk, a number block, or an option."""

    TRUNK = "trunk"
    NUMBER_BLOCK = "number_block"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A product's key with its price in net euro cents, monthly and one-off: agreed, or from the price list."""

    product_key: str
    monthly_cents: int
    one_off_cents: int


def price_lines_from_json(saved: Iterable[Mapping[str, Any]]) -> dict[str, PriceLine]:
    """Return a dict of product key to price line, from price lines that were saved as JSON objects."""
    return {line["product_key"]: PriceLine(**line) for line in saved}


class Product(Base):
    """A product on the price list, with net prices in euro cents.

    `channels` is the number of simultaneous calls of a trunk, `block_size` the number of phone numbers in a number
    block; null for other kinds. `position` is the product's place on the price list. Withdrawn products (`orderable` is
    false) stay in the table for the contracts that contain them.
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
    )

    @property
    def price_line(self) -> PriceLine:
        """Return the product's key with its current prices."""
        return PriceLine(self.key, self.monthly_cents, self.one_off_cents)

    def name(self, locale: Locale) -> str:
        """Return the product's name in the given language."""
        return self.name_en if locale == "en" else self.name_de


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
"""The key of the option by which calls go to a mobile number while no phone system is registered."""

DIRECTORY_ENTRY = "directory-entry"
"""The key of the option by which an account has an entry in the telephone directory."""

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
    """Insert or update the products of `PRICE_LIST`, the list in this file. Safe to run twice.

    A product that the back office or the list has withdrawn stays withdrawn. Products not in the list are left as they
    are.
    """
    statement = postgresql.insert(Product).values([{**row, "position": place} for place, row in enumerate(PRICE_LIST)])
    new: dict[str, Any] = {column.name: column for column in statement.excluded if column.name != "key"}
    new["orderable"] = sa.and_(Product.orderable, statement.excluded.orderable)
    session.execute(statement.on_conflict_do_update(index_elements=[Product.key], set_=new))


def price_list(session: Session) -> Mapping[str, Product]:
    """Return a dict of product key to product, including withdrawn products, in price list order.

    Reads the table once for each session and keeps the result, since the price list is short.
    """
    if "price_list" not in session.info:
        keep_price_list(session, session.scalars(_price_list()).one())
    products: Mapping[str, Product] = session.info["price_list"]
    return products


def keep_price_list(session: Session, saved: str | None) -> None:
    """Let `price_list` return the products that a query of the session's transaction has read by `price_list_sql`."""
    session.info["price_list"] = _products(saved or "[]")


def price_list_sql() -> sa.ScalarSelect[str]:
    """Return a scalar subquery for the price list as JSON text, so that another query can read it along."""
    rows = sa.func.json_agg(postgresql.aggregate_order_by(sa.literal_column("products"), Product.position))
    return sa.select(sa.cast(rows, sa.Text)).select_from(Product).scalar_subquery()


@cache
def _price_list() -> sa.Select[str]:
    return sa.select(price_list_sql())


# By its whole text, so that a process never works with an old price list.
@lru_cache(4)
def _products(saved: str) -> Mapping[str, Product]:
    names = Product.__mapper__.columns.keys()
    rows = ({name: row[name] for name in names} | {"kind": ProductKind(row["kind"])} for row in json.loads(saved))
    return MappingProxyType({row["key"]: Product(**row) for row in rows})


def withdrawn_products(session: Session) -> list[Product]:
    """Return the products that can no longer be ordered, in price list order; contracts may still contain them."""
    return [product for product in price_list(session).values() if not product.orderable]


def orderable_products(session: Session) -> list[Product]:
    """Return the products that customers can order, in price list order; withdrawn products are left out."""
    return [product for product in price_list(session).values() if product.orderable]


def block_key(size: int) -> str:
    """Return the product key of a number block with `size` numbers."""
    return f"block-{size}"
