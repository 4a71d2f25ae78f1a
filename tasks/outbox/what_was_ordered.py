"""Read everything that was ordered with a placed order, for the order's page, its receipt mail and its PDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.contract_holders import Addressee, addressee_of, holder_of
from models.contracts.catalogue import PriceLine, all_products
from models.contracts.costs import Costs, costs_of
from models.orders.baskets import agreed_terms
from models.orders.orders import Contact, Location
from models.requests.requests import Request
from models.telephony.area_codes import AreaCode
from models.telephony.directory import directory_data
from models.values import Locale
from tasks.outbox.price_facts import agreed_lines
from tasks.ports import Attachment
from tasks.settings import Carrier
from tasks.wording.order_details import order_details
from tasks.wording.translate import N_, translate


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """A placed order with everything that was ordered; names and texts are in the language `locale`.

    `customer_number` is that of the new account, `main_number` that of the main account that has ordered it. `lines`
    are pairs of product name and agreed price, empty for orders from before agreed prices were saved. `channels` is the
    ordered number of simultaneous calls, `most_channels` the most that the product can have. `details` are pairs of
    name and value, such as contract holder and mobile fallback.
    """

    locale: Locale
    customer_number: str
    main_number: str
    addressee: Sequence[str]
    ordered_at: datetime
    location: Location
    contact: Contact
    lines: Sequence[tuple[str, PriceLine]]
    channels: int
    most_channels: int
    block_size: int
    area_code: str
    town: str
    details: Sequence[tuple[str, str]]

    @property
    def costs(self) -> Costs:
        """Return the monthly and the one-off sum of the agreed prices."""
        return costs_of(line for _name, line in self.lines)

    def pdf(self, link: str, carrier: Carrier) -> Attachment:
        """Return the order as a PDF attachment of a mail, with its file name.

        `link` is the URL of the order's page and is printed; `carrier` is the sender that the PDF names.
        """
        from tasks.outbox.order_pdf import PrintedOrder, summary_pdf  # a large import, made only where one is printed

        printed = PrintedOrder(
            main_number=self.main_number,
            addressee=self.addressee,
            location=self.location,
            contact=self.contact,
            lines=self.lines,
            channels=self.channels,
            area_code=self.area_code,
            town=self.town,
            details=self.details,
        )
        content = summary_pdf(printed, self.customer_number, link, self.ordered_at, self.locale, carrier)
        name = translate(self.locale, N_("Order-%(number)s.pdf"), number=self.customer_number)
        return Attachment(name, "application/pdf", content)


def placed_order(session: Session, request: Request, locale: Locale) -> PlacedOrder:
    """Read the order `request` with its products, addresses and options from the database.

    Names and texts are in the language `locale`.
    """
    account, main = request.account, session.get_one(Account, request.main_id)
    assert account is not None and request.channels is not None and request.block_size is not None
    area, options = session.get_one(AreaCode, request.area_code), request.option_details or {}
    head: Addressee = addressee_of(session, main)
    invited = (request.local_user_name, request.local_user_email)
    details = order_details(
        locale,
        terms=agreed_terms(request),
        holder=holder_of(session, main),
        mobile_number=options.get("mobile_number"),
        entry=directory_data(options.get("directory_entry")),
        request_uri=request.request_uri,
        local_user=(invited[0], invited[1]) if invited[0] is not None and invited[1] is not None else None,
        countries=request.countries,
        ordered_at=request.created_at,
    )
    return PlacedOrder(
        locale=locale,
        customer_number=request.customer_number,
        main_number=main.customer_number,
        addressee=(head.name, main.contact_name, head.street, f"{head.postal_code} {head.city}"),
        ordered_at=request.created_at,
        location=Location(account.name, account.street, account.postal_code, account.city),
        contact=Contact(account.contact_name, account.contact_email, account.contact_phone),
        lines=agreed_lines(session, request, locale),
        channels=request.channels,
        most_channels=_channels_of_product(session, request),
        block_size=request.block_size,
        area_code=area.code,
        town=area.name,
        details=details,
    )


def _channels_of_product(session: Session, request: Request) -> int:
    assert request.product_key is not None and request.channels is not None
    return all_products(session)[request.product_key].channels or request.channels
