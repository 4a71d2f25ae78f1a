"""The state of an order that is being entered: typed values, steps with their errors, prices and limits.

It is read anew for each page from the draft, the database row in which the typed values are saved.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.contract_holders import Addressee, ContractHolder
from models.contracts.catalogue import PriceLine, Product, ProductKind, orderable_products, withdrawn_products
from models.contracts.costs import Costs, costs_of
from models.contracts.terms import OPEN_TERMS, ContractTerms
from models.errors import LimitReached
from models.orders.drafts import Draft, DraftStep
from models.orders.offers import best_price, promised_prices
from models.orders.orders import Location, OrderDraft
from models.proofs.order_placement import limit_of_draft
from models.telephony.area_codes import AreaCode
from models.telephony.high_risk import is_high_risk
from models.telephony.numbers import proposed_numbers
from models.telephony.place_facts import spelled_town
from models.values import Locale
from tasks.wording.company_limits import limit_text
from tasks.wording.fields import field_error
from tasks.wording.order_details import order_details
from web.portal.orders.forms import FORMS, area_code_in, as_order, chosen_products, form_of, without_options
from web.portal.orders.number_hints import Hints, hints_for
from web.portal.page.form_errors import add_error
from web.portal.page.locale import locale
from web.portal.page.login_session import principal
from web.resources import resources

if TYPE_CHECKING:
    from tasks.outbox.order_pdf import PrintedOrder

SLUGS: Mapping[DraftStep, str] = {
    DraftStep.PRODUCT: "produkt",
    DraftStep.LOCATION: "standort",
    DraftStep.NUMBERS: "rufnummern",
    DraftStep.CONTACT: "kontakt",
    DraftStep.SUMMARY: "zusammenfassung",
}
STEPS: Mapping[str, DraftStep] = {slug: step for step, slug in SLUGS.items()}
ORDER: Sequence[DraftStep] = tuple(SLUGS)


@dataclass(frozen=True, slots=True)
class Stage:
    """An entry in the list of steps that each page of the order shows.

    `slug` is the step's name in URLs, `done` whether its input is valid, `reachable` whether all steps before it are
    done.
    """

    number: int
    step: DraftStep
    slug: str
    title: str
    done: bool
    reachable: bool


@dataclass(frozen=True, slots=True)
class Wizard:
    """The state of an order that is being entered, which every page of the order needs.

    `id` is the id of its draft, `account` the main account that orders. `data` has the typed values by field name,
    `offered` the products that can be ordered by product key. `area` is the Ortsnetz (local exchange area) of the typed
    area code, None if there is none. `checked` has the validated form of each step except the summary. `hints` are
    facts about the typed address and area code. `kept_until` is the time at which the draft expires, None before it is
    saved. `offered_until` is the time until which a PDF offer promises prices, None without an offer.
    """

    id: uuid.UUID
    account: Account
    data: Mapping[str, Any]
    offered: Mapping[str, Product]
    area: AreaCode | None
    checked: Mapping[DraftStep, Any]
    hints: Hints
    kept_until: datetime | None
    promised: Mapping[str, PriceLine]
    """The prices that an offer of this order still promises, by product key."""
    offered_until: datetime | None
    limit: LimitReached | None
    """The limit of the company that forbids placing the order now, by the values typed so far; None if none does."""
    proposed: int | None
    """The greatest number of phone numbers that the carrier proposes for the chosen channels; None without any."""
    withdrawn: Sequence[Product]
    """The chosen options that cannot be ordered any more; `data` is without them."""

    def form(self, step: DraftStep) -> Any:
        """Return the form of the step with the saved input, not validated, so that it shows no errors."""
        return form_of(step, self.data, self.offered, self.hints)

    @property
    def first_wrong(self) -> DraftStep:
        """Return the first step that is incomplete or invalid; the summary if there is none."""
        return next((step for step, form in self.checked.items() if form.errors), DraftStep.SUMMARY)

    def can_reach(self, step: DraftStep) -> bool:
        """Return whether the user may open the step: all steps before it are complete and valid."""
        return ORDER.index(step) <= ORDER.index(self.first_wrong)

    @property
    def stages(self) -> list[Stage]:
        """Return the list of steps as the pages show it, in the order in which the user takes them."""
        titles = step_titles()
        return [
            Stage(
                number,
                step,
                slug,
                titles[step],
                done=step in self.checked and not self.checked[step].errors,
                reachable=self.can_reach(step),
            )
            for number, (step, slug) in enumerate(SLUGS.items(), 1)
        ]

    @property
    def products(self) -> Sequence[Product]:
        """Return the products chosen so far, without those that cannot be ordered."""
        return chosen_products(self.data, self.offered)

    @property
    def costs(self) -> Costs:
        """Return the total monthly and one-off price of the products chosen so far."""
        return costs_of(line for _product, line in self.priced)

    @property
    def priced(self) -> Sequence[tuple[Product, PriceLine]]:
        """Return the products chosen so far, each with its price."""
        return [(product, self.price_of(product)) for product in self.products]

    def price_of(self, product: Product) -> PriceLine:
        """Return the price of a product: the price list's, or that promised by a PDF offer if it is lower."""
        return best_price(product, self.promised)

    @property
    def terms(self) -> ContractTerms:
        """Return the contract terms of the chosen SIP trunk product.

        While none is chosen, return terms without a first term and with a notice period of a month.
        """
        return next((one.terms for one in self.products if one.kind is ProductKind.TRUNK), OPEN_TERMS)

    @property
    def limit_told(self) -> str | None:
        """Return a text about the limit of the company that forbids placing the order now; None if no limit does."""
        return limit_text(self.limit, locale()) if self.limit is not None else None

    @property
    def promised_until(self) -> datetime | None:
        """Return until when a PDF offer promises the prices of all chosen products; None if there is no such offer."""
        return self.offered_until if all(product.key in self.promised for product in self.products) else None

    @property
    def fingerprint(self) -> str:
        """Return a hash of the order, its prices and the contract's terms; it differs once one of them has changed."""
        agreed = [(*astuple(line), *astuple(product.terms)) for product, line in self.priced]
        whole = json.dumps([dict(self.data), agreed], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:32]

    def order(self, locale: Locale) -> OrderDraft:
        """Return the order in the form that `place_order` takes. Call only if all steps are complete and valid.

        `locale` is the language saved with the order.
        """
        order = as_order(self.data, self.offered, locale)
        place = order.location
        return replace(order, location=replace(place, city=spelled_town(self.hints.towns, place.city)))

    def printed(self, addressee: Addressee, holder: ContractHolder | None, locale: Locale) -> PrintedOrder:
        """Return the data from which the PDF offer of the order is made. Call only if all steps are complete and valid.

        `addressee` is the addressee of the letter, `holder` the contract holder of the account that orders, None if
        none was entered.
        """
        from tasks.outbox.order_pdf import PrintedOrder  # a large import, made only for an offer

        order, customer = self.order(locale), self.account
        place = f"{addressee.postal_code} {addressee.city}"
        return PrintedOrder(
            main_number=customer.customer_number,
            addressee=(addressee.name, customer.contact_name, addressee.street, place),
            location=order.location,
            contact=order.contact,
            lines=[(product.name(locale), line) for product, line in self.priced],
            channels=order.channels,
            area_code=order.area_code,
            town=self.area.name if self.area is not None else "",
            details=order_details(
                locale,
                terms=self.terms,
                holder=holder,
                mobile_number=order.mobile_number,
                entry=order.directory_entry,
                request_uri=order.request_uri,
                local_user=(order.local_user.name, order.local_user.email) if order.local_user is not None else None,
            ),
        )


def read_wizard(session: Session, id: uuid.UUID, account: Account, draft: Draft | None, now: datetime) -> Wizard:
    """Return the state of the order whose draft has the id `id`, with all its steps validated.

    `draft` is the saved draft; None for a new order, which is empty. `account` is the main account that orders.
    """
    data: Mapping[str, Any] = draft.data if draft is not None else {}
    withdrawn = [product for product in withdrawn_products(session, now) if product.key in (data.get("options") or [])]
    data = without_options(data, withdrawn)
    offered = {product.key: product for product in orderable_products(session, now)}
    postal_code, city, size = (str(data.get(name) or "") for name in ("postal_code", "city", "block_size"))
    hints = hints_for(session, postal_code, city, area_code_in(data), size, now)
    checked = {step: form_of(step, data, offered, hints) for step in FORMS}
    for form in checked.values():
        form.validate()
    product = checked[DraftStep.PRODUCT]
    if product.fallback is not None and is_high_risk(session, product.fallback):
        add_error(product.mobile_number, field_error(locale(), "mobile_number", "high_risk"))
    kept_until = draft.kept_until if draft is not None else None
    promised = promised_prices(draft, now) if draft is not None else {}
    offered_until = draft.offered_until if draft is not None and promised else None
    area, limit = hints.area, _limit(session, account, data, checked, now)
    channels = product.chosen_channels
    proposed = proposed_numbers(channels, resources().settings.numbers_per_channel) if channels is not None else None
    return Wizard(
        id,
        account,
        data,
        offered,
        area,
        checked,
        hints,
        kept_until,
        promised,
        offered_until,
        limit,
        proposed,
        withdrawn,
    )


def _limit(
    session: Session, account: Account, data: Mapping[str, Any], checked: Mapping[DraftStep, Any], now: datetime
) -> LimitReached | None:
    """Return the limit of the company that forbids the order now, by the values typed so far; None if none does.

    `data` has the typed values by field name, `checked` the validated form of each step. Location and contact count
    only if their steps are valid.
    """
    place = email = None
    if not checked[DraftStep.LOCATION].errors:
        place = Location(*(str(data[name]) for name in ("name", "street", "postal_code", "city")))
    if not checked[DraftStep.CONTACT].errors:
        email = str(data["email"])
    return limit_of_draft(session, principal(), account, place, email, now, resources().settings.limits)


def step_titles() -> Mapping[DraftStep, str]:
    """Return the title of each step in the page's language."""
    return {
        DraftStep.PRODUCT: _("Product and options"),
        DraftStep.LOCATION: _("Location"),
        DraftStep.NUMBERS: _("Phone numbers"),
        DraftStep.CONTACT: _("Contact person"),
        DraftStep.SUMMARY: _("Summary"),
    }
