"""The details of an order apart from products, location and contact, as pairs of name and value.

`tasks.outbox.what_was_ordered` reads a whole order.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial

from models.accounts.contract_holders import ContractHolder
from models.contracts.terms import ContractTerms
from models.telephony.directory import DirectoryData, Publication
from models.telephony.trunks import RequestUri
from models.values import Locale
from tasks.wording.contract_terms import terms_text
from tasks.wording.destination_names import destination_names
from tasks.wording.formats import day_text, number_text
from tasks.wording.labels import PUBLICATIONS
from tasks.wording.translate import translate


def order_details(
    locale: Locale,
    *,
    terms: ContractTerms,
    holder: ContractHolder | None,
    mobile_number: str | None,
    entry: DirectoryData | None,
    request_uri: RequestUri | None,
    local_user: tuple[str, str] | None,
    countries: Collection[str] | None = None,
    ordered_at: datetime | None = None,
) -> list[tuple[str, str]]:
    """Return the details of an order as pairs of name and value: contract terms and holder, options, invited person.

    `holder` is None if no contract holder was entered. `mobile_number` (E.164) and `entry` are None if the mobile
    fallback or the directory entry was not ordered, `request_uri` is None if the order does not choose it. `local_user`
    are name and e-mail address of the person who is to sign in at the location, None if the order names nobody.
    `countries` are the keys of the destinations that the trunk may call, None if the order does not choose them.
    `ordered_at` is when the order was placed, None before. The contract holder is the present one; if it was entered or
    changed after the order, the details say so.
    """
    _ = partial(translate, locale)
    shown = _holder(holder) if holder is not None else _("Not entered yet.")
    if holder is not None and ordered_at is not None and holder.changed_at > ordered_at:
        shown = _(
            "%(holder)s (entered on %(day)s, after this order)", holder=shown, day=day_text(holder.changed_at, locale)
        )
    details = [(_("Contract terms"), terms_text(terms, locale)), (_("Contract holder"), shown)]
    if mobile_number is not None:
        details.append((_("Mobile fallback"), number_text(mobile_number)))
    if entry is not None:
        address = _("with the connection address") if entry.show_address else _("without an address")
        places = [_(PUBLICATIONS[Publication(place)]) for place in entry.published_in]
        details.append((_("Directory entry"), f"{entry.name}, {address} ({', '.join(places)})"))
    if request_uri is not None:
        as_registered = request_uri is RequestUri.CONTACT
        way = _("As the phone has registered") if as_registered else _("By the dialled number")
        details.append((_("How calls reach the phone system"), way))
    if countries is not None:
        details.append((_("Countries of outgoing calls"), destination_names(countries, locale)))
    invited = ", ".join(local_user) if local_user is not None else _("Nobody yet")
    return [*details, (_("Who signs in at the location"), invited)]


def _holder(holder: ContractHolder) -> str:
    place = f"{holder.postal_code} {holder.city}"
    return ", ".join(filter(None, (holder.name, holder.register_number, holder.street, place)))
