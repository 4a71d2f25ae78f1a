"""The sentences about a company's limits: which limit is reached, when there is room again, and how to get more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from models.accounts.company_limits import Limit
from models.errors import LimitReached
from models.values import Locale
from tasks.wording.formats import moment_text
from tasks.wording.translate import N_, translate

REACHED: Mapping[Limit, str] = {
    Limit.OPEN_ORDERS: N_("Your company can have %(allowed)s open orders at a time, and has as many now."),
    Limit.BLOCKS: N_("Your company can order %(allowed)s number blocks a day, and has ordered as many today."),
    Limit.LETTERS: N_("Your company can have us send %(allowed)s letters with codes a day, and has done so today."),
    Limit.CONTACTS: N_("Your company can name %(allowed)s new contacts a day, and has named as many today."),
    Limit.INVITATIONS: N_("Your company can send %(allowed)s invitations a day, and has sent as many today."),
    Limit.CONSENTS: N_("Your company can ask %(allowed)s accounts for consent a day, and has asked as many today."),
}
WAITS: Mapping[Limit, str] = {
    Limit.OPEN_ORDERS: N_("Too many orders of the company are open at one time."),
    Limit.BLOCKS: N_("The company has ordered as many number blocks as it may on one day."),
    Limit.LETTERS: N_("The company has caused as many letters as it may on one day."),
    Limit.CONTACTS: N_("The company has named as many new contacts as it may on one day."),
    Limit.INVITATIONS: N_("The company has sent as many invitations as it may on one day."),
    Limit.CONSENTS: N_("The company has asked as many accounts for consent as it may on one day."),
}
"""The sentence on why a company's orders wait, for each limit.

The back office and receipts of uploaded files show it.
"""

NAMES: Mapping[Limit, str] = {
    Limit.OPEN_ORDERS: N_("open orders at a time"),
    Limit.BLOCKS: N_("number blocks a day"),
    Limit.LETTERS: N_("letters with codes a day"),
    Limit.CONTACTS: N_("new contacts a day"),
    Limit.INVITATIONS: N_("invitations a day"),
    Limit.CONSENTS: N_("questions for consent a day"),
}
"""The words for each limit that follow a number, such as "number blocks a day"."""

_AGAIN_AT = N_("There is room again from %(free_at)s.")
_AGAIN_AFTER_ENDS = N_("There is room again as soon as one of them has ended.")
_WAY_OUT = N_("If you need more, our customer service can raise the limit.")


def limit_text(reached: LimitReached, locale: Locale) -> str:
    """Return sentences on which limit is reached, when there is room again, and that customer service can raise it."""
    said = translate(locale, REACHED[Limit(reached.limit)], allowed=reached.allowed)
    return f"{said} {room_text(reached.free_at, locale)} {translate(locale, _WAY_OUT)}"


def room_text(free_at: datetime | None, locale: Locale) -> str:
    """Return a sentence on when a company may order or send more again.

    That is at the time `free_at`; if it is None, when one of the company's open orders has ended.
    """
    if free_at is None:
        return translate(locale, _AGAIN_AFTER_ENDS)
    return translate(locale, _AGAIN_AT, free_at=moment_text(free_at, locale))
