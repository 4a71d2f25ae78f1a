"""The page that says how to set up common phone systems for a SIP trunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask import render_template
from flask_babel import gettext as _
from flask_login import login_required

from models.people.rights import Action, may
from models.states import AccountState
from models.telephony.trunks import RequestUri, SipTrunk
from web.portal.page.account_access import get_visible_trunk
from web.portal.page.blueprints import locations
from web.portal.page.login_session import principal
from web.resources import resources


@dataclass(frozen=True, slots=True)
class PhoneSystem:
    """Instructions for setting up one make of phone system, such as FreePBX, for a trunk.

    `place` is the menu or the file in which the settings are entered. `fields` are pairs of the name of a setting and
    its value. `hints` are further advice. `file` is the content of a configuration file to copy, "" if there is none.
    """

    name: str
    place: str
    fields: Sequence[tuple[str, str]]
    hints: Sequence[str]
    file: str = ""


@locations.get("/<string(length=7):customer_number>/sip/<int:id>/telefonanlagen")
@login_required
def phone_systems(customer_number: str, id: int) -> str:
    """Show how common phone systems are set up for the SIP trunk `id`.

    Abort with 404 if the user may not view the account, or if the account has no such trunk.
    """
    account, trunk = get_visible_trunk(customer_number, id, Action.VIEW)
    port = resources().settings.sip_port
    manages = account.state is AccountState.ACTIVE and may(principal(), Action.MANAGE_TRUNK, account)
    return render_template(
        "telephony/trunk/phone_systems.html",
        account=account,
        trunk=trunk,
        manages=manages,
        sip_port=port,
        systems=list(_systems(trunk, port)),
    )


def _systems(trunk: SipTrunk, port: int) -> Iterator[PhoneSystem]:
    user, domain, channels = trunk.sip_user, trunk.domain, str(trunk.channels)
    secret = _("the SIP password")
    in_request = trunk.request_uri is RequestUri.NUMBER
    yield PhoneSystem(
        "Asterisk (chan_pjsip)",
        "pjsip.conf",
        [],
        [
            _("Put the SIP password in place of PASSWORD, and the name of your own context in place of from-trunk."),
            _("Without forbidden_retry_interval Asterisk never registers again after a wrong password."),
            _("To show another of your numbers, leave out from_user and set CALLERID(num) to it."),
            *([] if in_request else [_("The dialled number is in the header To: PJSIP_HEADER(read,To).")]),
        ],
        _PJSIP.format(user=user, domain=domain, port=port),
    )
    yield PhoneSystem(
        "FreePBX",
        "Connectivity → Trunks → Add SIP (chan_pjsip) Trunk",
        [
            ("Maximum Channels", channels),
            ("Username, Auth username", user),
            ("Secret", secret),
            ("Authentication", "Outbound"),
            ("Registration", "Send"),
            ("SIP Server", domain),
            ("SIP Server Port", str(port)),
            ("Contact User, From User", user),
            ("From Domain", domain),
            ("Forbidden Retry Interval, Fatal Retry Interval", "600"),
        ],
        [_("Write inbound routes with the whole number: +49…")],
    )
    yield PhoneSystem(
        "3CX",
        "SIP Trunks → Add SIP Trunk → Generic SIP Trunk",
        [
            ("Registrar/Server", domain),
            ("Port", str(port)),
            ("Number of SIM Calls", channels),
            ("Type of Authentication", "Register/Account based"),
            ("Authentication ID", user),
            ("Authentication Password", secret),
        ],
        [
            _("Add your phone numbers as DIDs with country code: +49…"),
            _("Choose the request line as the source of the called number.")
            if in_request
            else _("Choose the header To as the source of the called number."),
        ],
    )
    yield PhoneSystem(
        "FRITZ!Box",
        _("Telephony → Telephone Numbers → Add Number → other provider"),
        [
            (_("Number for the sign-in, number in the FRITZ!Box"), _("your phone number with area code")),
            (_("User name"), user),
            (_("Password"), secret),
            (_("Registrar"), domain if port == _USUAL_PORT else f"{domain}:{port}"),
            (_("Proxy server"), _("leave it empty")),
        ],
        [
            _("A FRITZ!Box takes part with the numbers that are entered in it one by one; for whole blocks choose the"
              " type SIP trunk, if your model has it."),
        ],
    )  # fmt: skip
    yield PhoneSystem(
        "STARFACE",
        _("Administration → Lines → new line, with a provider profile of your own"),
        [
            (_("User name"), user),
            (_("Password"), secret),
            ("Registrar, Domain", domain),
            ("Port", str(port)),
            (_("Number of channels"), channels),
            (_("Source of the called number"), "Request URI" if in_request else "To"),
        ],
        [_("Enter your number block with country code, area code and its first and last extension.")],
    )


_USUAL_PORT = 5060
_PJSIP = """\
[transport-udp]
type=transport
protocol=udp
bind=0.0.0.0

[standort]
type=registration
transport=transport-udp
outbound_auth=standort
server_uri=sip:{domain}:{port}
client_uri=sip:{user}@{domain}
contact_user={user}
expiration=600
retry_interval=60
forbidden_retry_interval=600
fatal_retry_interval=600
max_retries=10000

[standort]
type=auth
auth_type=userpass
username={user}
password=PASSWORD

[standort]
type=aor
contact=sip:{domain}:{port}

[standort]
type=identify
endpoint=standort
match={domain}

[standort]
type=endpoint
transport=transport-udp
context=from-trunk
disallow=all
allow=alaw
outbound_auth=standort
aors=standort
from_user={user}
from_domain={domain}
direct_media=no
force_rport=yes
rtp_symmetric=yes
"""
