"""The checks of a row of a bulk file, by the same rules as for a single order, link request or change.

The API's schemas check the form of the values, the models check the other rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.bulk.bulk import ON_ACCOUNTS, as_facts
from models.bulk.uploads import CheckedRow
from models.contracts.catalogue import Product, ProductKind, orderable_products
from models.emails import name_and_email
from models.errors import InvalidField
from models.orders.area_code_of_address import (
    ensure_area_code,
    ensure_house_number,
    ensure_postal_code,
    restored_postal_code,
)
from models.orders.options import DETAILS, ensure_details
from models.orders.orders import ensure_area_exists, ensure_channels, restored_area_code
from models.states import AccountState, Kind
from models.telephony.high_risk import ensure_usual_fallback
from models.values import Locale, typed_customer_number
from models.vault import Vault
from tasks.wording.fields import RULES
from web.portal.bulk.account_rows import check_account_rows
from web.portal.bulk.cell_checks import Errors, faults_of, number_or_text, refuse, validate
from web.portal.bulk.columns import Cells
from web.request_bodies import LinkBody, LocalUserBody, OrderBody

_CONTACT = frozenset({"contact", "ansprechperson", "kontakt"})
"""The words in the column `local_user`, in lower case, with which the contact becomes the user at the location."""


@dataclass
class Checker:
    """Checks the rows of an uploaded bulk file: turns each into the draft of a request, or lists its wrong cells.

    `main` is the main account for which the file is, `kind` is that of the rows' requests. `locale` is the language
    saved with an order. `vault` encrypts link codes. A product in a row must be one that can be ordered at `now`.
    """

    session: Session
    vault: Vault
    main: Account
    kind: Kind
    locale: Locale
    now: datetime
    _offered: dict[str, Product] = field(default_factory=dict)

    def check(self, rows: Sequence[tuple[int, Cells]]) -> list[CheckedRow]:
        """Check the rows, each given as line number and cells by column key; return a result for each, in order.

        A result has either all errors found in the row, by column key, or the draft of the request to create. Link
        codes in the results are encrypted. Saves nothing.
        """
        if self.kind is Kind.ORDER:
            self._offered = {product.key: product for product in orderable_products(self.session, self.now)}
            return [self._order(line, cells) for line, cells in rows]
        if self.kind in ON_ACCOUNTS:
            return check_account_rows(self.session, self.main, self.kind, self.locale, self.now, rows)
        numbers = {typed_customer_number(cells["customer_number"]) or "" for _line, cells in rows}
        ours = set(
            self.session.scalars(
                sa.select(Account.customer_number).where(
                    Account.main_id == self.main.id,
                    Account.customer_number.in_(numbers),
                    Account.state != AccountState.CLOSED,
                )
            )
        )
        seen: set[str] = set()
        return [self._link(line, cells, ours, seen) for line, cells in rows]

    def _order(self, line: int, cells: Cells) -> CheckedRow:
        cells = {
            **cells,
            "postal_code": restored_postal_code(self.session, cells["postal_code"], cells["city"]),
            "area_code": restored_area_code(self.session, cells["area_code"]),
        }
        errors = faults_of(cells)
        trunk = self._find_product(cells["product"], ProductKind.TRUNK, "product", errors)
        options = [
            found.key
            for name in re.split(r"[,;|]", cells["options"])
            if name.strip() and (found := self._find_product(name, ProductKind.OPTION, "options", errors)) is not None
        ]
        channels = cells["channels"] or (str(trunk.channels) if trunk is not None else "1")
        body = {
            "product": trunk.key if trunk is not None else "",
            "channels": number_or_text(channels),
            "location": {name: cells[name] for name in ("name", "street", "postal_code", "city")},
            "contact": {"name": cells["contact_name"], "email": cells["email"], "phone": cells["phone"] or None},
            "numbers": {
                "area_code": cells["area_code"],
                "block_size": number_or_text(cells["block_size"]),
            },
            "options": list(dict.fromkeys(options)),
            "mobile_number": cells.get("mobile_number") or None,
            "directory_entry": _directory_entry(cells),
            "local_user": _local_user(cells, errors),
            "request_uri": _request_uri(cells),
        }
        checked = validate(OrderBody, body, cells, self.kind, errors)
        self._rules(cells, trunk, channels, errors)
        if "options" not in errors:
            _check_details(body, errors)
        if checked is not None and "mobile_number" not in errors:
            refuse(errors, "mobile_number", ensure_usual_fallback, self.session, checked.mobile_number)
        if errors or checked is None:
            return CheckedRow(line, cells, errors, None)
        return CheckedRow(line, cells, None, as_facts(checked.as_draft(self.locale)))

    def _rules(self, cells: Cells, trunk: Product | None, channels: str, errors: Errors) -> None:
        if trunk is not None and "channels" not in errors:
            refuse(errors, "channels", ensure_channels, trunk, int(channels))
        if "area_code" not in errors:
            refuse(errors, "area_code", ensure_area_exists, self.session, cells["area_code"])
        if "street" not in errors:
            refuse(errors, "street", ensure_house_number, cells["street"])
        if {"postal_code", "city"}.isdisjoint(errors):
            self._place(cells, errors)

    def _place(self, cells: Cells, errors: Errors) -> None:
        """Check that postal code, city and area code fit together; if they do not, add errors to these cells.

        If the city cannot have the postal code, the error of the postal code names values that fit, if any are known.
        Otherwise the area code is wrong, and its error names the area codes that fit. The other cells' errors only say
        that they do not fit that cell.
        """
        place = cells["postal_code"], cells["city"]
        refuse(errors, "postal_code", ensure_postal_code, self.session, *place)
        if "postal_code" not in errors and "area_code" not in errors:
            refuse(errors, "area_code", ensure_area_code, self.session, *place, cells["area_code"])
            if "area_code" in errors:
                errors["postal_code"] = errors["city"] = ["not_with_area_code", None]
        elif "postal_code" in errors:
            errors["city"] = ["not_with_postal_code", None]

    def _find_product(self, name: str, kind: ProductKind, column: str, errors: Errors) -> Product | None:
        wanted = name.strip().casefold()
        offered = [product for product in self._offered.values() if product.kind is kind]
        for product in offered:
            if wanted in (product.key.casefold(), product.name_de.casefold(), product.name_en.casefold()):
                return product
        wrong = ["not_offered" if wanted else "missing", [product.key for product in offered]]
        errors.setdefault(column, wrong)
        return None

    def _link(self, line: int, cells: Cells, ours: set[str], seen: set[str]) -> CheckedRow:
        errors = faults_of(cells)
        number, code = typed_customer_number(cells["customer_number"]) or cells["customer_number"], cells["code"]
        proof = {"method": "link_code", "code": code} if code else {"method": "consent"}
        validate(LinkBody, {"customer_number": number, "proof": proof}, cells, self.kind, errors)
        if "customer_number" not in errors:
            if number == self.main.customer_number:
                errors["customer_number"] = ["own_account", None]
            elif number in ours:
                errors["customer_number"] = ["already_ours", None]
            elif number in seen:
                errors["customer_number"] = ["twice", None]
            seen.add(number)
        # A link code is a secret, so it is stored encrypted.
        sealed = {**cells, "code": self.vault.seal(code).hex() if code else ""}
        draft = {"customer_number": number, "code": sealed["code"]}
        return CheckedRow(line, sealed, errors or None, None if errors else draft)


_OF_DETAIL: Mapping[str, Sequence[str]] = {
    "mobile_number": ("mobile_number",),
    "directory_entry": ("directory_name", "directory_address", "directory_in"),
}
"""The columns of the file that have the details of an option, by the field of the order for these details."""

_YES_NO = {"ja": True, "yes": True, "nein": False, "no": False}
_PUBLICATIONS = {
    "gedruckt": "print", "print": "print", "online": "online", "auskunft": "enquiries", "enquiries": "enquiries",
}  # fmt: skip


def _directory_entry(cells: Cells) -> dict[str, Any] | None:
    """Return the row's telephone directory entry as in the API's request body; None if all its cells are empty.

    An unknown word is left as it is, so that the API's schema reports it as an error.
    """
    name, address, places = (cells.get(column, "") for column in _OF_DETAIL["directory_entry"])
    if not (name or address or places):
        return None
    typed = [place.strip() for place in re.split(r"[,;|]", places) if place.strip()]
    return {
        "name": name,
        "show_address": _YES_NO.get(address.casefold(), address),
        "published_in": [_PUBLICATIONS.get(place.casefold(), place) for place in dict.fromkeys(typed)],
    }


def _check_details(body: Mapping[str, Any], errors: Errors) -> None:
    """Check that each chosen option has its details, such as a mobile number, and that no details lack their option.

    `body` is the row as the API's request body. The first violation found is added to `errors`, at the columns of the
    details. If the option is missing, it is added at the column of the options, too. Columns that have an error already
    keep that error.
    """
    try:
        ensure_details(body["options"], {field: body[field] for field in DETAILS.values()})
    except InvalidField as error:
        for column in _OF_DETAIL[error.field]:
            errors.setdefault(column, [error.code, error.allowed])
        if error.code == "without_option":
            # Both cells are marked, because either may be wrong.
            errors.setdefault("options", [error.code, error.allowed])


def _local_user(cells: Cells, errors: Errors) -> dict[str, str] | None:
    """Return the row's user at the location, in the form of the API's request body; None if the cell is empty or wrong.

    The cell has a name and an e-mail address, or a word that means the contact. An error in it is added to `errors`. If
    the contact is meant and wrong, nothing is added, because the contact's own cells have the errors.
    """
    # Files that were uploaded before this column existed have no such cell.
    cell = cells.get("local_user", "").strip()
    if not cell:
        return None
    is_contact = cell.casefold() in _CONTACT
    name, email = (cells["contact_name"], cells["email"]) if is_contact else name_and_email(cell)
    try:
        return LocalUserBody(name=name, email=email).model_dump()
    except ValidationError as error:
        # What is wrong with the contact is said of the contact's cells.
        if not is_contact:
            found = error.errors()[0]
            code = found["type"] if found["type"] in RULES else "malformed"
            errors.setdefault("local_user", [code, found.get("ctx", {}).get("allowed")])
        return None


_REQUEST_URIS = {
    "kontakt": "contact", "contact": "contact", "anmeldung": "contact", "registration": "contact",
    "rufnummer": "number", "nummer": "number", "number": "number",
}  # fmt: skip


def _request_uri(cells: Cells) -> str | None:
    """Return what the request line of incoming calls is to contain, as in the API's request body.

    None for an empty cell. An unknown word is left as it is, so that the API's schema reports it as an error.
    """
    cell = cells.get("request_uri", "").strip()
    return _REQUEST_URIS.get(cell.casefold(), cell) or None
