"""The titles of the pages that ask for the second factor again; the form that asks for it shows the page's title."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from flask import current_app, request
from flask_babel import LazyString, lazy_gettext
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

STEP_TITLES: Mapping[str, LazyString] = {
    "users.edit": lazy_gettext("Change the role"),
    "users.remove": lazy_gettext("Remove a person"),
    "users.ask": lazy_gettext("Invite a user"),
    "users.invite_again": lazy_gettext("Send the invitation again"),
    "users.make_token": lazy_gettext("Make a token"),
    "users.company_factor": lazy_gettext("Second factor for everybody"),
    "users.approval_limit": lazy_gettext("Approval by a second person"),
    "approvals.decide": lazy_gettext("Approve or refuse"),
    "approvals.decide_file_orders": lazy_gettext("Approve or refuse the requests of a file"),
    "office.administrator": lazy_gettext("Name an administrator"),
    "office.reset_factors": lazy_gettext("Reset the second factor"),
    "link_codes.create": lazy_gettext("Create a link code"),
    "consents.answer": lazy_gettext("Answer to the question for consent"),
    "locations.collective_invoice": lazy_gettext("Collective invoice"),
    "locations.detach": lazy_gettext("Detach the account"),
    "locations.release": lazy_gettext("Give phone numbers back"),
    "locations.cancel_contracts": lazy_gettext("Cancel the contracts"),
    "locations.contract_holder": lazy_gettext("Contract holder"),
    "links.send": lazy_gettext("Add an existing account"),
    "answers.enter_link_code": lazy_gettext("Prove the request by a link code"),
    "answers.enter_credentials": lazy_gettext("Prove the request by a login"),
    "bulks.send": lazy_gettext("Send the file"),
    "forwardings.add": lazy_gettext("Add a call forwarding"),
    "forwardings.edit": lazy_gettext("Change the call forwarding"),
    "locations.destinations": lazy_gettext("Destinations of outgoing calls"),
    "locations.secret": lazy_gettext("Show the SIP password"),
    "locations.renew_secret": lazy_gettext("Renew the SIP password"),
    "logins.change": lazy_gettext("Change the password"),
    "logins.set_up_app": lazy_gettext("Set up an authenticator app"),
    "logins.set_up_passkey": lazy_gettext("Set up a passkey"),
    "logins.remove_own_factor": lazy_gettext("Remove the second factor"),
    "logins.renew_codes": lazy_gettext("Make new recovery codes"),
    "logins.own_data": lazy_gettext("Your data"),
    "logins.erase": lazy_gettext("Delete your login"),
}
"""The titles by endpoint, with one for every endpoint in `web.portal.people.step_up.ASKED_AGAIN`."""


def step_title(path: str | None) -> str:
    """Return the title of the page at this path of the portal, in the page's language.

    Empty if that page does not ask for the second factor again, or if `path` is None or leads to no page.
    """
    adapter = current_app.create_url_adapter(request)
    if adapter is None or not path:
        return ""
    for method in ("POST", "GET"):
        try:
            endpoint, _ = adapter.match(unquote(urlsplit(path).path), method=method)
        except (HTTPException, RequestRedirect, ValueError):
            continue
        return str(STEP_TITLES.get(endpoint, ""))
    return ""
