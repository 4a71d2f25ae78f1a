"""Answers of the carrier's staff: whether an address lies in an Ortsnetz (local exchange area), if facts do not tell.

An answer holds for every later order with the same postal code, town and area code, until staff give another one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, joinedload, mapped_column, relationship

from models.db.base import Base
from models.people.users import User
from models.place_names import same_place_words
from models.telephony.area_codes import AreaCode
from models.telephony.place_facts import places_of, town_words
from models.telephony.towns import FURTHER_TOWNS


class KnownPlace(Base):
    """A question and its answer: whether a town with a postal code lies in the Ortsnetz of an area code.

    An Ortsnetz is a local exchange area. `town` is the town's name as staff read it, `place` in the spelling by which
    it is compared. `fits` is the answer, null while the question is open; `decided_by` is the user who gave it, at
    `decided_at`. An answer without `decided_by` was known from the start (`load_towns`); then the question was never
    asked, and `asked_at` is null.
    """

    __tablename__ = "known_places"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=sa.text("uuidv7()"))
    postal_code: Mapped[str]
    place: Mapped[str]
    town: Mapped[str]
    area_code: Mapped[str] = mapped_column(sa.ForeignKey("area_codes.code"))
    fits: Mapped[bool | None]
    asked_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"), index=True)

    area: Mapped[AreaCode] = relationship(lazy="raise_on_sql")
    decider: Mapped[User | None] = relationship(lazy="raise_on_sql")

    __table_args__ = (
        sa.UniqueConstraint("postal_code", "place", "area_code"),
        sa.CheckConstraint("(fits IS NULL) = (decided_at IS NULL)", name="answer_has_time"),
        sa.CheckConstraint("decided_by IS NULL OR decided_at IS NOT NULL", name="somebody_decided"),
        sa.CheckConstraint("asked_at IS NOT NULL OR fits IS NOT NULL", name="asked_or_known"),
        sa.Index("ix_known_places_open", "asked_at", postgresql_where=sa.text("fits IS NULL")),
        sa.Index("ix_known_places_area_code", "area_code"),
    )


def place_key(city: str) -> str:
    """Return the town's name in the spelling by which towns are compared.

    'UNTERSCHLEISSHEIM' and 'Unterschleißheim' have one spelling.
    """
    return " ".join(town_words(city))


def answers_for(session: Session, postal_code: str, city: str) -> Mapping[str, bool]:
    """Return, by area code, whether the town with this postal code lies in the area code's Ortsnetz.

    An Ortsnetz is a local exchange area. Area codes without an answer, or whose question is still open, are left out.
    An answer of the staff holds only for the name they were asked about, whatever its case, umlauts or title
    (`place_key`). One known from the start (`load_towns`) also holds for shorter, longer and abbreviated names of the
    place (`same_place_words`); an answer for exactly this name goes before it.
    """
    # Hundreds of orders are about a few places: each postal code is looked up once a transaction.
    read: dict[str, list[KnownPlace]] = session.info.setdefault("known_places", {})
    if postal_code not in read:
        found = sa.select(KnownPlace).where(KnownPlace.postal_code == postal_code, KnownPlace.fits.is_not(None))
        read[postal_code] = list(session.scalars(found.order_by(KnownPlace.id)))
    words, place = town_words(city), place_key(city)
    from_start = {
        known.area_code: bool(known.fits)
        for known in read[postal_code]
        if known.decided_by is None and same_place_words(words, known.place.split())
    }
    return from_start | {known.area_code: bool(known.fits) for known in read[postal_code] if known.place == place}


def ask(session: Session, postal_code: str, city: str, area_code: str, now: datetime) -> None:
    """Add the question for the staff whether the town lies in the Ortsnetz (local exchange area) of the area code.

    Safe to run twice: a question that exists, open or answered, stays as it is.
    """
    asked = postgresql.insert(KnownPlace).values(
        postal_code=postal_code, place=place_key(city), town=city, area_code=area_code, asked_at=now
    )
    session.execute(asked.on_conflict_do_nothing())


def question_id(session: Session, postal_code: str, city: str, area_code: str) -> uuid.UUID | None:
    """Return the id of the question whether the town lies in the area code's Ortsnetz; None if there is no such row.

    An Ortsnetz is a local exchange area. The row may be open, answered by staff, or known from the start.
    """
    return session.scalar(
        sa.select(KnownPlace.id).where(
            KnownPlace.postal_code == postal_code,
            KnownPlace.place == place_key(city),
            KnownPlace.area_code == area_code,
        )
    )


def load_towns(session: Session, now: datetime) -> None:
    """Insert the answers known from the start: towns that share another town's Ortsnetz (local exchange area).

    Existing answers stay. Each town is known with every postal code of its name that lies within 60 km of the
    Ortsnetz.
    """
    places = places_of(session)
    rows = [
        {
            "postal_code": postal_code,
            "place": place_key(town),
            "town": town,
            "area_code": area_code,
            "fits": True,
            "decided_at": now,
        }
        for area_code, towns in FURTHER_TOWNS.items()
        for town in towns
        for postal_code in places.codes_of(town)
        if places.is_near(postal_code, area_code)
    ]
    session.execute(postgresql.insert(KnownPlace).on_conflict_do_nothing(), rows)


def open_questions(session: Session, most: int) -> Sequence[KnownPlace]:
    """Return up to `most` questions without an answer, those open for longest first, each with its Ortsnetz.

    An Ortsnetz is a local exchange area.
    """
    found = sa.select(KnownPlace).where(KnownPlace.fits.is_(None)).order_by(KnownPlace.asked_at, KnownPlace.id)
    return session.scalars(found.options(joinedload(KnownPlace.area)).limit(most)).all()


def answered_questions(session: Session, most: int) -> Sequence[KnownPlace]:
    """Return at most `most` questions that staff have answered, the last answered first.

    Each comes with its Ortsnetz (local exchange area) and the member of staff.
    """
    found = sa.select(KnownPlace).where(KnownPlace.decided_by.is_not(None))
    parts = (joinedload(KnownPlace.area), joinedload(KnownPlace.decider))
    return session.scalars(found.order_by(KnownPlace.decided_at.desc()).options(*parts).limit(most)).all()
