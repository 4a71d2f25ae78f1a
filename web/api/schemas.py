"""The API's bodies. The OpenAPI document is derived from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import phonenumbers
from flask_openapi3 import FileStorage
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    RootModel,
    SecretStr,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from models.orders import Contact, Location, OrderDraft
from models.values import AREA_CODE, CUSTOMER_NUMBER, POSTAL_CODE, Locale


def _e164(value: str) -> str:
    try:
        number = phonenumbers.parse(value, "DE")
    except phonenumbers.NumberParseException as error:
        raise ValueError("not_a_phone_number") from error
    if not phonenumbers.is_possible_number(number):
        raise ValueError("not_a_phone_number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _whole(value: object) -> object:
    # To `Literal`, 10.0 is 10.
    if type(value) is not int:
        raise PydanticCustomError("int_type", "not_a_whole_number")
    return value


def _line(most: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=most, pattern=r"^[^\x00-\x1f\x7f]*$")


Line = Annotated[str, _line(120)]
Phone = Annotated[str, AfterValidator(_e164), Field(examples=["+4930901820"])]
CustomerNumber = Annotated[str, StringConstraints(pattern=f"^{CUSTOMER_NUMBER.pattern}$"), Field(examples=["1234567"])]
PostalCode = Annotated[str, StringConstraints(pattern=f"^{POSTAL_CODE.pattern}$"), Field(examples=["10179"])]
AreaCodeText = Annotated[str, StringConstraints(pattern=f"^{AREA_CODE.pattern}$"), Field(examples=["030"])]
Language = Literal["de", "en"]
Code = Annotated[str, StringConstraints(min_length=1, max_length=40), Field(examples=["ABCDE FGHJK"])]

Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^\x00-\x1f\x7f]*$")]
Password = Annotated[SecretStr, Field(max_length=1024)]


class _Body(BaseModel):
    # What a body holds is never repeated in an error: it may be a password.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class LocationBody(_Body):
    """The connection address."""

    name: Line
    street: Line
    postal_code: PostalCode
    city: Line


class ContactBody(_Body):
    """Who is asked and told about the new account."""

    name: Line
    email: EmailStr
    phone: Phone | None = None


class NumbersBody(_Body):
    """Which phone numbers."""

    area_code: AreaCodeText
    block_size: Annotated[Literal[1, 10, 100], BeforeValidator(_whole)]


class OrderBody(_Body):
    """An order of a new sub-account."""

    product: Annotated[str, StringConstraints(max_length=60)] = Field(examples=["trunk-10"])
    channels: Annotated[int, Field(ge=1, le=1000, strict=True)]
    location: LocationBody
    contact: ContactBody
    numbers: NumbersBody
    options: Annotated[list[Annotated[str, StringConstraints(max_length=60)]], Field(max_length=20)] = []
    locale: Language | None = None

    def as_draft(self, locale: Locale) -> OrderDraft:
        """The order as the rules take it, in this language unless it names its own."""
        return OrderDraft(
            product_key=self.product,
            channels=self.channels,
            location=Location(**self.location.model_dump()),
            contact=Contact(**self.contact.model_dump()),
            area_code=self.numbers.area_code,
            block_size=self.numbers.block_size,
            option_keys=tuple(self.options),
            locale=self.locale or locale,
        )


class AdministersBoth(_Body):
    """The person behind the token administers both accounts."""

    method: Literal["administers_both"]


class CredentialsProof(_Body):
    """Credentials of an administrator of the existing account; used on the spot, never stored."""

    method: Literal["credentials"]
    email: Email
    password: Password


class LinkCodeProof(_Body):
    """A code that an administrator of the existing account has created in its dashboard."""

    method: Literal["link_code"]
    code: Code


class ConsentProof(_Body):
    """The administrators of the existing account are asked by e-mail."""

    method: Literal["consent"]


LinkProof = AdministersBoth | CredentialsProof | LinkCodeProof | ConsentProof


class LinkBody(_Body):
    """A request to attach an existing account."""

    customer_number: CustomerNumber
    proof: Annotated[LinkProof, Field(discriminator="method")]
    locale: Language | None = None


class EmailCode(_Body):
    """The code from the mail to the contact."""

    kind: Literal["email_code"]
    code: Code


class LetterCode(_Body):
    """The code from the letter to the connection address."""

    kind: Literal["letter_code"]
    code: Code


class Credentials(_Body):
    """Credentials of an administrator of the existing account; used on the spot, never stored."""

    kind: Literal["credentials"]
    email: Email
    password: Password


class LinkCode(_Body):
    """A code that an administrator of the existing account has created in its dashboard."""

    kind: Literal["link_code"]
    code: Code


class ProofBody(RootModel[Annotated[EmailCode | LetterCode | Credentials | LinkCode, Field(discriminator="kind")]]):
    """A proof for a request that waits for it."""


class ResendBody(_Body):
    """Which code or question is to be sent anew; a new code voids the old."""

    what: Literal["email", "letter", "consent"]


class DocumentForm(BaseModel):
    """A document that proves the connection address: PDF, PNG or JPEG, 10 MB at the most."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    file: FileStorage


class LinkCodeBody(BaseModel):
    """A new link code. It can be read here and never again."""

    code: str = Field(examples=["ABCDE FGHJK"])
    expires_at: datetime


class ProofStateBody(BaseModel):
    """A proof that was asked for. `expired`: the code is not good any more, also because of too many wrong tries."""

    kind: Literal["email", "letter", "document", "consent"]
    state: Literal["open", "proved", "declined", "expired"]
    until: datetime | None


class NextBody(BaseModel):
    """Who has to act, what they have to do, and until when."""

    actor: str
    what: str
    until: datetime | None


class TimelineBody(BaseModel):
    """One thing that happened, in the customer's words."""

    at: datetime
    code: str
    text: str


class RequestBody(BaseModel):
    """A request and where it stands."""

    id: str
    kind: str
    status: str
    step: str
    reason: str | None
    customer_number: str
    next: NextBody | None
    proofs: list[ProofStateBody]
    timeline: list[TimelineBody]
    created_at: datetime
    ended_at: datetime | None


class RequestPage(BaseModel):
    """A page of requests, the newest first. `next_cursor` leads to the next page."""

    items: list[RequestBody]
    next_cursor: str | None


class AccountBody(BaseModel):
    """An account."""

    customer_number: str
    role: str
    state: str
    origin: str | None
    name: str
    street: str
    postal_code: str
    city: str
    contact_name: str
    contact_email: str
    contact_phone: str | None
    attached_at: datetime | None
    request: str | None = Field(description="Id of the running request, if there is one")


class AccountPage(BaseModel):
    """A page of accounts: the main account first, then its sub-accounts, ordered ones included."""

    items: list[AccountBody]
    next_cursor: str | None


class ProductBody(BaseModel):
    """A line of the price list; net euro cents."""

    key: str
    kind: str
    name: str
    channels: int | None
    block_size: int | None
    monthly_cents: int
    one_off_cents: int


class ProductList(BaseModel):
    """The price list."""

    items: list[ProductBody]


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    code: str
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). `again_at`: from when on it is possible."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldProblem] = []
    again_at: datetime | None = None


class RequestPath(BaseModel):
    """A request's id."""

    id: str


class AccountPath(BaseModel):
    """An account's customer number."""

    customer_number: str


class RequestQuery(BaseModel):
    """Which page of which requests."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    status: (
        Literal["acknowledged", "in_progress", "pending", "held", "completed", "rejected", "cancelled", "failed"] | None
    ) = None


class PageQuery(BaseModel):
    """Which page."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
