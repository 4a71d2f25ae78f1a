"""The details of an order besides products, location and contact, as pairs of name and value.

The whole order is read in `tasks.outbox.placed_order`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from models.accounts.contract_holders import ContractHolder
from models.phone_numbers import display_phone_number
from models.telephony.directory import DirectoryData
from models.telephony.trunks import RequestUri
from models.values import Locale
from tasks.wording.destinations import destination_names
from tasks.wording.translate import translate


def order_details(
    locale: Locale,
    *,
    holder: ContractHolder | None,
    mobile_number: str | None,
    entry: DirectoryData | None,
    request_uri: RequestUri | None,
    local_user: tuple[str, str] | None,
    countries: Collection[str] | None = None,
) -> list[tuple[str, str]]:
    """Return the contract holder, the details of the options and the invited person, as pairs of name and value.

    `holder` is None if no contract holder was entered, `mobile_number` (E.164) and `entry` None without these options.
    `local_user` are name and e-mail address of the person who is to sign in at the location, None if the order names
    nobody. `countries` are the keys of the destinations that the trunk may call, None if the order does not choose.
    """
    _ = partial(translate, locale)
    details = [(_("Contract holder"), _holder(holder) if holder is not None else _("Not entered yet."))]
    if mobile_number is not None:
        details.append((_("Mobile fallback"), display_phone_number(mobile_number)))
    if entry is not None:
        address = _("with the connection address") if entry.show_address else _("without an address")
        details.append((_("Directory entry"), f"{entry.name}, {address}"))
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
