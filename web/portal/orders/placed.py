"""Functions that redirect to the overview, with a message, after a sub-account was ordered."""

from __future__ import annotations

from typing import Any

from flask import flash, get_flashed_messages, redirect, url_for
from flask_babel import gettext as _
from markupsafe import Markup
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.orders.drafts import Draft, order_once
from models.requests.requests import Request


def already_ordered(session: Session, draft: Draft) -> Response:
    """Redirect to the overview, at the card of the sub-account that was ordered with this draft, with a message.

    Call it only for a draft that was ordered.
    """
    accepted = order_once(session, draft, _never)
    said = _("This order was placed already. The new sub-account has customer number %(number)s.",
             number=accepted.customer_number)  # fmt: skip
    return to_card(said, accepted)


def _never() -> Any:
    raise AssertionError("the draft was ordered already")


def to_card(said: str, accepted: Request) -> Response:
    """Redirect to the overview, at the card of the sub-account that the order `accepted` creates.

    `said` is the message shown there, followed by a link to the sub-account's page. Repeated calls give one message.
    """
    link = url_for("locations.show", customer_number=accepted.customer_number)
    shown = Markup('<span>{}</span> <a href="{}">{}</a>').format(said, link, _("Show the new sub-account"))
    _say_once(shown)
    return redirect(url_for("portal.overview", _anchor=f"konto-{accepted.customer_number}"), 303)


def _say_once(message: str) -> None:
    # Two submits of the same order lead to one page with one message.
    waiting: list[Any] = list(get_flashed_messages(with_categories=True))
    for category, said in waiting:
        flash(said, category)
    if message not in [said for _category, said in waiting]:
        flash(message)
