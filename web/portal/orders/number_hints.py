"""Texts shown while the user types an order: whether the area code fits the city, how many numbers are free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import flask_babel
from sqlalchemy.orm import Session

from models.orders.orders import area_codes_for, city_fits
from models.telephony.area_codes import AreaCode
from models.telephony.number_pool import count_free
from models.telephony.numbers import BLOCK_SIZES
from models.values import AREA_CODE
from tasks.wording.fields import field_error
from web.portal.page.locale import locale

MOST = 1000


def gettext(words: str, **facts: object) -> str:
    """Return the text in the page's language, with `facts` put in; a typed wrapper of Flask-Babel's function."""
    said: str = flask_babel.gettext(words, **facts)
    return said


def ngettext(one: str, many: str, number: int, **facts: object) -> str:
    """Return the text for `number`, singular or plural, in the page's language; a typed wrapper of Flask-Babel's."""
    said: str = flask_babel.ngettext(one, many, number, **facts)
    return said


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known about the typed city, area code and block size, and the texts that tell it to the user.

    `typed` is the area code as typed, `area` that area code, None if it does not exist. `block_size` is 0 if blocks of
    the typed size do not exist. `suggestions` are area codes for the city. `fits` is whether the city can have the area
    code, None if one of the two is missing. `free` is the number of free blocks of this size in the area code, at most
    `MOST`; None if area code or size is missing.
    """

    city: str
    area: AreaCode | None
    typed: str
    block_size: int
    suggestions: Sequence[AreaCode]
    fits: bool | None
    free: int | None

    @property
    def mismatch(self) -> bool:
        """Return whether an order with this city and area code would wait for a correction, because they do not fit."""
        return self.fits is False

    @property
    def for_city(self) -> str:
        """Return the text to show below the city: its area codes, or that it is unknown; empty if none is typed."""
        if not self.city:
            return ""
        if not self.suggestions:
            return gettext("We know no Ortsnetz named %(city)s. Please check the spelling.", city=self.city)
        return gettext(
            "Area code for %(city)s: %(codes)s",
            city=self.city,
            codes=", ".join(f"{area.code} ({area.name})" for area in self.suggestions),
        )

    @property
    def for_area(self) -> str:
        """Return the text to show below the area code: its town, whether it fits the city, or that it does not exist.

        Empty if what is typed is no complete area code.
        """
        if self.area is None:
            unknown = bool(AREA_CODE.fullmatch(self.typed))
            return field_error(locale(), "numbers.area_code", "unknown_area_code") if unknown else ""
        if self.fits is None:
            return gettext("%(code)s is %(town)s.", code=self.area.code, town=self.area.name)
        if self.fits:
            return gettext(
                "%(code)s is %(town)s and fits %(city)s.", code=self.area.code, town=self.area.name, city=self.city
            )
        return gettext(
            "%(code)s is %(town)s, the connection address is in %(city)s. Phone numbers may only be given to an "
            "address inside their Ortsnetz. You can order all the same, but the order would wait until address or "
            "area code are corrected.",
            code=self.area.code,
            town=self.area.name,
            city=self.city,
        )

    @property
    def for_free(self) -> str:
        """Return the text to show below the block size: how many blocks of this size are free in the area code.

        Empty if area code or block size is missing.
        """
        if self.free is None or self.area is None:
            return ""
        if self.free == 0:
            return gettext(
                "At the moment nothing of this size is free in %(code)s. You can order all the same; we set it up "
                "as soon as there are new numbers.",
                code=self.area.code,
            )
        if self.free >= MOST:
            return gettext("More than enough is free in %(code)s.", code=self.area.code)
        if self.block_size == 1:
            return ngettext(
                "%(num)s single number is free in %(code)s.",
                "%(num)s single numbers are free in %(code)s.",
                self.free,
                code=self.area.code,
            )
        return ngettext(
            "%(num)s block of %(size)s numbers is free in %(code)s.",
            "%(num)s blocks of %(size)s numbers are free in %(code)s.",
            self.free,
            size=self.block_size,
            code=self.area.code,
        )


def hints_for(session: Session, city: str, area_code: str, block_size: str, now: datetime) -> Hints:
    """Return what is known at `now` about a city, an area code and a block size, each as the user typed it."""
    place, code = city.strip()[:120], area_code.strip()
    area = session.get(AreaCode, code) if AREA_CODE.fullmatch(code) else None
    size = int(block_size) if block_size in map(str, BLOCK_SIZES) else 0
    return Hints(
        city=place,
        area=area,
        typed=code,
        block_size=size,
        suggestions=area_codes_for(session, place),
        fits=city_fits(place, area) if area is not None and place else None,
        free=count_free(session, area.code, size, now, MOST) if area is not None and size else None,
    )
