"""The sentences on a contract's terms: first term, notice period and extension."""

from __future__ import annotations

from datetime import date

from models.contracts.terms import ContractTerms, end_of_term
from models.values import Locale
from tasks.wording.formats import long_date
from tasks.wording.translate import N_, translate

_NO_TERM = N_("No first term.")
_TERM_UNTIL = N_("First term until the end of %(day)s.")
_TERM_OF = N_("First term in months: %(months)s.")
_RENEWAL = N_(
    "Without a cancellation it is extended by %(months)s months, and can then be cancelled at any time all the same."
)
_NOTICE = N_("It can be cancelled with one month's notice.")
_NO_NOTICE = N_("It can be cancelled from one day to the next.")


def terms_text(terms: ContractTerms, locale: Locale, started_on: date | None = None) -> str:
    """Return the terms of a contract as sentences: first term, notice period and extension.

    `started_on` is the day on which the contract began, so that the last day of its first term is named; None if the
    contract has yet to be ordered.
    """
    last = end_of_term(started_on, terms) if started_on is not None else None
    if last is not None:
        said = [translate(locale, _TERM_UNTIL, day=long_date(last, locale))]
    elif terms.term_months:
        said = [translate(locale, _TERM_OF, months=terms.term_months)]
    else:
        said = [translate(locale, _NO_TERM)]
    said.append(translate(locale, _NOTICE if terms.notice_months else _NO_NOTICE))
    if terms.term_months and terms.renewal_months:
        said.append(translate(locale, _RENEWAL, months=terms.renewal_months))
    return " ".join(said)
