"""The columns of a bulk file, their headings, and the text of an error in a cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from flask_babel import gettext as _

from models.errors import CannotClose
from models.states import Kind, Reason
from models.values import Locale
from models.vault import Vault
from tasks.wording.closing_obstacles import obstacle_text
from tasks.wording.fields import RULES, field_error
from tasks.wording.reasons import reason_text
from web.portal.page.locale import locale

Cells = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a bulk file, a table with one request per row.

    `key` names the column in the code, and is a valid heading. `de` and `en` are the German and English headings.
    `path` is the path of the matching field in the API's request body, such as `location.city`. `example` is the cell
    in the example row of the template. If `optional`, a cell may be empty and the column may be missing.
    """

    key: str
    de: str
    en: str
    path: str
    example: str
    optional: bool = False

    def title(self, locale: Locale) -> str:
        """Return the heading of the column in the language `locale`."""
        return self.en if locale == "en" else self.de


_USER = "Hanna Palmer <hanna.palmer@example.com>"
_NUMBER = Column("customer_number", "Kundennummer", "Customer number", "customer_number", "1234567")
_SIP_USER = Column("sip_user", "SIP-Benutzer", "SIP user", "sip_user", "", optional=True)
_DAY = Column("effective_on", "Ab dem Tag", "From the day", "effective_on", "31.01.2027", optional=True)

COLUMNS: Mapping[Kind, Sequence[Column]] = {
    Kind.ORDER: (
        Column("name", "Name des Standorts", "Location name", "location.name", "Filiale Berlin"),
        Column("street", "Straße und Hausnummer", "Street and house number", "location.street", "Brückenstr. 5"),
        Column("postal_code", "Postleitzahl", "Postal code", "location.postal_code", "10179"),
        Column("city", "Ort", "City", "location.city", "Berlin"),
        Column("contact_name", "Ansprechperson", "Contact", "contact.name", "Hanna Palmer"),
        Column("email", "E-Mail", "E-mail", "contact.email", "hanna.palmer@example.com"),
        Column("phone", "Telefon", "Phone", "contact.phone", "030 901820", optional=True),
        Column("product", "Produkt", "Product", "product", "trunk-10"),
        Column("channels", "Kanäle", "Channels", "channels", "4", optional=True),
        Column("area_code", "Vorwahl", "Area code", "numbers.area_code", "030"),
        Column("block_size", "Anzahl Rufnummern", "Phone numbers", "numbers.block_size", "10"),
        Column("options", "Optionen", "Options", "options", "mobile-backup", optional=True),
        Column(
            "mobile_number",
            "Mobilnummer der Notfall-Umleitung",
            "Mobile fallback number",
            "mobile_number",
            "0151 23456789",
            optional=True,
        ),
        Column("directory_name", "Name im Telefonbuch", "Directory name", "directory_entry.name", "", optional=True),
        Column(
            "directory_address",
            "Adresse im Telefonbuch",
            "Directory address",
            "directory_entry.show_address",
            "",
            optional=True,
        ),
        Column(
            "directory_in",
            "Telefonbuch: gedruckt, online, Auskunft",
            "Directory: print, online, enquiries",
            "directory_entry.published_in",
            "",
            optional=True,
        ),
        Column("local_user", "Benutzer am Standort", "User at the location", "local_user", _USER, optional=True),
        Column("request_uri", "Anrufzustellung", "Request line of calls", "request_uri", "", optional=True),
    ),
    Kind.LINK: (
        _NUMBER,
        Column("code", "Verknüpfungscode", "Link code", "proof.code", "ABCDE FGHJK", optional=True),
    ),
    Kind.CHANGE: (
        _NUMBER,
        _SIP_USER,
        Column("product", "Produkt", "Product", "product", "trunk-50"),
        Column("channels", "Kanäle", "Channels", "channels", "30", optional=True),
        _DAY,
    ),
    Kind.NUMBERS: (
        _NUMBER,
        _SIP_USER,
        Column("area_code", "Vorwahl", "Area code", "numbers.area_code", "030"),
        Column("block_size", "Anzahl Rufnummern", "Phone numbers", "numbers.block_size", "10"),
        _DAY,
    ),
    Kind.MOVE: (
        _NUMBER,
        Column("street", "Neue Straße und Hausnummer", "New street and house number", "location.street", "Gasse 5"),
        Column("postal_code", "Neue Postleitzahl", "New postal code", "location.postal_code", "10179"),
        Column("city", "Neuer Ort", "New city", "location.city", "Berlin"),
        Column("area_code", "Vorwahl", "Area code", "numbers.area_code", "030", optional=True),
        _DAY,
    ),
    Kind.CANCEL: (
        _NUMBER,
        Column("last_day", "Letzter Tag", "Last day", "last_day", "31.01.2027", optional=True),
    ),
    Kind.DETACH: (_NUMBER, _DAY),
}


BROKEN_RULE = "broken_rule"
"""The code of an error in a cell whose allowed value is a `Reason`: the business rule that the row breaks."""
OBSTACLE = "obstacle"
"""The code of an error in a cell whose allowed value is a list: the code and facts of a `CannotClose`."""


def column_of(kind: Kind, heading: str) -> str | None:
    """Return the key of the column with this heading in a file of this kind; None if there is none.

    The heading may be German, English or the key itself. Case, spaces and punctuation do not matter.
    """
    return _headings(kind).get(_normalized(heading))


@cache
def _headings(kind: Kind) -> Mapping[str, str]:
    return {_normalized(name): column.key for column in COLUMNS[kind] for name in (column.key, column.de, column.en)}


def decrypted_cells(vault: Vault, cells: Cells) -> dict[str, str]:
    """Return the cells of a saved row by column key, with the link code (the only encrypted cell) decrypted."""
    code = cells.get("code")
    return {**cells, "code": vault.open(bytes.fromhex(code))} if code else dict(cells)


_PATHS = {column.key: column.path for columns in COLUMNS.values() for column in columns}


def cell_error_text(column: str, error: Sequence[Any]) -> str:
    """Return a sentence in the page's language that says what is wrong in a cell, and which values would be valid.

    `column` is the column's key; `error` is `[code, allowed]`: the broken rule, and the valid values or None.
    """
    code, allowed = error
    if code == BROKEN_RULE:
        return reason_text(Reason(allowed), locale())
    if code == OBSTACLE:
        return obstacle_text(CannotClose(*allowed), locale())
    if column in ("effective_on", "last_day") and isinstance(allowed, str):
        allowed = date.fromisoformat(allowed)
    if column == "channels" and code not in RULES:
        # The API wants a number here; a file may leave it out.
        return str(_("A whole number, please, or nothing for all channels."))
    return field_error(locale(), _PATHS[column], code, allowed)


def _normalized(heading: str) -> str:
    return re.sub(r"[\W_]", "", heading).casefold()
