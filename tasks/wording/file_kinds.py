"""The words for files of many requests, by the kind of their requests, in mails and on pages."""

from __future__ import annotations

from collections.abc import Mapping

from models.states import Kind
from models.values import Locale
from tasks.wording.translate import N_, translate

NAMES: Mapping[Kind, str] = {
    Kind.ORDER: N_("Bulk order"),
    Kind.LINK: N_("Bulk link"),
    Kind.CHANGE: N_("Bulk change"),
    Kind.NUMBERS: N_("Bulk order of phone numbers"),
    Kind.MOVE: N_("Bulk move"),
    Kind.CANCEL: N_("Bulk cancellation"),
    Kind.DETACH: N_("Bulk detachment"),
}
"""The displayed name of a file."""

CONTENTS: Mapping[Kind, str] = {
    Kind.ORDER: N_("orders"),
    Kind.LINK: N_("link requests"),
    Kind.CHANGE: N_("changes of contracts"),
    Kind.NUMBERS: N_("orders of phone numbers"),
    Kind.MOVE: N_("moves"),
    Kind.CANCEL: N_("cancellations"),
    Kind.DETACH: N_("detachments"),
}
"""What a file has, in the form that follows the word "with"."""

WHAT_HAPPENS: Mapping[Kind, str] = {
    Kind.CHANGE: N_(
        "we change each contract at once or on its day. Until then each change can be taken back in the customer "
        "portal. We write to you once when all are done."
    ),
    Kind.NUMBERS: N_(
        "each trunk gets its phone numbers at once or on its day. Until then each order can be taken back in the "
        "customer portal. We write to you once when all are done."
    ),
    Kind.MOVE: N_(
        "where the new address is not confirmed yet, we send a letter with a code to it. Then each account moves, at "
        "once or on its day. Until then each move can be taken back in the customer portal. We write to you once when "
        "all are done."
    ),
    Kind.CANCEL: N_(
        "each account goes on as before until the end of its last day. Until then each cancellation can be taken back "
        "in the customer portal. We write to you once when all have ended."
    ),
    Kind.DETACH: N_(
        "each account leaves the main account at once or on its day. Until then each detachment can be taken back in "
        "the customer portal. We write to you once when all are done."
    ),
}
"""What happens with the rows of a file about accounts, after "What happens next:"."""


def file_text(kind: Kind, locale: Locale) -> str:
    """Return the displayed name of a file of this kind in the language `locale`."""
    return translate(locale, NAMES[kind])
