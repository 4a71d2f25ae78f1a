"""The texts about the requests of a bulk file, by its kind: what a row does, and what sending it means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from flask_babel import gettext as _
from flask_babel import ngettext

from models.contracts.costs import VAT_PERCENT
from models.states import Kind
from models.telephony.number_pool import QUARANTINE
from tasks.wording.formats import euros, long_date
from web.portal.page.locale import counted, locale


def effect_text(kind: Kind, draft: Mapping[str, Any]) -> str:
    """Return what the request of a valid row does, beyond what its cells say; empty if they say it all.

    `draft` is the row's draft (`models.changes.file_rows`).
    """
    match kind:
        case Kind.NUMBERS:
            return _numbers_text(draft["says"])
        case Kind.MOVE:
            return _move_text(draft["says"])
        case Kind.CANCEL:
            day = long_date(date.fromisoformat(draft["last_day"]), locale())
            return str(_("Ends with the end of %(day)s.", day=day))
        case Kind.DETACH if draft["effective_on"]:
            day = long_date(date.fromisoformat(draft["effective_on"]), locale())
            return str(_("Leaves the main account on %(day)s.", day=day))
        case Kind.DETACH:
            return str(_("Leaves the main account at once."))
        case _:
            return ""


def _numbers_text(says: Mapping[str, Any]) -> str:
    said = _("The trunk then has %(count)s phone numbers.", count=counted(says["numbers_after"]))
    if says["needs_certificate"]:
        said += " " + _("It needs a certificate of need, which is uploaded on the page of the request.")
    return str(said)


def _move_text(says: Mapping[str, Any]) -> str:
    if says["goes"]:
        going, code = ", ".join(says["goes"]), says["area_code"]
        said = _("New phone numbers with the area code %(code)s replace %(going)s.", code=code, going=going)
    else:
        said = _("All phone numbers stay.")
    if says["lost"]:
        lost = ngettext("%(num)s call forwarding is deleted.", "%(num)s call forwardings are deleted.", says["lost"])
        said += f" {lost}"
    if says["aimed"]:
        aimed = ngettext(
            "%(num)s call forwarding to these numbers reaches nobody then.",
            "%(num)s call forwardings to these numbers reach nobody then.",
            says["aimed"],
        )
        said += f" {aimed}"
    if not says["is_proved"]:
        said += " " + _("The new address is confirmed with the code of a letter.")
    if not says["in_stock"]:
        said += " " + _("The new phone numbers have to be procured first.")
    return str(said)


def sending_texts(kind: Kind, sums: tuple[int, int, int]) -> list[str]:
    """Return sentences that say what sending a file about accounts does, and what it costs.

    `sums` are the net cents of all its rows together: monthly before, monthly after, and one-off.
    """
    before, after, once = (euros(cents, locale()) for cents in sums)
    match kind:
        case Kind.CANCEL:
            first = _(
                "All these accounts are closed, each with the end of its last day. What ends costs %(before)s a month,"
                " net. No registration and no call is possible any more, not even an emergency call; the phone numbers"
                " rest for %(days)s days.",
                before=before,
                days=QUARANTINE.days,
            )
            second = _(
                "Until its day each cancellation can be taken back; after it, nothing can be undone. The administrators"
                " of the accounts are told at once. You get one e-mail when all rows have come to their end."
            )
        case Kind.DETACH:
            first = _(
                "These accounts leave the main account: its users do not see them any more. Their logins, contracts,"
                " phone numbers and addresses stay as they are."
            )
            second = _(
                "A row without a day takes effect at once. Until its day each detachment can be taken back. The"
                " administrators of the accounts are told. You get one e-mail when all rows have come to their end."
            )
        case Kind.MOVE:
            first = _(
                "The contracts go on at %(after)s a month, net: a move costs nothing. Emergency calls are routed by the"
                " new address from the moment of the move.",
                after=after,
            )
            second = _(
                "Addresses that are not known yet have to be confirmed first, with the code of a letter. Until it is"
                " carried out each move can be taken back. You get one e-mail when all rows have come to their end."
            )
        case _:
            first = _(
                "What the contracts cost a month, together and net: %(before)s so far, %(after)s afterwards; and"
                " %(once)s once. Plus %(percent)s %% VAT.",
                before=before,
                after=after,
                once=once,
                percent=VAT_PERCENT,
            )
            second = _(
                "A row without a day takes effect at once, the others at the beginning of their day. Until then each"
                " can be taken back. You get one e-mail when all rows have come to their end."
            )
    return [str(first), str(second)]


def button_text(kind: Kind, count: int) -> str:
    """Return the text of the button that sends a file with `count` rows to be sent."""
    match kind:
        case Kind.ORDER:
            said = ngettext(
                "Order %(num)s location with obligation to pay", "Order %(num)s locations with obligation to pay", count
            )
        case Kind.LINK:
            said = ngettext("Send %(num)s request", "Send %(num)s requests", count)
        case Kind.CHANGE:
            said = ngettext(
                "Change %(num)s contract with obligation to pay",
                "Change %(num)s contracts with obligation to pay",
                count,
            )
        case Kind.NUMBERS:
            said = ngettext(
                "Order numbers for %(num)s trunk with obligation to pay",
                "Order numbers for %(num)s trunks with obligation to pay",
                count,
            )
        case Kind.MOVE:
            said = ngettext("Move %(num)s account", "Move %(num)s accounts", count)
        case Kind.CANCEL:
            said = ngettext("Cancel %(num)s account", "Cancel %(num)s accounts", count)
        case _:
            said = ngettext("Detach %(num)s account", "Detach %(num)s accounts", count)
    return str(said)


def tick_text(kind: Kind, count: int) -> str:
    """Return the text of the box that has to be ticked before a file of `count` rows is sent; empty if there is none.

    It stands before what cannot be undone once its day has come.
    """
    match kind:
        case Kind.CANCEL:
            said = ngettext(
                "Yes, cancel %(num)s customer number with all its contracts.",
                "Yes, cancel %(num)s customer numbers with all their contracts.",
                count,
            )
        case Kind.DETACH:
            said = ngettext(
                "Yes, detach %(num)s account from the main account.",
                "Yes, detach %(num)s accounts from the main account.",
                count,
            )
        case _:
            said = ""
    return str(said)
