"""The forms for the steps of an order, which check the typed values by the same rules as the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from flask_babel import gettext, lazy_gettext
from pydantic import TypeAdapter, ValidationError
from werkzeug.datastructures import MultiDict
from wtforms import Field, Form, RadioField, SelectMultipleField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, StopValidation
from wtforms.validators import ValidationError as Wrong

from models.contracts.catalogue import DIRECTORY_ENTRY, MOBILE_BACKUP, Product, ProductKind
from models.orders.drafts import DraftStep
from models.orders.orders import Contact, LocalUser, Location, OrderDraft
from models.same_address import has_house_number
from models.telephony.area_codes import AreaCode
from models.telephony.directory import DirectoryData, Publication
from models.telephony.trunks import RequestUri
from models.values import Locale
from tasks.wording.fields import RULES, field_error
from web.fields import AreaCodeText, EmailAddress, Line, Mobile, Phone, PostalCode
from web.portal.orders.number_hints import Hints
from web.portal.page.directory_form import ADDRESS, PUBLICATIONS, YES_NO
from web.portal.page.form_errors import missing
from web.portal.page.locale import locale
from web.portal.page.request_uri_choices import CHOICES
from web.portal.page.typed_fields import strip

_line: TypeAdapter[str] = TypeAdapter(Line)
_postal_code: TypeAdapter[str] = TypeAdapter(PostalCode)
_area_code: TypeAdapter[str] = TypeAdapter(AreaCodeText)
_email: TypeAdapter[str] = TypeAdapter(EmailAddress)
_phone: TypeAdapter[str] = TypeAdapter(Phone)
_mobile: TypeAdapter[str] = TypeAdapter(Mobile)


class _Rule:
    """A WTForms validator that checks a form field by a rule of the API.

    `rule` is the pydantic type of the matching field in the API's request body. `path` is the path of that field, such
    as `location.city`; the portal's error texts are found by it. If `optional`, an empty form field is valid.
    """

    def __init__(self, rule: TypeAdapter[str], path: str, *, optional: bool = False) -> None:
        self._rule = rule
        self._path = path
        self._optional = optional

    def __call__(self, _: Form, field: Field) -> None:
        if not field.data and self._optional:
            raise StopValidation
        try:
            self._rule.validate_python(field.data)
        except ValidationError as error:
            found = error.errors()[0]
            code = found["type"] if found["type"] in RULES else "malformed"
            raise StopValidation(
                field_error(locale(), self._path, code, found.get("ctx", {}).get("allowed"))
            ) from error


def _text(label: object, path: str, rule: TypeAdapter[str]) -> StringField:
    return StringField(label, filters=[strip], validators=[DataRequired(missing(path)), _Rule(rule, path)])


def _of_somebody_else(label: object, path: str, rule: TypeAdapter[str]) -> StringField:
    checks = [_IfSomebodyElse(), DataRequired(missing(path)), _Rule(rule, path)]
    return StringField(label, filters=[strip], validators=checks)


class StepForm(Form):  # type: ignore[misc]
    """Base of the forms for the single steps of an order.

    `offered` has the products that can be ordered, by product key. `area` is the Ortsnetz (local exchange area) of the
    typed area code, None if there is none. `hints` are facts about the typed address and area code; None in forms that
    only read typed values.
    """

    offered: Mapping[str, Product] = {}
    area: AreaCode | None = None
    hints: Hints | None = None

    def typed(self) -> dict[str, Any]:
        """Return the typed values by field name, valid or not, as a draft saves them; "" for a missing value."""
        return {field.name: field.data if field.data is not None else "" for field in self}


class ProductForm(StepForm):
    """The form for the trunk, the number of its channels (simultaneous calls), and the options with their details."""

    product = RadioField(lazy_gettext("Product"), choices=[], validate_choice=False)
    channels = StringField(lazy_gettext("Simultaneous calls"), filters=[strip])
    options = SelectMultipleField(lazy_gettext("Options"), choices=[], validate_choice=False)
    mobile_number = StringField(lazy_gettext("Mobile number for the fallback"), filters=[strip])
    directory_name = StringField(lazy_gettext("Name in the directory"), filters=[strip])
    directory_address = RadioField(lazy_gettext("Address in the directory"), choices=ADDRESS, validate_choice=False)
    directory_in = SelectMultipleField(
        lazy_gettext("Where it is published"), choices=PUBLICATIONS, validate_choice=False
    )

    @property
    def trunk(self) -> Product | None:
        """Return the chosen SIP trunk product; None if none is chosen, or it cannot be ordered."""
        return _of_kind(self.offered, self.product.data, ProductKind.TRUNK)

    @property
    def chosen_channels(self) -> int | None:
        """Return how many channels are ordered; None if no trunk is chosen or the typed number is wrong.

        An empty field means as many channels as the trunk can have. Call this after the validation.
        """
        trunk = self.trunk
        if trunk is None or self.channels.errors:
            return None
        return int(self.channels.data) if self.channels.data else trunk.channels

    def validate_product(self, _: Field) -> None:
        """Raise WTForms' `ValidationError` if no trunk is chosen or the chosen one cannot be ordered."""
        if self.trunk is None:
            raise Wrong(field_error(locale(), "product", "missing"))

    def validate_channels(self, field: Field) -> None:
        """Raise WTForms' `ValidationError` if the number of channels is not between 1 and the chosen trunk's most.

        An empty field means as many channels as the trunk can have. Nothing is checked while no trunk is chosen.
        """
        trunk = self.trunk
        if not field.data or trunk is None or trunk.channels is None:
            return
        typed = field.data.lstrip("0") if field.data.isascii() and field.data.isdecimal() else ""
        if not 1 <= len(typed) <= 9 or int(typed) > trunk.channels:
            raise Wrong(field_error(locale(), "channels", "channels_out_of_range", trunk.channels))

    def validate_options(self, field: Field) -> None:
        """Raise WTForms' `ValidationError` if a chosen option cannot be ordered or is chosen twice."""
        known = [_of_kind(self.offered, key, ProductKind.OPTION) for key in field.data or []]
        if None in known or len(set(field.data or [])) != len(known):
            raise Wrong(gettext("One of these options cannot be ordered any more. Please choose again."))

    def validate_mobile_number(self, field: Field) -> None:
        """Raise WTForms' errors if the mobile fallback is chosen and its number is missing or no mobile number."""
        if MOBILE_BACKUP in (self.options.data or []):
            DataRequired(missing("mobile_number"))(self, field)
            _Rule(_mobile, "mobile_number")(self, field)

    @property
    def fallback(self) -> str | None:
        """Return the number of the mobile fallback in E.164; None if that option is not chosen or its number is wrong.

        The option forwards calls to this number while no phone system is registered. Call it on a validated form.
        """
        if MOBILE_BACKUP not in (self.options.data or []) or self.mobile_number.errors:
            return None
        return _mobile.validate_python(self.mobile_number.data)

    def validate_directory_name(self, field: Field) -> None:
        """Raise WTForms' errors if a directory entry is chosen and its name is missing or cannot be a name.

        A name must be one line of at most 120 printable characters, no error value of a spreadsheet, and contain no web
        or e-mail address.
        """
        if self._has_entry:
            DataRequired(missing("directory_entry.name"))(self, field)
            _Rule(_line, "directory_entry.name")(self, field)

    def validate_directory_address(self, field: Field) -> None:
        """Raise WTForms' `ValidationError` if a directory entry is chosen, but not whether it shows the address."""
        if self._has_entry and field.data not in YES_NO:
            raise Wrong(field_error(locale(), "directory_entry.show_address", "missing"))

    def validate_directory_in(self, field: Field) -> None:
        """Raise WTForms' `ValidationError` if a directory entry is chosen, but no directory or an unknown one."""
        if self._has_entry and (not field.data or set(field.data) - set(Publication)):
            raise Wrong(field_error(locale(), "directory_entry.published_in", "missing"))

    @property
    def _has_entry(self) -> bool:
        return DIRECTORY_ENTRY in (self.options.data or [])


class LocationForm(StepForm):
    """The form for the connection address of the new location.

    The user may keep a city that is not known with the typed postal code. `city_kept` is then that postal code and city
    as one text, and the form does not ask about these two again.
    """

    name = _text(lazy_gettext("Name of the location"), "location.name", _line)
    street = _text(lazy_gettext("Street and house number"), "location.street", _line)
    postal_code = _text(lazy_gettext("Postal code"), "location.postal_code", _postal_code)
    city = _text(lazy_gettext("City"), "location.city", _line)
    city_kept = StringField(filters=[strip])

    @property
    def place(self) -> str:
        """Return the typed postal code and city as one text, to compare with `city_kept`."""
        return f"{strip(self.postal_code.data)} {strip(self.city.data)}"

    @property
    def asks_for_city(self) -> bool:
        """Return whether to ask the user about the city.

        True if the city is unknown with the typed postal code, and the user has not decided to keep it.
        """
        return self.hints is not None and self.hints.unknown_town and self.city_kept.data != self.place

    def validate_city(self, _: Field) -> None:
        """Raise WTForms' `ValidationError` if the city may be misspelt and the user has not decided to keep it."""
        if self.hints is not None and self.asks_for_city:
            facts = {"code": self.hints.postal_code, "city": self.hints.city, "towns": ", ".join(self.hints.towns)}
            raise Wrong(
                gettext(
                    "We do not know %(city)s with postal code %(code)s, which belongs to %(towns)s. Is that a typing"
                    " error?",
                    **facts,
                )
            )

    def validate_street(self, field: Field) -> None:
        """Raise WTForms' `ValidationError` if the street has no house number and does not say that there is none."""
        if not has_house_number(field.data):
            raise Wrong(field_error(locale(), "location.street", "house_number_missing"))

    def validate_postal_code(self, _: Field) -> None:
        """Raise WTForms' `ValidationError` if the postal code does not exist, or is over 20 km from the typed city.

        Raises nothing while no city is typed. A city that is not known by name can have any postal code that exists.
        """
        if self.hints is not None and self.hints.wrong_address:
            raise Wrong(self.hints.wrong_address)


class NumbersForm(StepForm):
    """The form for the area code, the size of the number block, and the request line (Request-URI) of calls."""

    area_code = _text(lazy_gettext("Area code"), "numbers.area_code", _area_code)
    block_size = RadioField(lazy_gettext("How many phone numbers"), choices=[], validate_choice=False)
    request_uri = RadioField(
        lazy_gettext("How calls reach the phone system"),
        choices=[SelectChoice("", lazy_gettext("As usual")), *CHOICES],
        default="",
        validate_choice=False,
    )

    @property
    def block(self) -> Product | None:
        """Return the chosen number block; None if none is chosen, or it cannot be ordered."""
        return _of_kind(self.offered, f"block-{self.block_size.data}", ProductKind.NUMBER_BLOCK)

    def validate_area_code(self, _: Field) -> None:
        """Raise WTForms' `ValidationError` if the typed area code does not exist or cannot belong to the address."""
        if self.area is None:
            raise Wrong(field_error(locale(), "numbers.area_code", "unknown_area_code"))
        if self.hints is not None and self.hints.mismatch:
            raise Wrong(self.hints.for_area)

    def validate_block_size(self, _: Field) -> None:
        """Raise WTForms' `ValidationError` if no number block is chosen or the chosen one cannot be ordered."""
        if self.block is None:
            raise Wrong(field_error(locale(), "numbers.block_size", "missing"))

    def validate_request_uri(self, field: Field) -> None:
        """Raise WTForms' `ValidationError` if the browser sent something else than one of the choices."""
        if field.data and field.data not in list(RequestUri):
            raise Wrong(field_error(locale(), "request_uri", "malformed"))


class WhoSignsIn(StrEnum):
    """The choices for who is to sign in at the new location: the contact, somebody else, or nobody yet."""

    CONTACT = "contact"
    SOMEBODY_ELSE = "somebody_else"
    NOBODY_YET = "nobody_yet"


class _IfSomebodyElse:
    """A WTForms validator that skips a field's other checks unless somebody other than the contact is to sign in."""

    def __call__(self, form: ContactForm, _: Field) -> None:
        if form.local_user.data != WhoSignsIn.SOMEBODY_ELSE:
            raise StopValidation


class ContactForm(StepForm):
    """The form for the contact of the new account, and for the person who is to sign in there.

    The contact is asked by mail to confirm the e-mail address, and gets the account's mails. Unless the user chooses
    otherwise, the contact is also the person who signs in.
    """

    contact_name = _text(lazy_gettext("Contact's name"), "contact.name", _line)
    email = _text(lazy_gettext("Contact's e-mail address"), "contact.email", _email)
    phone = StringField(
        lazy_gettext("Contact's phone number (optional)"),
        filters=[strip],
        validators=[_Rule(_phone, "contact.phone", optional=True)],
    )
    local_user = RadioField(
        lazy_gettext("Who shall sign in at the location?"),
        choices=[
            SelectChoice(WhoSignsIn.CONTACT, lazy_gettext("The contact person")),
            SelectChoice(WhoSignsIn.SOMEBODY_ELSE, lazy_gettext("Somebody else")),
            SelectChoice(WhoSignsIn.NOBODY_YET, lazy_gettext("Nobody yet")),
        ],
        default=WhoSignsIn.CONTACT,
    )
    local_user_name = _of_somebody_else(lazy_gettext("That person's name"), "local_user.name", _line)
    local_user_email = _of_somebody_else(lazy_gettext("That person's e-mail address"), "local_user.email", _email)


FORMS: Mapping[DraftStep, type[StepForm]] = {
    DraftStep.PRODUCT: ProductForm,
    DraftStep.LOCATION: LocationForm,
    DraftStep.NUMBERS: NumbersForm,
    DraftStep.CONTACT: ContactForm,
}


def form_of(step: DraftStep, data: Mapping[str, Any], offered: Mapping[str, Product], hints: Hints) -> Any:
    """Return the form of the step, filled with `data` and not yet validated.

    `data` has the typed values of all steps by field name, `offered` the products that can be ordered by product key.
    `hints` are facts about the typed address and area code.
    """
    form = FORMS[step](_multi(data))
    form.offered, form.area, form.hints = offered, hints.area, hints
    return form


def typed_in(step: DraftStep, sent: MultiDict[str, str]) -> dict[str, Any]:
    """Return the values that the browser sent (`sent`) for the fields of this step, by field name, valid or not."""
    return FORMS[step](sent).typed()


def area_code_in(data: Mapping[str, Any]) -> str:
    """Return the area code in `data`, the typed values, without surrounding white space; empty if there is none."""
    return str(data.get("area_code") or "").strip()


def without_options(data: Mapping[str, Any], left_out: Sequence[Product]) -> Mapping[str, Any]:
    """Return `data`, the typed values by field name, without the choice of the options `left_out`.

    `data` itself is not changed.
    """
    if not left_out:
        return data
    keys = {product.key for product in left_out}
    return {**data, "options": [key for key in data.get("options") or [] if key not in keys]}


def as_order(data: Mapping[str, Any], offered: Mapping[str, Product], locale: Locale) -> OrderDraft:
    """Return the order draft, in the form that `place_order` takes, from the typed values of all steps.

    `data` has the typed values by field name; call only if the forms of all steps have accepted them. `offered` has the
    products that can be ordered by product key. `locale` is the language saved with the order.
    """
    trunk = offered[data["product"]]
    assert trunk.channels is not None
    phone = strip(data.get("phone"))
    options = tuple(data.get("options") or ())
    return OrderDraft(
        product_key=trunk.key,
        channels=int(strip(data.get("channels")) or trunk.channels),
        location=Location(*(_line.validate_python(data[name]) for name in ("name", "street", "postal_code", "city"))),
        contact=Contact(
            _line.validate_python(data["contact_name"]),
            _email.validate_python(data["email"].strip()),
            _phone.validate_python(phone) if phone else None,
        ),
        area_code=area_code_in(data),
        block_size=int(data["block_size"]),
        option_keys=options,
        locale=locale,
        request_uri=RequestUri(data["request_uri"]) if data.get("request_uri") else None,
        local_user=_local_user(data),
        directory_entry=_entry(data) if DIRECTORY_ENTRY in options else None,
        mobile_number=_mobile.validate_python(data["mobile_number"].strip()) if MOBILE_BACKUP in options else None,
    )


def _entry(data: Mapping[str, Any]) -> DirectoryData:
    return DirectoryData(
        _line.validate_python(data["directory_name"]),
        YES_NO[data["directory_address"]],
        tuple(place for place in Publication if place in data["directory_in"]),
    )


def _local_user(data: Mapping[str, Any]) -> LocalUser | None:
    match data.get("local_user") or WhoSignsIn.CONTACT:
        case WhoSignsIn.NOBODY_YET:
            return None
        case WhoSignsIn.SOMEBODY_ELSE:
            name, email = data["local_user_name"], data["local_user_email"]
        case _:
            name, email = data["contact_name"], data["email"]
    return LocalUser(_line.validate_python(name), _email.validate_python(email.strip()))


def chosen_products(data: Mapping[str, Any], offered: Mapping[str, Product]) -> Sequence[Product]:
    """Return the products that an order's draft has chosen: the trunk, the number block, then each option once.

    `data` has the values typed so far, valid or not, by form field name. Read are `product` (a trunk's product key),
    `block_size` (how many numbers) and `options` (a list of product keys). `offered` has the products that can be
    ordered, by product key; a missing or other choice is left out.
    """
    options = data.get("options") or []
    found = [
        _of_kind(offered, data.get("product"), ProductKind.TRUNK),
        _of_kind(offered, f"block-{data.get('block_size')}", ProductKind.NUMBER_BLOCK),
        *(_of_kind(offered, key, ProductKind.OPTION) for key in dict.fromkeys(options)),
    ]
    return [product for product in found if product is not None]


def _of_kind(offered: Mapping[str, Product], key: str | None, kind: ProductKind) -> Product | None:
    product = offered.get(key or "")
    return product if product is not None and product.kind is kind else None


def _multi(data: Mapping[str, Any]) -> MultiDict[str, str]:
    return MultiDict(
        [(name, item) for name, value in data.items() for item in (value if isinstance(value, list) else [value])]
    )
