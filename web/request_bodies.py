"""The JSON bodies of orders, link requests, changes, more numbers, moves and cancellations, as pydantic schemas.

The API and the import of bulk files check their input by these schemas.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from models.changes.changes import ChangeDraft
from models.changes.more_numbers import NumbersDraft
from models.changes.moves import MoveDraft
from models.links.tags import MOST
from models.orders.orders import Contact, LocalUser, Location, OrderDraft
from models.same_address import Place
from models.telephony.country_prefixes import MOST_COUNTRIES
from models.telephony.directory import directory_data
from models.telephony.trunks import RequestUri
from models.values import Locale
from web.fields import (
    AreaCodeText,
    Body,
    CalendarDay,
    Code,
    CustomerNumber,
    Destination,
    Email,
    EmailAddress,
    Language,
    Line,
    Mobile,
    Password,
    Phone,
    PostalCode,
    whole_number,
)


class LocationBody(Body):
    """A location's name and connection address."""

    name: Line
    street: Line
    postal_code: PostalCode
    city: Line


class ContactBody(Body):
    """The contact of the new account, who gets the account's mails and is asked to confirm the e-mail address."""

    name: Line
    email: EmailAddress
    phone: Phone | None = None


class LocalUserBody(Body):
    """The person who is to administer the location: invited by e-mail to sign in once the account is active."""

    name: Line
    email: EmailAddress


class NumbersBody(Body):
    """The phone numbers to order: their area code, and how many numbers the block has."""

    area_code: AreaCodeText
    block_size: Annotated[Literal[1, 10, 100], BeforeValidator(whole_number)]


class DirectoryEntryBody(Body):
    """An entry in the telephone directory, for the first of the ordered numbers.

    `name` is the name as printed, `show_address` whether the address is shown, `published_in` the directories in which
    the entry is published.
    """

    name: Line
    show_address: Annotated[bool, Field(strict=True)]
    published_in: Annotated[list[Literal["print", "online", "enquiries"]], Field(min_length=1, max_length=3)]


_AN_ORDER: JsonDict = {
    "product": "trunk-10",
    "channels": 4,
    "location": {"name": "Filiale Berlin", "street": "Brückenstr. 5", "postal_code": "10179", "city": "Berlin"},
    "contact": {"name": "Hanna Palmer", "email": "hanna.palmer@example.com", "phone": "+4930901820"},
    "numbers": {"area_code": "030", "block_size": 10},
}


class OrderBody(Body):
    """An order of a new sub-account.

    `product` and `options` are keys of the price list, `channels` is the number of simultaneous calls, `locale` the
    language of mails and letters. The option `mobile-backup` needs `mobile_number`, to which calls go while no phone
    system is registered; the option `directory-entry` needs `directory_entry`. Without `local_user` nobody is invited
    to sign in at the location. `request_uri` says what the request line of incoming calls contains: the `contact` that
    the phone has registered, or the dialled `number`; by default `contact` for a single number and `number` for a
    block. `countries` are the destinations that the SIP trunk may call, as ISO codes; Germany is always allowed. By
    default these are the countries of the European Union and the European Economic Area, and the country of
    `mobile_number`; an order can name no others. Later an administrator can allow others on the dashboard.
    """

    model_config = ConfigDict(json_schema_extra={"example": _AN_ORDER})

    product: Annotated[str, StringConstraints(max_length=60)] = Field(examples=["trunk-10"])
    channels: Annotated[int, Field(ge=1, le=1000, strict=True)]
    location: LocationBody
    contact: ContactBody
    numbers: NumbersBody
    options: Annotated[list[Annotated[str, StringConstraints(max_length=60)]], Field(max_length=20)] = Field(default=[])
    mobile_number: Mobile | None = None
    directory_entry: DirectoryEntryBody | None = None
    locale: Language | None = None
    local_user: LocalUserBody | None = None
    request_uri: Literal["contact", "number"] | None = None
    countries: Annotated[list[Destination], Field(min_length=1, max_length=MOST_COUNTRIES)] | None = Field(
        default=None, examples=[["DE", "AT", "FR"]]
    )

    def as_draft(self, locale: Locale) -> OrderDraft:
        """Return the order as a draft for `place_order`. `locale` is the order's language if the body names none."""
        return OrderDraft(
            product_key=self.product,
            channels=self.channels,
            location=Location(**self.location.model_dump()),
            contact=Contact(**self.contact.model_dump()),
            area_code=self.numbers.area_code,
            block_size=self.numbers.block_size,
            option_keys=tuple(self.options),
            locale=self.locale or locale,
            mobile_number=self.mobile_number,
            directory_entry=directory_data(self.directory_entry.model_dump()) if self.directory_entry else None,
            local_user=LocalUser(**self.local_user.model_dump()) if self.local_user is not None else None,
            request_uri=RequestUri(self.request_uri) if self.request_uri is not None else None,
            countries=tuple(self.countries) if self.countries is not None else None,
        )


_A_CHANGE: JsonDict = {
    "customer_number": "1234567",
    "product": "trunk-50",
    "channels": 30,
    "effective_on": "2027-01-01",
}


class ChangeBody(Body):
    """A change of a SIP trunk's contract: the key of its new tariff (`product`) and the new number of channels.

    `sip_user` names the trunk, and may be left out if the account has only one. `effective_on` is the day in Berlin at
    whose start the change takes effect; without it, the change takes effect at once.
    """

    model_config = ConfigDict(json_schema_extra={"example": _A_CHANGE})

    customer_number: CustomerNumber
    product: Annotated[str, StringConstraints(max_length=60)] = Field(examples=["trunk-50"])
    channels: Annotated[int, Field(ge=1, le=1000, strict=True)]
    effective_on: CalendarDay | None = None
    sip_user: Annotated[str, StringConstraints(pattern="^[A-Za-z0-9._-]{1,60}$")] | None = None

    def as_draft(self, locale: Locale) -> ChangeDraft:
        """Return the change as a draft for `submit_change`; `locale` is the language of its mails."""
        return ChangeDraft(self.product, self.channels, self.effective_on, locale)


_NUMBERS: JsonDict = {
    "customer_number": "1234567",
    "numbers": {"area_code": "030", "block_size": 10},
    "effective_on": "2027-01-01",
}


class AddedNumbersBody(Body):
    """A request for more phone numbers of a SIP trunk: `numbers` says the area code and how many.

    `sip_user` names the trunk, and may be left out if the account has only one. `effective_on` is the day in Berlin
    from whose start the trunk has the numbers; without it, the trunk gets them at once.
    """

    model_config = ConfigDict(json_schema_extra={"example": _NUMBERS})

    customer_number: CustomerNumber
    numbers: NumbersBody
    effective_on: CalendarDay | None = None
    sip_user: Annotated[str, StringConstraints(pattern="^[A-Za-z0-9._-]{1,60}$")] | None = None

    def as_draft(self, locale: Locale) -> NumbersDraft:
        """Return the numbers as a draft for `submit_numbers`; `locale` is the language of its mails."""
        return NumbersDraft(self.numbers.area_code, self.numbers.block_size, self.effective_on, locale)


class NewPlaceBody(Body):
    """A new connection address: street with house number, postal code, and city."""

    street: Line
    postal_code: PostalCode
    city: Line


class NewNumbersBody(Body):
    """The area code of the phone numbers that replace those of another Ortsnetz."""

    area_code: AreaCodeText


_A_MOVE: JsonDict = {
    "customer_number": "1234567",
    "location": {"street": "Marienplatz 8", "postal_code": "80331", "city": "München"},
    "numbers": {"area_code": "089"},
    "effective_on": "2027-01-01",
}


class MoveBody(Body):
    """A move of an account to another connection address, `location`.

    `numbers` says the area code of the numbers that replace others; without it, the one that fits the address best.
    `effective_on` is the day in Berlin at whose start the account moves, if the address is proved by then; without it,
    the account moves as soon as the address is proved.
    """

    model_config = ConfigDict(json_schema_extra={"example": _A_MOVE})

    customer_number: CustomerNumber
    location: NewPlaceBody
    numbers: NewNumbersBody | None = None
    effective_on: CalendarDay | None = None

    def as_draft(self, locale: Locale) -> MoveDraft:
        """Return the move as a draft for `submit_move`; `locale` is the language of its mails and letters."""
        area_code = self.numbers.area_code if self.numbers is not None else None
        return MoveDraft(Place(**self.location.model_dump()), area_code, self.effective_on, locale)


class CancellationBody(Body):
    """A cancellation of an account with all its contracts.

    `last_day` is the last day of the contracts, in Berlin; without it, the earliest that their terms allow.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"customer_number": "1234567", "last_day": "2027-01-31"}})

    customer_number: CustomerNumber
    last_day: CalendarDay | None = None


class DetachmentBody(Body):
    """A detachment of a sub-account from its main account, at the start of the day `effective_on`, or at once."""

    customer_number: CustomerNumber
    effective_on: CalendarDay | None = None


class TagsBody(Body):
    """The tags of a sub-account, which replace those that it has; an empty list removes all of them."""

    model_config = ConfigDict(json_schema_extra={"example": {"tags": ["Filiale", "Region Nord"]}})

    tags: Annotated[list[Line], Field(max_length=MOST)]


class AdministersBoth(Body):
    """Proof of ownership by role: the caller administers both the main account and the account to attach."""

    method: Literal["administers_both"]


class CredentialsProof(Body):
    """The login of an administrator of the account to attach. It is checked during the call and never stored."""

    method: Literal["credentials"]
    email: Email
    password: Password


class LinkCodeProof(Body):
    """Proof of ownership by a link code, which an administrator of the account to attach has created."""

    method: Literal["link_code"]
    code: Code


class ConsentProof(Body):
    """Proof of ownership by consent: the administrators of the account to attach are asked for consent by e-mail."""

    method: Literal["consent"]


LinkProof = AdministersBoth | CredentialsProof | LinkCodeProof | ConsentProof


class LinkBody(Body):
    """A request to attach the existing account `customer_number`, with the proof that the requester may do so.

    With `switch` the account may belong to another main account. That main account is then asked for its consent once
    the proof is given; after the consent the account is moved in one step. `locale` is the language of the mails about
    the request, by default the caller's.
    """

    model_config = ConfigDict(
        json_schema_extra={"example": {"customer_number": "2000521", "proof": {"method": "consent"}}}
    )

    customer_number: CustomerNumber
    proof: Annotated[LinkProof, Field(discriminator="method")]
    switch: bool = False
    locale: Language | None = None
