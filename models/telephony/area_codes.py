"""Ortsnetze (local exchange areas): the German area codes, each with the name of its town."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.db.base import Base
from models.telephony.towns import NO_AREA_CODES


class AreaCode(Base):
    """An Ortsnetz (local exchange area): `code` is its area code with the leading zero, `name` the town's name."""

    __tablename__ = "area_codes"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]

    __table_args__ = (sa.CheckConstraint("code ~ '^0[1-9][0-9]{1,4}$'", name="form"),)


def area_names() -> dict[str, str]:
    """Return a dict of area code to town name, for each Ortsnetz (local exchange area) that phonenumbers knows.

    Area codes have the leading zero. phonenumbers is a Python package.
    """
    from phonenumbers.geodata import GEOCODE_DATA  # large: only where it is needed

    names = {
        "0" + prefix.removeprefix("49"): names.get("de") or names["en"]
        for prefix, names in GEOCODE_DATA.items()
        if prefix.startswith("49") and 4 <= len(prefix) <= 7 and ("de" in names or "en" in names)
    }
    return {code: name for code, name in names.items() if code not in NO_AREA_CODES}


def load_area_codes(session: Session) -> int:
    """Insert every Ortsnetz (local exchange area) of `area_names`, or update its name; return the number of them."""
    rows = [{"code": code, "name": name} for code, name in area_names().items()]
    statement = postgresql.insert(AreaCode).values(rows)
    session.execute(
        statement.on_conflict_do_update(index_elements=[AreaCode.code], set_={"name": statement.excluded.name})
    )
    return len(rows)
