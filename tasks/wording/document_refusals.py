"""The sentences that say why a document was refused as proof of an address or of a need for numbers."""

from __future__ import annotations

from collections.abc import Mapping

from models.states import RefusalReason
from models.values import Locale
from tasks.wording.translate import N_, translate

REFUSALS: Mapping[RefusalReason, str] = {
    RefusalReason.UNREADABLE: N_("The document cannot be read."),
    RefusalReason.OTHER_ADDRESS: N_("The document shows another address."),
    RefusalReason.OTHER_COMPANY: N_("The document is about another company."),
    RefusalReason.TOO_OLD: N_("The document is too old."),
    RefusalReason.WRONG_KIND: N_(
        "The document is neither an extract from the commercial register nor a business registration."
    ),
    RefusalReason.DOES_NOT_SHOW: N_("The document does not show that the company is at this address."),
    RefusalReason.NO_NEED: N_("The document does not show that so many phone numbers are needed."),
    RefusalReason.OTHER: N_("The document is not accepted."),
}

_NOTE = N_("Our note: “%(note)s”.")


def refusal_text(reason: RefusalReason, note: str, locale: Locale) -> str:
    """Return a sentence on why a document was refused, followed by the staff's `note` to the customer, if any."""
    text = translate(locale, REFUSALS[reason])
    return f"{text} {translate(locale, _NOTE, note=note.rstrip('.'))}" if note else text
