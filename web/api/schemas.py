"""The API's bodies. The OpenAPI document is derived from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from flask_openapi3 import FileStorage
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
)

from web.fields import Body, Code, Email, Password


class EmailCode(Body):
    """The code from the mail to the contact."""

    kind: Literal["email_code"]
    code: Code


class LetterCode(Body):
    """The code from the letter to the connection address."""

    kind: Literal["letter_code"]
    code: Code


class Credentials(Body):
    """Credentials of an administrator of the existing account; used on the spot, never stored."""

    kind: Literal["credentials"]
    email: Email
    password: Password


class LinkCode(Body):
    """A code that an administrator of the existing account has created in its dashboard."""

    kind: Literal["link_code"]
    code: Code


class ProofBody(RootModel[Annotated[EmailCode | LetterCode | Credentials | LinkCode, Field(discriminator="kind")]]):
    """A proof for a request that waits for it."""


class ResendBody(Body):
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
