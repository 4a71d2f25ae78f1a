"""Facts about German places: postal codes with their towns, and where the Ortsnetze (local exchange areas) are.

Postal codes with their towns come from the package `countrystatecity-postal-codes`, the Ortsnetze from the table of
area codes. Use `places_of` to get the facts: each process reads them once, when they are first needed. All distances
are in kilometres, as the crow flies.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from math import floor
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.db.session import Database
from models.place_names import place_words, same_place_words
from models.spelling import fold, spell
from models.telephony.area_codes import AreaCode
from models.telephony.points import STRAY, Point, km, middle_of, nearest_point, read_points

Words = tuple[str, ...]
"""The words of a place's name in one spelling, as `place_words` returns them: ('frankfurt', 'main')."""

NEAR = 20
"""The distance in kilometres from a town up to which a postal code may be the town's although no list says so.

It may be the postal code of a district.
"""
SAME_NAME = 40
"""The distance in kilometres from an address up to which an Ortsnetz with the town's name counts as the town's own."""
_REACH: Mapping[int, int] = {3: 30, 4: 22, 5: 18, 6: 15}
"""The radius of an Ortsnetz (local exchange area) in kilometres, by the number of digits of its area code."""
_ROUGHLY = 30
_NEIGHBOURS = 3
_REGION = 120
_GERMANY = "data/by-country/DE/postcodes.json"
_CELL = 0.5
_TITLES = {"lutherstadt", "hansestadt", "ostseebad", "seebad", "nordseebad", "reuterstadt", "barlachstadt"}


@dataclass(frozen=True, slots=True)
class Network:
    """An Ortsnetz (local exchange area) with its approximate centre and radius.

    `code` is its area code, `name` its name, and `words` the words of the name that identify a place. Addresses up to
    `reach` kilometres from the centre `at` (latitude and longitude) may lie in the Ortsnetz. If `rough`, the centre is
    only guessed from neighbouring Ortsnetze, and 30 km are added.
    """

    code: str
    name: str
    words: Words
    at: Point
    reach: float
    rough: bool

    def distance(self, point: Point) -> float | None:
        """Return how far `point` is from the centre of the Ortsnetz, as a share of the radius; None if it is outside.

        An Ortsnetz is a local exchange area. The radius is `reach` kilometres, or 30 more if the centre is `rough`. The
        result is from 0 to 1, and from 1 to 2 for a rough centre, so that sorting puts such an Ortsnetz last.
        """
        part = km(self.at, point) / (self.reach + _ROUGHLY if self.rough else self.reach)
        return None if part > 1 else part + self.rough

    def is_of(self, words: Words) -> bool:
        """Return whether the Ortsnetz (local exchange area) is named after the town with the name `words`.

        False if it is named after a district of the town, such as 'Köln-Porz' for Köln.
        """
        district = "-" in self.name and len(self.words) > len(words)
        return not district and same_place_words(words, self.words)


@dataclass(frozen=True, slots=True)
class NetworkNearby:
    """An Ortsnetz (local exchange area) in which an address may lie.

    `own`: it is named after the address's town, and its centre is at most 40 km from that of the postal code. Otherwise
    it is listed only because it is near.
    """

    code: str
    name: str
    own: bool


class Places:
    """The facts about German places, indexed for look-ups: postal codes, towns and Ortsnetze (local exchange areas).

    `networks` are all Ortsnetze, as pairs of area code and name.
    """

    def __init__(self, networks: Iterable[tuple[str, str]]) -> None:
        self._towns: dict[str, tuple[str, ...]] = {}
        self._named: dict[str, list[tuple[Words, str]]] = defaultdict(list)
        self._read_towns()
        self._points = read_points(self._towns)
        self._networks_named: dict[str, list[Network]] = defaultdict(list)
        self._cells: dict[tuple[int, int], list[Network]] = defaultdict(list)
        self._networks = {network.code: network for network in self._located(networks)}
        for network in self._networks.values():
            self._cells[_cell(network.at)].append(network)
            self._networks_named[_first(network.words)].append(network)

    def _read_towns(self) -> None:
        # Not by the package's own function, which keeps what it has read.
        rows = json.loads(files("countrystatecity_postal_codes").joinpath(_GERMANY).read_bytes())
        towns: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row["localityName"] and row["localityName"] not in towns[row["code"]]:
                towns[row["code"]].append(row["localityName"])
        split: dict[str, list[Words]] = {}
        for code, names in towns.items():
            self._towns[code] = tuple(names)
            for name in names:
                if name not in split:
                    words = town_words(name)
                    # Of two towns that were merged, as Bodman-Ludwigshafen, people name either.
                    split[name] = [words, words[1:]] if "-" in name and len(words) > 1 else [words]
                for words in split[name]:
                    self._named[_first(words)].append((words, code))

    def exists(self, postal_code: str) -> bool:
        """Return whether the text is an existing German postal code."""
        return postal_code in self._towns or postal_code in self._points

    def towns_of(self, postal_code: str) -> tuple[str, ...]:
        """Return the towns with this postal code; empty if none is known."""
        return self._towns.get(postal_code, ())

    def spelled(self, postal_code: str, city: str) -> str:
        """Return the town's name in its official spelling, 'Köln' for 'koeln', if the town has this postal code.

        The first words of a longer name count as well: 'Frankfurt' for 'frankfurt'. Any other text is returned
        unchanged.
        """
        return spelled_town(self.towns_of(postal_code), city)

    def codes_of(self, city: str) -> list[str]:
        """Return the postal codes of the town with this name, in ascending order; empty if no town has it."""
        words = town_words(city)
        found = {code for there, code in self._entries(words) if same_place_words(words, there)}
        exact = {code for there, code in self._entries(words) if words == there}
        return sorted(exact or found)

    def distance(self, postal_code: str, city: str) -> float | None:
        """Return the distance in kilometres from the postal code to the nearest postal code of a town with this name.

        0 if the postal code is one of the town's, None if no town with that name is known.
        """
        words = town_words(city)
        at = self._points.get(postal_code)
        nearest: float | None = None
        for there, code in self._entries(words):
            if not same_place_words(words, there):
                continue
            if code == postal_code:
                return 0
            other = self._points.get(code)
            if at is not None and other is not None:
                far = km(at, other)
                nearest = far if nearest is None or far < nearest else nearest
        return nearest

    def position(self, postal_code: str) -> Point | None:
        """Return the approximate latitude and longitude of a postal code, in degrees; None if it does not exist."""
        return self._points.get(postal_code)

    def is_near(self, postal_code: str, area_code: str) -> bool:
        """Return whether the postal code is at most 60 km from the centre of the Ortsnetz (local exchange area).

        False if the postal code or the area code of the Ortsnetz is not known.
        """
        at, network = self._points.get(postal_code), self._networks.get(area_code)
        return at is not None and network is not None and km(at, network.at) <= STRAY

    def is_own(self, postal_code: str, city: str, area_code: str) -> bool:
        """Return whether the Ortsnetz is named after the town, with a centre at most 40 km from the postal code.

        An Ortsnetz is the local exchange area of an area code.
        """
        at = self._points.get(postal_code)
        return at is not None and any(network.code == area_code for _far, network in self._own(at, town_words(city)))

    def networks_near(self, postal_code: str, city: str) -> list[NetworkNearby]:
        """Return the Ortsnetze (local exchange areas) in which an address may lie, those named after its town first.

        Both groups are sorted by distance. Empty if the postal code does not exist.
        """
        at, words = self._points.get(postal_code), town_words(city)
        if at is None:
            return []
        own = self._own(at, words)
        names = {network.code for _far, network in own}
        row, column = _cell(at)
        around = [
            (part, network)
            for x in (row - 1, row, row + 1)
            for y in range(column - 2, column + 3)
            for network in self._cells.get((x, y), ())
            if network.code not in names and (part := network.distance(at)) is not None
        ]
        return [
            *(NetworkNearby(network.code, network.name, True) for _far, network in sorted(own, key=_by_distance)),
            *(NetworkNearby(network.code, network.name, False) for _part, network in sorted(around, key=_by_distance)),
        ]

    def _own(self, at: Point, words: Words) -> list[tuple[float, Network]]:
        """Return the Ortsnetze (local exchange areas) named after the town with the name `words`, within 40 km of `at`.

        They are returned as pairs of the distance in kilometres and the Ortsnetz.
        """
        alike = [network for network in self._networks_named.get(_first(words), ()) if network.is_of(words)]
        return [(far, network) for network in alike if (far := km(at, network.at)) <= SAME_NAME]

    def _entries(self, words: Words) -> Sequence[tuple[Words, str]]:
        return self._named.get(_first(words), ())

    def _located(self, networks: Iterable[tuple[str, str]]) -> list[Network]:
        """Return the Ortsnetze (local exchange areas), given as pairs of area code and name, each with its centre.

        The centre is that of the town with the Ortsnetz's name. If several towns have the name, the one nearest to the
        neighbours is taken. Neighbours are the Ortsnetze whose area codes begin with the same digits, since area codes
        are assigned by region. If no town has the name, the centre is the nearest town named by one of its words, or
        else the middle of the neighbours. An Ortsnetz without neighbours is left out.
        """
        names = dict(networks)
        split = {code: town_words(name) for code, name in names.items()}
        found = {code: self._points_named(words) for code, words in split.items()}
        # A short area code is that of a city.
        certain = {code: points[0] for code, points in found.items() if points and (len(points) == 1 or len(code) < 5)}
        alike = _by_beginning(certain)
        regions = {beginning: middle_of([point for _code, point in points]) for beginning, points in alike.items()}
        # Another town of the name, far from all whose codes begin alike.
        certain = {code: at for code, at in certain.items() if km(at, regions[code[: min(3, len(code) - 1)]]) < _REGION}
        alike = _by_beginning(certain)
        located = []
        for code, name in names.items():
            middle = _middle_of_neighbours(code, alike)
            if middle is None:
                continue
            at = certain.get(code) or nearest_point(found[code], middle)
            if at is None or (len(code) > 4 and km(at, middle) > STRAY):
                at = self._nearest_alike(split[code], middle)
            located.append(Network(code, name, split[code], at or middle, _REACH[len(code)], at is None))
        return located

    def _nearest_alike(self, words: Words, middle: Point) -> Point | None:
        """Return the point of a town that a single one of `words` names; None if none is within 90 km of `middle`.

        Longer words are tried first; of several towns with the name, the nearest to `middle` is taken. This finds a
        centre for an Ortsnetz (local exchange area) whose whole name no town has: 'Burg auf Fehmarn' is where Fehmarn
        is.
        """
        for word in sorted(words, key=len, reverse=True):
            at = nearest_point(self._points_named((word,)), middle)
            if at is not None and km(at, middle) <= STRAY + _ROUGHLY:
                return at
        return None

    def _points_named(self, words: Words) -> list[Point]:
        """Return the points of the towns with this name, the town with the most postal codes first.

        Postal codes within 40 km of each other count as one town, whose point is their middle.
        """
        found = [entry for entry in self._entries(words) if entry[1] in self._points]
        exact = [entry for entry in found if entry[0] == words]
        towns: list[list[Point]] = []
        for _there, code in exact or [entry for entry in found if same_place_words(words, entry[0])]:
            point = self._points[code]
            near = next((town for town in towns if km(town[0], point) <= SAME_NAME), None)
            if near is None:
                towns.append([point])
            else:
                near.append(point)
        return [middle_of(town) for town in sorted(towns, key=len, reverse=True)]


_READ_LIMIT = 5.0
_known: list[Places] = []
_reading = Lock()


def places_of(session: Session) -> Places:
    """Return the facts about German places. The first call in a process reads them, in some tenths of a second.

    A process that forks others should call this before it forks, so that its children share the memory.
    """
    # Threads that each read them would take seconds together.
    with _reading:
        if not _known:
            networks = session.execute(sa.select(AreaCode.code, AreaCode.name)).all()
            places = Places((code, name) for code, name in networks)
            if not networks:
                # A database that is not filled yet.
                return places
            _known.append(places)
        return _known[0]


def read_places_once(database_url: str) -> SQLAlchemyError | None:
    """Read the facts about German places before a program forks. Return the database's error, or None if it answered.

    Waits a few seconds at most, and closes the connection again. After an error, each process reads the facts itself
    when it first needs them.
    """
    with closing(Database(database_url, pool_size=1, statement_limit=_READ_LIMIT)) as database:
        try:
            with database.transaction() as session:
                places_of(session)
        except SQLAlchemyError as error:
            return error
    return None


def spelled_town(towns: Iterable[str], city: str) -> str:
    """Return `city` in the spelling of the first of `towns` that has this name or whose name begins with these words.

    Case does not matter, and umlauts may be written as two letters. If no town fits, `city` is returned unchanged.
    """
    typed = " ".join(city.split())
    for town in towns:
        if spell(town) == spell(typed):
            return town
        if spell(town).startswith(spell(typed) + " ") and fold(town).startswith(fold(typed) + " "):
            return town[: len(typed)]
    return city


def town_words(name: str) -> Words:
    """Return the words that identify a town, without a title: ('wittenberg',) for 'Lutherstadt Wittenberg'."""
    words = place_words(name)
    return words[1:] if len(words) > 1 and words[0] in _TITLES else words


def _first(words: Words) -> str:
    return words[0].removesuffix(".") if words else ""


def _by_beginning(places: Mapping[str, Point]) -> Mapping[str, list[tuple[str, Point]]]:
    """Return a dict of the first digits of area codes (two or more) to the Ortsnetze whose area codes begin with them.

    An Ortsnetz is a local exchange area, here a pair of area code and centre. `places` maps area codes to centres.
    """
    alike: dict[str, list[tuple[str, Point]]] = defaultdict(list)
    for code, point in places.items():
        for end in range(2, len(code)):
            alike[code[:end]].append((code, point))
    return alike


def _middle_of_neighbours(code: str, alike: Mapping[str, Sequence[tuple[str, Point]]]) -> Point | None:
    """Return the middle of the centres of neighbouring Ortsnetze (local exchange areas); None if there are none.

    Neighbours are the Ortsnetze whose area codes share the longest beginning with `code`, at least three of them if
    possible. `alike` maps beginnings of area codes to pairs of area code and centre.
    """
    points: list[Point] = []
    for end in range(len(code) - 1, 1, -1):
        points = [point for other, point in alike.get(code[:end], ()) if other != code] or points
        if len(points) >= _NEIGHBOURS:
            break
    return middle_of(points) if points else None


def _cell(point: Point) -> tuple[int, int]:
    return floor(point[0] / _CELL), floor(point[1] / _CELL)


def _by_distance(found: tuple[float, Network]) -> tuple[float, str]:
    return found[0], found[1].code
