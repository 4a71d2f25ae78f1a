"""The base class of all database tables, with its naming and type rules, and functions to store enumerations."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """The declarative base class of every table in the portal's database.

    Every constraint and index gets a name by a rule. A datetime is stored with time zone, a dict as JSONB, a list of
    texts as an array.
    """

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: sa.Text,
        datetime: sa.TIMESTAMP(timezone=True),
        dict[str, Any]: postgresql.JSONB,
        list[str]: postgresql.ARRAY(sa.Text),
    }
    ON_CONFLICT: ClassVar[str] = ""
    """SQL that follows ON CONFLICT when `models.db.batch_insert` inserts rows of the table; empty: no such clause."""


def enumeration(values: type[StrEnum], name: str) -> sa.Enum:
    """Return a column type for the values of a `StrEnum`: text, with a check constraint called `name`.

    A new value then needs only a new check constraint; PostgreSQL does not rewrite the table.
    """
    return sa.Enum(
        values,
        native_enum=False,
        create_constraint=True,
        length=32,
        name=name,
        values_callable=lambda enum: [str(member) for member in enum],
    )


def quoted(*values: StrEnum) -> str:
    """Return the values quoted and separated by commas, as an SQL list for check constraints and partial indexes."""
    return ", ".join(f"'{value}'" for value in values)
