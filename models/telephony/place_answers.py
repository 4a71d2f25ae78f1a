"""Answers of the carrier's staff to the question whether a town lies in an Ortsnetz (local exchange area).

Staff are asked when the facts about places do not decide it. An answer holds for every later order with the same postal
code, town and area code, until staff give another one.
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
    """The question whether a town with a postal code lies in the Ortsnetz (local exchange area) of an area code.

    `town` is the town's name as staff read it, `place` the same name in the normalised spelling for comparisons. `fits`
    is the answer, null while the question is open; `decided_by` is the user who gave it, at `decided_at`. If there is
    an answer without `decided_by`, it was supplied with the software (`load_towns`); nobody was asked then, and
    `asked_at` is null.
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
    """Return the town's name in a normalised spelling, by which towns are compared.

    'UNTERSCHLEISSHEIM' and 'Unterschleißheim' give the same result.
    """
    return " ".join(town_words(city))


def answers_for(session: Session, postal_code: str, city: str) -> Mapping[str, bool]:
    """Return a dict of area code to the stored answer whether the town with this postal code lies in that area.

    The area is an Ortsnetz (local exchange area). Area codes without an answer are left out. An answer of staff holds
    only for the name about which they were asked, whatever its case, umlauts or title (`place_key`). An answer supplied
    with the software (`load_towns`) also holds for shorter, longer and abbreviated names of the place
    (`same_place_words`), unless there is an answer for exactly this name.
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
    """Store the question to staff whether the town lies in the Ortsnetz (local exchange area) of the area code.

    Safe to run twice: a question that exists already, open or answered, stays as it is.
    """
    asked = postgresql.insert(KnownPlace).values(
        postal_code=postal_code, place=place_key(city), town=city, area_code=area_code, asked_at=now
    )
    session.execute(asked.on_conflict_do_nothing())


def question_id(session: Session, postal_code: str, city: str, area_code: str) -> uuid.UUID | None:
    """Return the id of the stored question whether the town lies in the area code's Ortsnetz; None if there is none.

    An Ortsnetz is a local exchange area. The question may be open, answered by staff, or answered by data supplied with
    the software (`load_towns`).
    """
    return session.scalar(
        sa.select(KnownPlace.id).where(
            KnownPlace.postal_code == postal_code,
            KnownPlace.place == place_key(city),
            KnownPlace.area_code == area_code,
        )
    )


def load_towns(session: Session, now: datetime) -> None:
    """Store that certain towns lie in an Ortsnetz (local exchange area) with another town's name.

    These are answers with yes to the question whether a town with a postal code lies in an Ortsnetz, so that staff are
    not asked. The towns are supplied with the software (`models.telephony.towns`). A town gets one answer for each of
    its postal codes that is within 60 km of the Ortsnetz. Existing answers stay.
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
    """Return up to `most` questions to staff without an answer, the oldest first, each with its area code loaded.

    The question is whether a town lies in the Ortsnetz (local exchange area) of the area code.
    """
    found = sa.select(KnownPlace).where(KnownPlace.fits.is_(None)).order_by(KnownPlace.asked_at, KnownPlace.id)
    return session.scalars(found.options(joinedload(KnownPlace.area)).limit(most)).all()


def answered_questions(session: Session, most: int) -> Sequence[KnownPlace]:
    """Return up to `most` questions that staff have answered, the last answered first.

    The question is whether a town lies in the Ortsnetz (local exchange area) of an area code. The area code and the
    member of staff are loaded with each.
    """
    found = sa.select(KnownPlace).where(KnownPlace.decided_by.is_not(None))
    parts = (joinedload(KnownPlace.area), joinedload(KnownPlace.decider))
    return session.scalars(found.order_by(KnownPlace.decided_at.desc()).options(*parts).limit(most)).all()
