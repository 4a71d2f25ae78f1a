"""The check of an address and its area code together: house number, postal code and town, and the Ortsnetz.

An Ortsnetz is a local exchange area; its area code is allowed only for addresses in it. An impossible combination is
refused with an error that names what would fit. A plausible combination that is not certain is accepted, and the
carrier's staff confirm it once (`models.telephony.place_answers`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.errors import AreaCodeRefused, InvalidField
from models.same_address import has_house_number
from models.telephony.area_codes import AreaCode
from models.telephony.place_answers import answers_for, ask
from models.telephony.place_facts import NEAR, places_of

MOST_EXAMPLES = 5
"""The most fitting postal codes, and the most fitting area codes, that an error names."""


class Certainty(StrEnum):
    """How certain it is that an address exists and lies in an Ortsnetz (local exchange area).

    `certain` is accepted, `plausible` has to be confirmed by the carrier's staff, and `impossible` is refused.
    """

    CERTAIN = "certain"
    PLAUSIBLE = "plausible"
    IMPOSSIBLE = "impossible"


def ensure_address(session: Session, street: str, postal_code: str, city: str) -> None:
    """Raise `InvalidField` unless the street has a house number, and the postal code exists and can be the town's.

    A postal code can be the town's if it belongs to the town or lies within 20 km of it. If no town of that name is
    known, every postal code that exists is accepted.
    """
    ensure_house_number(street)
    ensure_postal_code(session, postal_code, city)


def ensure_house_number(street: str) -> None:
    """Raise `InvalidField` unless the street has a house number, or ends with words like "ohne Hausnummer" or "o. Nr.".

    `models.same_address.has_house_number` decides this.
    """
    if not has_house_number(street):
        raise InvalidField("location.street", "house_number_missing")


def ensure_postal_code(session: Session, postal_code: str, city: str) -> None:
    """Raise `InvalidField` unless the postal code exists and is the town's or lies within `NEAR` (20) km of the town.

    The error names postal codes of the town and, if the postal code exists, its towns. A town whose name is not known,
    such as a village within a town, can have any postal code that exists.
    """
    places = places_of(session)
    if not places.exists(postal_code):
        codes = places.codes_of(city)
        if not codes:
            raise InvalidField("location.postal_code", "unknown_postal_code")
        fitting = {"city": city, **_examples("postal_codes", codes)}
        raise InvalidField("location.postal_code", "unknown_postal_code_of", fitting)
    far = places.distance(postal_code, city)
    if far is not None and far > NEAR:
        towns = places.towns_of(postal_code) or ["?"]
        fitting = {"city": city, **_examples("towns", towns), **_examples("postal_codes", places.codes_of(city))}
        raise InvalidField("location.postal_code", "postal_code_elsewhere", fitting)


def _examples(name: str, all_of_them: Sequence[str]) -> dict[str, object]:
    """Return the examples that an error names, as a dict: `name` maps to the first 5 (`MOST_EXAMPLES`) of all texts.

    The key `more_<name>` maps to how many more there are.
    """
    return {name: list(all_of_them[:MOST_EXAMPLES]), f"more_{name}": max(0, len(all_of_them) - MOST_EXAMPLES)}


def restored_postal_code(session: Session, postal_code: str, city: str) -> str:
    """Return a postal code with the leading zero that a spreadsheet has removed, if the city can have the result.

    '1067' of Dresden becomes '01067'. Every other text is returned unchanged.
    """
    if not re.fullmatch("[1-9][0-9]{3}", postal_code):
        return postal_code
    try:
        ensure_postal_code(session, f"0{postal_code}", city)
    except InvalidField:
        return postal_code
    return f"0{postal_code}"


def ensure_area_code(session: Session, postal_code: str, city: str, area_code: str) -> None:
    """Raise `InvalidField` if the address cannot lie in the Ortsnetz (local exchange area) of the area code.

    The error names the area codes that fit.
    """
    if certainty_of(session, postal_code, city, area_code) is Certainty.IMPOSSIBLE:
        fitting = [area_code_text(area) for area in area_codes_for(session, postal_code, city)]
        raise InvalidField("numbers.area_code", "area_code_mismatch", fitting)


def certainty_of(session: Session, postal_code: str, city: str, area_code: str) -> Certainty:
    """Return how certain it is that the address exists and lies in the Ortsnetz (local exchange area) of the area code.

    It is certain if the postal code is one of the town's and the Ortsnetz is named after the town. Otherwise a stored
    answer of the carrier's staff decides: certain or impossible. Without an answer, it is plausible if the Ortsnetz is
    near enough, and impossible if not.
    """
    places = places_of(session)
    # The usual case, and cheaper to check than all Ortsnetze around.
    if places.is_own(postal_code, city, area_code) and places.distance(postal_code, city) == 0:
        return Certainty.CERTAIN
    answer = answers_for(session, postal_code, city).get(area_code)
    if answer is not None:
        return Certainty.CERTAIN if answer else Certainty.IMPOSSIBLE
    near = any(network.code == area_code for network in places.networks_near(postal_code, city))
    return Certainty.PLAUSIBLE if near else Certainty.IMPOSSIBLE


def area_codes_for(session: Session, postal_code: str, city: str, most: int = MOST_EXAMPLES) -> list[AreaCode]:
    """Return up to `most` Ortsnetze that the address may lie in: the certain ones first, then the nearest.

    An Ortsnetz is a local exchange area.
    """
    near = places_of(session).networks_near(postal_code, city)
    answers = answers_for(session, postal_code, city)
    wanted = [
        *(network.code for network in near if network.own),
        *(code for code, fits in answers.items() if fits),
        *(network.code for network in near if answers.get(network.code) is not False),
    ]
    codes = list(dict.fromkeys(wanted))[:most]
    found = {area.code: area for area in session.scalars(sa.select(AreaCode).where(AreaCode.code.in_(codes)))}
    return [found[code] for code in codes]


def confirm_or_ask(session: Session, postal_code: str, city: str, area_code: str, now: datetime) -> bool:
    """Return whether the address certainly lies in the Ortsnetz (local exchange area) of the area code.

    It does if the facts about places say so, or if staff have answered so. Otherwise returns False and saves a question
    to the staff, once for each town, postal code and area code. Raises `AreaCodeRefused`, with the area codes that fit,
    if staff have answered that the address is outside the Ortsnetz.
    """
    certainty = certainty_of(session, postal_code, city, area_code)
    if certainty is Certainty.CERTAIN:
        return True
    if certainty is Certainty.IMPOSSIBLE and answers_for(session, postal_code, city).get(area_code) is False:
        raise AreaCodeRefused([area_code_text(area) for area in area_codes_for(session, postal_code, city)])
    ask(session, postal_code, city, area_code, now)
    return False


def area_code_text(area: AreaCode) -> str:
    """Return an area code with the name of its Ortsnetz (local exchange area): '089 (München)'."""
    return f"{area.code} ({area.name})"
