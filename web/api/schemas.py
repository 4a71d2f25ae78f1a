"""The schemas of the API's bodies, paths and queries. The OpenAPI document is generated from them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from flask_openapi3 import FileStorage
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
)

from models.accounts.company_limits import Limit
from web.fields import Body, CalendarDay, Code, Email, EmailAddress, Password


class EmailCode(Body):
    """A code from the mail that was sent to an order's contact; it proves the contact's e-mail address."""

    kind: Literal["email_code"]
    code: Code


class LetterCode(Body):
    """A code from the letter that was sent to the connection address; it proves that address."""

    kind: Literal["letter_code"]
    code: Code


class Credentials(Body):
    """The login of an administrator of the account to attach. It is checked during the call and never stored."""

    kind: Literal["credentials"]
    email: Email
    password: Password


class LinkCode(Body):
    """A link code: an administrator of the account to attach has created it in the portal or by the API."""

    kind: Literal["link_code"]
    code: Code


class ProofBody(RootModel[Annotated[EmailCode | LetterCode | Credentials | LinkCode, Field(discriminator="kind")]]):
    """A proof that the request waits for; `kind` is `email_code`, `letter_code`, `credentials` or `link_code`."""


class ResendBody(Body):
    """What to send again: the e-mail with its code, the letter with its code, or a request for consent.

    `consent` asks the administrators of the account to attach, `main_consent` those of its present main account. A code
    that was sent before becomes void.
    """

    what: Literal["email", "letter", "consent", "main_consent"]


class ContactAddressBody(Body):
    """The corrected e-mail address of an order's contact."""

    email: EmailAddress


class DocumentForm(BaseModel):
    """A document that proves the connection address or the need for numbers: PDF, PNG or JPEG, at most 10 MB."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    file: FileStorage


class LinkCodeBody(BaseModel):
    """A new link code, with which a main account can attach the account; it can be used until `expires_at`.

    The code is shown only in the answer to the call that creates it.
    """

    code: str = Field(examples=["ABCDE FGHJK"])
    expires_at: datetime


class ProofStateBody(BaseModel):
    """The state of a proof that the request needs; `until` is its deadline, null once it was proved or declined."""

    kind: Literal["email", "letter", "document", "consent", "main_consent", "certificate", "approval"]
    state: Literal["open", "proved", "declined", "expired"]
    until: datetime | None


class NextBody(BaseModel):
    """The next action on a request: who has to act (`actor`), what to do (`what`), and the deadline (null: none)."""

    actor: str
    what: str
    until: datetime | None


class TimelineBody(BaseModel):
    """One event of a request: its time, a code for programs, and a sentence for the customer."""

    at: datetime
    code: str
    text: str


class TermsBody(BaseModel):
    """The terms of a contract: the key of its tariff (null without one), the channels of its trunk, and its prices.

    `monthly_cents` is the monthly price of all its products together, `one_off_cents` what is charged once for the
    change; both in euro cents, without VAT.
    """

    product: str | None
    channels: int
    monthly_cents: int
    one_off_cents: int


class ChangeTermsBody(BaseModel):
    """The terms of a contract before and after a change.

    `effective_on` is the day in Berlin at whose start the change takes effect; null if it takes effect at once.
    """

    effective_on: date | None
    before: TermsBody
    after: TermsBody


class AddedNumbersTermsBody(BaseModel):
    """What a request for more numbers adds: `block_size` numbers in the area code; and what they cost.

    `first_number` and `last_number` of the block, in E.164, are null until a block is reserved, and again after the
    block was released. `monthly_cents_before` and `monthly_cents` are the monthly prices of all products of the
    contract, without and with the numbers; `one_off_cents` is charged once. All in euro cents, without VAT.
    """

    area_code: str
    block_size: int
    first_number: str | None
    last_number: str | None
    monthly_cents_before: int
    monthly_cents: int
    one_off_cents: int


class PlaceBody(BaseModel):
    """A connection address."""

    street: str
    postal_code: str
    city: str


class ReplacedNumbersBody(BaseModel):
    """A number block that goes by a move, and the one that comes for it: first and last number, in E.164.

    `first_number` and `last_number` are null while no block is reserved, and after the move has ended without success.
    """

    replaced_first_number: str
    replaced_last_number: str
    first_number: str | None
    last_number: str | None


class MoveTermsBody(BaseModel):
    """What a move changes: the addresses `before` and `after`, and the number blocks that are `replaced`.

    All other numbers stay. `area_code` is that of the new numbers, null if none are replaced. `monthly_cents_before`
    and `monthly_cents` are the monthly prices of all products of the contracts, `one_off_cents` what the move costs.
    All in euro cents, without VAT.
    """

    before: PlaceBody
    after: PlaceBody
    area_code: str | None
    replaced: list[ReplacedNumbersBody]
    monthly_cents_before: int
    monthly_cents: int
    one_off_cents: int


class CancellationTermsBody(BaseModel):
    """What a cancellation ends: `last_day` is the last day of the account's contracts, in Berlin.

    `monthly_cents` is the monthly price of all their products together, in euro cents, without VAT.
    """

    last_day: date
    monthly_cents: int


class RequestBody(BaseModel):
    """A request of any kind, with its status, next action, proofs and timeline.

    `kind` is `order`, `link`, `switch`, `detach`, `change`, `numbers`, `move` or `cancel`. `step` is the current or
    last step of the request. `reason` is a code that says why the request is pending, held or ended without success;
    else null. `customer_number` is the account that it orders, attaches, detaches, changes or cancels. `next` is null
    once the request has ended. `effective_on` is the day in Berlin at whose start the request takes effect, null if it
    does so at once; for a cancellation it is the first day without a contract. `change` has the terms of a change,
    `numbers` those of more numbers, `move` those of a move, `cancellation` those of a cancellation; each is null for
    other kinds, and can be null if the caller may not view the account.
    """

    id: str
    kind: str
    status: str
    step: str
    reason: str | None
    customer_number: str
    next: NextBody | None
    proofs: list[ProofStateBody]
    effective_on: date | None
    change: ChangeTermsBody | None
    numbers: AddedNumbersTermsBody | None
    move: MoveTermsBody | None
    cancellation: CancellationTermsBody | None
    timeline: list[TimelineBody]
    created_at: datetime
    ended_at: datetime | None


class RequestPage(BaseModel):
    """A page of requests, newest first. `next_cursor` is the `cursor` of the next page, null on the last page."""

    items: list[RequestBody]
    next_cursor: str | None


class AccountBody(BaseModel):
    """An account with its address, its contact, and the id of the running request about it.

    `role` is `standalone`, `main` or `sub`, `state` is `ordered`, `active` or `closed`. For a sub-account `origin` says
    how it came under its main account: `order`, `link` or `collective_invoice`, and `attached_at` when; both are null
    for other accounts. `tags` are those that people of the main account have given a sub-account.
    """

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
    tags: list[str]
    request: str | None = Field(description="Id of the running request, if there is one")


class AccountPage(BaseModel):
    """A page of accounts: the main account first, then its sub-accounts, also those on order, by customer number.

    `next_cursor` is the `cursor` of the next page, null on the last page.
    """

    items: list[AccountBody]
    next_cursor: str | None


class CostLineBody(BaseModel):
    """What a line of a contract (one product) costs in a month, in euro cents, without VAT.

    `product` is the product's key and `monthly_cents` its agreed price for a whole month. The line is charged for the
    days on which it runs until midnight in Berlin: `days` days, from `first_day` to `last_day`, both null if there is
    none. `share_cents` is the part of the monthly price for these days. `one_off_cents` is charged in the month in
    which the line begins, and 0 in other months.
    """

    product: str
    first_day: date | None
    last_day: date | None
    days: int
    monthly_cents: int
    share_cents: int
    one_off_cents: int


class CostChangeBody(BaseModel):
    """The beginning or the end of a contract's line in the month.

    `day` is the first day on which the line runs or, for an end, the first day on which it no longer runs. `planned` is
    true if that day is still to come.
    """

    day: date
    product: str
    change: Literal["begins", "ends"]
    planned: bool


class CostsBody(BaseModel):
    """What an account costs in a month: `net_cents` is the sum of `share_cents` and `one_off_cents` of its lines.

    `changes` has the beginnings and ends of lines in the month.
    """

    customer_number: str
    name: str
    city: str
    net_cents: int
    lines: list[CostLineBody]
    changes: list[CostChangeBody]


class AmountBody(BaseModel):
    """A sum in euro cents without VAT, the VAT on the sum, and both together."""

    net_cents: int
    vat_cents: int
    gross_cents: int


class CostsPage(BaseModel):
    """A page of the costs of accounts in `month` (YYYY-MM); `total` is the sum of all accounts, on all pages.

    `next_cursor` is the `cursor` of the next page, null on the last page.
    """

    month: str
    total: AmountBody
    items: list[CostsBody]
    next_cursor: str | None


class ContractTermsBody(BaseModel):
    """How long a contract binds: its first term, its notice period and its extension after the first term, in months.

    `term_months` is 0 without a first term. `renewal_months` is 0 if the contract is then extended indefinitely. After
    the first term the contract can always be terminated with the notice period, whatever its extension.
    """

    term_months: int
    notice_months: int
    renewal_months: int


class ProductBody(BaseModel):
    """An entry of the price list; prices in euro cents, without VAT.

    A SIP trunk has `channels`, the most simultaneous calls that can be ordered, and `terms`, how long its contract
    binds. A number block has `block_size`, the count of its numbers. These are null for products of other kinds.
    """

    key: str
    kind: str
    name: str
    channels: int | None
    block_size: int | None
    monthly_cents: int
    one_off_cents: int
    terms: ContractTermsBody | None


class ProductList(BaseModel):
    """The price list: all products that can be ordered."""

    items: list[ProductBody]


class FieldProblem(BaseModel):
    """An error in one field of the body or query: the field's path, a code for programs, and a sentence."""

    field: str
    code: str
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457). `errors` has the errors of single fields of the body or query.

    If the call came too early, `again_at` is the time from which it can be repeated. If a limit of the company is
    reached, `limit` names the limit, `allowed` is the greatest number, and `free_at` the time from which the limit
    allows more; if `free_at` is null, it allows more as soon as an open order has ended.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldProblem] = []
    again_at: datetime | None = None
    limit: Limit | None = None
    allowed: int | None = None
    free_at: datetime | None = None


class RequestPath(BaseModel):
    """The id of a request in the URL."""

    id: str


class AccountPath(BaseModel):
    """The customer number of an account in the URL."""

    customer_number: str


class DetachQuery(BaseModel):
    """The query of a detachment.

    `effective_on` is the day in Berlin at whose start the account is detached; null detaches it at once.
    """

    model_config = ConfigDict(extra="forbid")

    effective_on: CalendarDay | None = None


class RequestQuery(BaseModel):
    """The query of the list of requests: `status` to filter by (null: all), and the page.

    `cursor` is the `next_cursor` of the page before (null: the first page), `limit` the most items on the page.
    """

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    status: (
        Literal["acknowledged", "in_progress", "pending", "held", "completed", "rejected", "cancelled", "failed"] | None
    ) = None


class PageQuery(BaseModel):
    """The query for a page of a list.

    `cursor` is the `next_cursor` of the page before (null: the first page), `limit` the most items on the page.
    """

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AccountsQuery(PageQuery):
    """The query for a page of accounts: of all, or with `tag` only of the sub-accounts that have this tag."""

    tag: str | None = None


class LeaveQuery(BaseModel):
    """The query of a call that takes a sub-account off the collective invoice: whether it is detached, too."""

    model_config = ConfigDict(extra="forbid")

    detach: bool = False


class BillingBody(BaseModel):
    """How a sub-account is billed.

    `state` is `own` (by itself), `asked` (its administrators are asked, until the end of `asked_until`, whether it is
    to join the collective invoice), or `joined` (by the collective invoice with the number `invoice`). `detachment` is
    the address of the request that detaches the account after it has left the invoice.
    """

    state: Literal["own", "asked", "joined"]
    invoice: str | None
    asked_until: date | None
    detachment: str | None


class SavedTags(BaseModel):
    """The tags that a sub-account has now, in alphabetical order."""

    tags: list[str]


class CostsQuery(PageQuery):
    """The query for the costs of a month, such as 2026-11 (null: the current month), and the page.

    The last month allowed is the one up to which changes can be planned, about a year ahead.
    """

    month: Annotated[str, Field(pattern="^20[0-9]{2}-(0[1-9]|1[0-2])$", examples=["2026-11"])] | None = None
