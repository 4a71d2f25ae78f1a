"""Texts shown while the user types an order: whether the area code fits the address, and how many numbers are free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import flask_babel
from sqlalchemy.orm import Session

from models.errors import InvalidField
from models.orders.area_code_of_address import (
    Certainty,
    area_code_text,
    area_codes_for,
    certainty_of,
    ensure_postal_code,
)
from models.phone_numbers import typed_area_code
from models.place_names import same_place
from models.telephony.area_codes import AreaCode
from models.telephony.number_pool import count_free
from models.telephony.numbers import BLOCK_SIZES
from models.telephony.place_facts import places_of, spelled_town
from models.values import AREA_CODE, POSTAL_CODE
from tasks.wording.fields import field_error
from web.portal.page.locale import locale

MOST = 1000


def gettext(words: str, **facts: object) -> str:
    """Return the English text `words` in the page's language, with `facts` at its placeholders `%(name)s`.

    A wrapper of Flask-Babel's function, with types.
    """
    said: str = flask_babel.gettext(words, **facts)
    return said


def ngettext(one: str, many: str, number: int, **facts: object) -> str:
    """Return the English text `one` or `many`, by `number`, in the page's language, with `facts` at its placeholders.

    A wrapper of Flask-Babel's function, with types.
    """
    said: str = flask_babel.ngettext(one, many, number, **facts)
    return said


@dataclass(frozen=True, slots=True)
class Hints:
    """Facts about the typed address, area code and block size, and the texts that the page shows about them.

    `postal_code` is empty unless the typed one has five digits. `towns` are the towns with that postal code; `city` is
    the typed city, in the spelling of `towns` if it is one of them. `typed` is the area code as typed, `area` its
    Ortsnetz (local exchange area), None if there is none. `block_size` is 0 if there are no blocks of the typed size.
    `suggestions` are area codes that fit the address. `wrong_address` is an error text about postal code and city,
    empty if they can belong together. `certainty` says whether the address lies in the Ortsnetz: certain, plausible or
    impossible; None if address or area code is missing or wrong. `free` is the number of free blocks of this size in
    the area code, at most `MOST` (1,000); None if area code or size is missing or wrong.
    """

    postal_code: str
    city: str
    towns: Sequence[str]
    area: AreaCode | None
    typed: str
    block_size: int
    suggestions: Sequence[AreaCode]
    wrong_address: str
    certainty: Certainty | None
    free: int | None

    @property
    def mismatch(self) -> bool:
        """Return whether the address cannot lie in the Ortsnetz (local exchange area) of the area code.

        False as well if the address or the area code is missing or wrong.
        """
        return self.certainty is Certainty.IMPOSSIBLE

    @property
    def city_is_known(self) -> bool:
        """Return whether one of the towns with the postal code is called `city`.

        Usual short forms count: 'Frankfurt' is 'Frankfurt am Main'. False while the city or the postal code is missing.
        """
        return any(same_place(self.city, town) for town in self.towns)

    @property
    def unknown_town(self) -> bool:
        """Return whether the city may be misspelt: the postal code is known, but not with a town of this name.

        False if the two cannot belong together (`wrong_address`), and while one of them is missing.
        """
        return bool(self.towns and self.city and not self.wrong_address and not self.city_is_known)

    @property
    def for_city(self) -> str:
        """Return the text to show below the city; empty if there is nothing to say.

        It says what is wrong with the address, or which area codes fit it. While no city is typed, it names the towns
        with the postal code.
        """
        if self.wrong_address:
            return self.wrong_address
        if not self.postal_code:
            return ""
        towns = ", ".join(self.towns)
        if not self.city:
            return gettext("%(code)s belongs to %(towns)s.", code=self.postal_code, towns=towns) if towns else ""
        said = ""
        if self.unknown_town:
            said = gettext(
                "We do not know %(city)s with postal code %(postal_code)s, which belongs to %(towns)s. Please check "
                "the spelling.",
                city=self.city,
                postal_code=self.postal_code,
                towns=towns,
            )
        if not self.suggestions:
            return said
        codes = ", ".join(area_code_text(area) for area in self.suggestions)
        fitting = gettext("Area code for %(city)s: %(codes)s", city=self.city, codes=codes)
        return f"{said} {fitting}".strip()

    @property
    def for_area(self) -> str:
        """Return the text to show below the area code: its town and whether it fits the address, or an error.

        Empty while the typed digits are not a complete area code.
        """
        if self.area is None:
            unknown = bool(AREA_CODE.fullmatch(self.typed))
            return field_error(locale(), "numbers.area_code", "unknown_area_code") if unknown else ""
        match self.certainty:
            case Certainty.CERTAIN:
                return gettext(
                    "%(code)s is %(town)s and fits %(city)s.", code=self.area.code, town=self.area.name, city=self.city
                )
            case Certainty.PLAUSIBLE:
                return gettext(
                    "%(code)s is %(town)s. Whether %(city)s lies in that Ortsnetz, we check after the order; you need "
                    "not do anything.",
                    code=self.area.code,
                    town=self.area.name,
                    city=self.city,
                )
            case Certainty.IMPOSSIBLE:
                fitting = [area_code_text(area) for area in self.suggestions]
                return field_error(locale(), "numbers.area_code", "area_code_mismatch", fitting)
        return gettext("%(code)s is %(town)s.", code=self.area.code, town=self.area.name)

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


def hints_for(session: Session, postal_code: str, city: str, area_code: str, block_size: str, now: datetime) -> Hints:
    """Return the facts, valid at `now`, about a postal code, city, area code and block size.

    Each of these is what the user typed, and may be empty, incomplete or wrong.
    """
    place, code, postal = city.strip()[:120], typed_area_code(area_code.strip()), postal_code.strip()
    postal = postal if POSTAL_CODE.fullmatch(postal) else ""
    area = session.get(AreaCode, code) if AREA_CODE.fullmatch(code) else None
    size = int(block_size) if block_size in map(str, BLOCK_SIZES) else 0
    towns = places_of(session).towns_of(postal)
    place = spelled_town(towns, place)
    wrong = wrong_address(session, postal, place)
    right = bool(postal and place and not wrong)
    return Hints(
        postal_code=postal,
        city=place,
        towns=towns,
        area=area,
        typed=code,
        block_size=size,
        suggestions=area_codes_for(session, postal, place) if right else (),
        wrong_address=wrong,
        certainty=certainty_of(session, postal, place, area.code) if area is not None and right else None,
        free=count_free(session, area.code, size, now, MOST) if area is not None and size else None,
    )


def wrong_address(session: Session, postal_code: str, city: str) -> str:
    """Return an error text if the city cannot have this postal code; the text also names values that would fit.

    Empty if the city can have it, or if postal code or city is missing.
    """
    if not postal_code or not city:
        return ""
    try:
        ensure_postal_code(session, postal_code, city)
    except InvalidField as error:
        return field_error(locale(), error.field, error.code, error.allowed)
    return ""
