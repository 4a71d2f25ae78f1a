"""Renders the pages that change a SIP trunk's contract or order more numbers, at once or from a chosen day on."""

from __future__ import annotations

from datetime import timedelta

from flask import render_template
from wtforms import Form

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.people.rights import Action, through_main
from models.requests.effective_days import LONGEST_AHEAD
from models.telephony.trunks import SipTrunk
from web.portal.page.login_session import principal
from web.resources import resources


def render_trunk_page(page: str, account: Account, trunk: SipTrunk, form: Form, **facts: object) -> str:
    """Return the HTML of a page that changes what is ordered for the trunk.

    `page` is the name of its template in templates/changes, without ".html"; `facts` are further template variables.
    The template also gets the first and the last day that can be typed.
    """
    today = berlin_day(resources().clock())
    return render_template(
        f"changes/{page}.html",
        account=account,
        trunk=trunk,
        form=form,
        first_day=today + timedelta(days=1),
        last_day_possible=today + LONGEST_AHEAD,
        is_foreign=through_main(principal(), Action.CHANGE_CONTRACT, account) is not None,
        **facts,
    )
