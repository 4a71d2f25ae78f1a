"""Sentences that say how calls over a SIP trunk ended, and advice on what to do about calls that failed."""

from __future__ import annotations

import phonenumbers
from flask_babel import gettext as _

from tasks.wording.formats import number_text
from web.telephone_network import Call

_HIDDEN = "xxx"


def display_number(number: str) -> str:
    """Format an E.164 number for reading; its last three digits may be hidden as "xxx": "030 90000xxx".

    A text without a plus sign, or one that is no phone number, is returned as it is.
    """
    if not number.startswith("+"):
        return number
    try:
        written = number_text(number.replace(_HIDDEN, "000"))
    except phonenumbers.NumberParseException:
        return number
    return written.removesuffix("000") + _HIDDEN if number.endswith(_HIDDEN) and written.endswith("000") else written


def result_text(call: Call) -> str:
    """Describe in a sentence how a call ended, as seen from the trunk in whose list of calls it is shown."""
    comes_in = call.direction == "in"
    match call.result:
        case "answered":
            text = _("Answered")
        case "busy":
            text = _("Busy: the phone system said so.") if comes_in else _("Busy")
        case "channels" if comes_in:
            text = _("Busy: all channels of the trunk were in use.")
        case "channels":
            text = _("Busy: all lines of the other side were in use.")
        case "own_channels":
            text = _("Not possible: all channels of the trunk were in use.")
        case "not_answered":
            text = _("Nobody answered.")
        case "not_registered" if comes_in:
            text = _("The phone system was not registered.")
        case "suspended" if comes_in:
            text = _("The trunk is suspended.")
        case "own_suspended":
            text = _("Not possible: the trunk is suspended.")
        case "destination":
            text = _("Not possible: the trunk may not call this destination.")
        case "not_registered" | "suspended":
            text = _("The other side cannot be reached at present.")
        case "silent" if comes_in:
            text = _("The phone system is registered, but did not react.")
        case "silent":
            text = _("The other side did not react.")
        case "given_up":
            text = (
                _("The caller hung up before anybody answered.") if comes_in else _("Hung up before anybody answered.")
            )
        case "forwarded":
            text = _forwarded_text(call)
        case "foreign_number" if call.own_number:
            number = display_number(call.own_number)
            text = _("Refused: the phone system showed %(number)s, which is not a number of this trunk.", number=number)
        case "foreign_number":
            text = _("Refused: the phone system did not show a number of this trunk.")
        case "no_such_number":
            text = _("Nobody has the dialled number.")
        case "circle":
            text = _("The call forwardings lead in a circle.")
        case "too_often":
            text = _("The call was forwarded too often.")
        case "refused":
            text = _refused_text(call.status) if comes_in else _refused_there_text(call.status)
        case _other:
            text = _("The call could not be put through.")
    return str(text)


def advice_text(call: Call) -> str:
    """Return what people at the location can do so that calls like this one succeed; empty if there is nothing."""
    comes_in = call.direction == "in"
    match call.result:
        case "channels" if comes_in:
            return str(_("Forward calls when busy, or ask us for more channels."))
        case "destination":
            return str(_("An administrator can allow it on the dashboard, under “Destinations of outgoing calls”."))
        case "own_channels":
            return str(_("End another call first, or ask us for more channels."))
        case "not_registered" if comes_in:
            return str(
                _("Check that the phone system is on and online, and that it has the credentials of this trunk.")
            )
        case "silent" if comes_in:
            return str(
                _("Check the router: it has to let our messages through to the phone system, and must not change them.")
            )
        case "foreign_number":
            return str(_("Enter a number of this trunk as the sender of outgoing calls in the phone system."))
        case "no_such_number":
            return str(
                _("Check how the phone system dials: with area code or country code, and no digit to get a line.")
            )
        case "circle" | "too_often":
            return str(_("Look through the call forwardings of the accounts concerned."))
        case "refused" if comes_in:
            return _refused_advice(call.status)
        case "not_relayed" if comes_in:
            return str(_("Check which address the phone system registers: it has to be one that we can reach."))
        case _other:
            return ""


def _forwarded_text(call: Call) -> str:
    number = display_number(call.forwarded_to)
    match call.forwarded_because:
        case "user-busy":
            return str(_("Forwarded to %(number)s, because it was busy.", number=number))
        case "no-answer":
            return str(_("Forwarded to %(number)s, because nobody answered.", number=number))
        case "unavailable":
            return str(_("Forwarded to %(number)s, because the phone system could not be reached.", number=number))
        case _other:
            return str(_("Forwarded to %(number)s, as always.", number=number))


def _refused_text(status: int) -> str:
    match status:
        case 401 | 403 | 407:
            return str(_("The phone system does not let our calls in."))
        case 404 | 484:
            return str(_("The phone system does not know this number."))
        case 480:
            return str(_("The phone system reached no phone."))
        case 415 | 488 | 606:
            return str(_("The phone system could not agree on how to transmit speech."))
        case 603:
            return str(_("The call was declined."))
        case _other:
            return str(_("The phone system refused the call."))


def _refused_there_text(status: int) -> str:
    if status in (404, 410, 484, 604):
        return str(_("Nobody has the dialled number."))
    return str(_("The other side refused the call."))


def _refused_advice(status: int) -> str:
    match status:
        case 401 | 403 | 407:
            return str(_("Let the phone system take calls from the registrar without a password."))
        case 404 | 484:
            return str(_("Enter this number in the phone system and say which phones ring. It is sent as +49 …"))
        case 480:
            return str(_("Check that the phones are on and signed in at the phone system."))
        case 415 | 488 | 606:
            return str(_("Allow G.711 (PCMA) without encryption in the phone system."))
        case _other:
            return ""
