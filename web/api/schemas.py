"""The bodies, paths and queries of the API. The OpenAPI document is generated from them."""

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
    """The code from the mail that was sent to the contact."""

    kind: Literal["email_code"]
    code: Code


class LetterCode(Body):
    """The code from the letter that was sent to the connection address."""

    kind: Literal["letter_code"]
    code: Code


class Credentials(Body):
    """The login of an administrator of the existing account. It is checked at once and never stored."""

    kind: Literal["credentials"]
    email: Email
    password: Password


class LinkCode(Body):
    """A code that an administrator of the existing account has created in its dashboard."""

    kind: Literal["link_code"]
    code: Code


class ProofBody(RootModel[Annotated[EmailCode | LetterCode | Credentials | LinkCode, Field(discriminator="kind")]]):
    """A proof that the request waits for."""


class ResendBody(Body):
    """The proof whose code or request for consent is sent again. A new code voids the previous one."""

    what: Literal["email", "letter", "consent"]


class DocumentForm(BaseModel):
    """A document that proves the connection address: PDF, PNG or JPEG, at most 10 MB."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    file: FileStorage


class LinkCodeBody(BaseModel):
    """A new link code. It is shown only in this answer."""

    code: str = Field(examples=["ABCDE FGHJK"])
    expires_at: datetime


class ProofStateBody(BaseModel):
    """A proof that the request needs. `expired` also means that the code was entered wrong too often."""

    kind: Literal["email", "letter", "document", "consent"]
    state: Literal["open", "proved", "declined", "expired"]
    until: datetime | None


class NextBody(BaseModel):
    """The next action: who has to act, what they have to do, and until when."""

    actor: str
    what: str
    until: datetime | None


class TimelineBody(BaseModel):
    """One event of a request, described for the customer."""

    at: datetime
    code: str
    text: str


class RequestBody(BaseModel):
    """A request with its status, the next action, its proofs and its timeline."""

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
    """A page of requests, newest first. `next_cursor` is the cursor of the next page."""

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
    """A page of accounts: the main account first, then its sub-accounts, including those still on order."""

    items: list[AccountBody]
    next_cursor: str | None


class ProductBody(BaseModel):
    """An entry of the price list; prices in euro cents, without VAT."""

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
    """An error in one field of the body or query."""

    field: str
    code: str
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457). `again_at` is the time from which the call can be repeated."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldProblem] = []
    again_at: datetime | None = None


class RequestPath(BaseModel):
    """The id of a request in the URL."""

    id: str


class AccountPath(BaseModel):
    """The customer number of an account in the URL."""

    customer_number: str


class RequestQuery(BaseModel):
    """Paging and filtering of the list of requests."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    status: (
        Literal["acknowledged", "in_progress", "pending", "held", "completed", "rejected", "cancelled", "failed"] | None
    ) = None


class PageQuery(BaseModel):
    """Paging of a list."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
