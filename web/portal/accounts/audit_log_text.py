"""Sentences that describe the entries of an account's audit log: what was done."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import abort, request
from flask_babel import gettext as _

from models.accounts.company_limits import Limit
from models.people.audit_log import AuditEntry, AuditEvent, LogPart
from models.people.rights import Role
from models.people.sign_in_log import Refused, SignedInBy, SignedOut
from models.proofs.proofs import Decision
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.trunks import RequestUri
from tasks.wording.company_limits import NAMES as LIMIT_NAMES
from tasks.wording.formats import are_several, long_date, number_text
from tasks.wording.translate import N_, translate
from web.portal.page.locale import locale
from web.portal.page.money import euros
from web.portal.people.users import ROLE_NAMES
from web.portal.telephony.country_names import limit_text
from web.portal.telephony.forwarding_text import forwarding_text

PART_WORDS = {LogPart.ACCESS: "zugriffe", LogPart.DEEDS: "handlungen"}
"""The value of the query parameter `teil` for each part of the log."""
_SIGNED_IN_BY = {
    SignedInBy.PASSWORD: N_("Signed in with the password (%(place)s)."),
    SignedInBy.CODE: N_("Signed in with password and code (%(place)s)."),
    SignedInBy.PASSKEY: N_("Signed in with password and passkey (%(place)s)."),
    SignedInBy.INVITATION: N_("Signed in by the invitation (%(place)s)."),
}
_REFUSED = {
    Refused.PASSWORD: N_(
        "A sign-in with this login was refused: wrong password, or the login is disabled (%(place)s)."
    ),
    Refused.FACTOR: N_("A wrong second factor was entered for this login (%(place)s)."),
    Refused.OWN_PASSWORD: N_("A wrong password was entered, after the sign-in, for this login (%(place)s)."),
    Refused.PROOF: N_(
        "This login was entered by somebody as the proof of a right to a customer number, and was not accepted."
    ),
}
_SIGNED_OUT = {
    SignedOut.HERE: N_("Signed out (%(place)s)."),
    SignedOut.ONE: N_("Signed out in another browser, from this one: %(place)s."),
    SignedOut.OTHERS: N_("Signed out in all other browsers, from this one: %(place)s."),
    SignedOut.EVERYWHERE: N_("Signed %(name)s out everywhere."),
    SignedOut.EVERYBODY: N_("Signed everybody out."),
}


def chosen_part() -> LogPart | None:
    """Return the part of the audit log that the query parameter `teil` chooses; None (all) without that parameter.

    Abort with 404 if there is no such part.
    """
    word = request.args.get("teil", "")
    if not word:
        return None
    found = next((part for part, value in PART_WORDS.items() if value == word), None)
    return found or abort(404)


def deed_text(entry: AuditEntry) -> str:
    """Describe in one sentence what the audit log entry says was done, in the page's language.

    The sentence leaves out the person and the time, which the pages show beside it.
    """
    facts = entry.facts
    number = facts.get("customer_number")
    match entry.deed:
        case AuditEvent.LOOKED_IN:
            return str(_("Looked at the dashboard."))
        case AuditEvent.SECRET_SEEN:
            return str(_("Had the SIP password of %(user)s shown.", user=facts["sip_user"]))
        case AuditEvent.SECRET_RENEWED:
            return str(_("Renewed the SIP password of %(user)s.", user=facts["sip_user"]))
        case AuditEvent.TRUNK_SUSPENDED if "reason" in facts:
            return str(
                _("Suspended SIP trunk %(user)s. Reason: %(reason)s", user=facts["sip_user"], reason=facts["reason"])
            )
        case AuditEvent.TRUNK_SUSPENDED:
            return str(_("Suspended SIP trunk %(user)s.", user=facts["sip_user"]))
        case AuditEvent.TRUNK_RESUMED:
            return str(_("Lifted the suspension of SIP trunk %(user)s.", user=facts["sip_user"]))
        case AuditEvent.TRUNK_TAKEN_OVER:
            told = {"user": facts["sip_user"], "day": long_date(date.fromisoformat(facts["day"]), locale())}
            return str(_("Took over SIP trunk %(user)s, whose contract has run since %(day)s.", **told))
        case AuditEvent.TRUNK_ADOPTED:
            return str(_("Took SIP trunk %(user)s into the administration of the portal.", user=facts["sip_user"]))
        case AuditEvent.REQUEST_URI_CHANGED if facts["request_uri"] == RequestUri.CONTACT:
            return str(_("SIP trunk %(user)s is called as it registered from now on.", user=facts["sip_user"]))
        case AuditEvent.REQUEST_URI_CHANGED:
            return str(_("SIP trunk %(user)s is called by the dialled number from now on.", user=facts["sip_user"]))
        case AuditEvent.DESTINATIONS_CHANGED:
            told = {"user": facts["sip_user"], "limit": limit_text(facts["countries"])}
            if facts["high_risk"]:
                return str(_("SIP trunk %(user)s may call: %(limit)s; high-risk destinations, too.", **told))
            return str(_("SIP trunk %(user)s may call: %(limit)s; no high-risk destinations.", **told))
        case AuditEvent.TOKEN_CREATED:
            return str(_("Made the API token “%(name)s”.", name=facts["name"]))
        case AuditEvent.TOKEN_REVOKED:
            return str(_("Revoked the API token “%(name)s”.", name=facts["name"]))
        case AuditEvent.PASSWORD_CHANGED:
            return str(_("Changed the own password."))
        case AuditEvent.FACTOR_ADDED:
            return str(_("Added a second factor to the own login: %(name)s.", name=facts["name"]))
        case AuditEvent.FACTOR_REMOVED:
            return str(_("Removed a second factor of the own login: %(name)s.", name=facts["name"]))
        case AuditEvent.FACTOR_RESET_ASKED:
            told = {"name": entry.about_name or "", "proof": facts["proof"]}
            return str(_("Asked for all second factors of %(name)s to be removed in a day. Proof: %(proof)s", **told))
        case AuditEvent.FACTOR_RESET_WITHDRAWN:
            return str(_("Withdrew the removal of all second factors of %(name)s.", name=entry.about_name or ""))
        case AuditEvent.FACTORS_RESET:
            return str(
                _(
                    "Removed all second factors of %(name)s. Proof: %(proof)s",
                    name=facts.get("person") or entry.about_name or "",
                    proof=facts["proof"],
                )
            )
        case AuditEvent.RECOVERY_CODES_MADE:
            return str(_("Made new recovery codes for the own login."))
        case AuditEvent.RECOVERY_CODE_USED:
            return str(_("Used a recovery code in place of the second factor."))
        case AuditEvent.APPROVAL_LIMIT_SET if facts["cents"] is None:
            return str(_("Ended that a second person approves orders."))
        case AuditEvent.APPROVAL_LIMIT_SET:
            return str(_("Set that a second person approves orders from %(sum)s a month.", sum=euros(facts["cents"])))
        case AuditEvent.APPROVAL_GIVEN:
            return str(_("Approved what was ordered for customer number %(number)s (%(sum)s a month).",
                         number=number, sum=euros(facts["cents"])))  # fmt: skip
        case AuditEvent.APPROVAL_REFUSED:
            return str(_("Refused what was ordered for customer number %(number)s (%(sum)s a month).",
                         number=number, sum=euros(facts["cents"])))  # fmt: skip
        case AuditEvent.FACTOR_DEMANDED:
            day = long_date(date.fromisoformat(facts["day"]), locale())
            return str(_("Requires a second factor of all persons of the company, from the end of %(day)s.", day=day))
        case AuditEvent.FACTOR_NOT_DEMANDED:
            return str(_("Does not require a second factor of the persons of the company any more."))
        case AuditEvent.LOGIN_CREATED:
            return str(_("Made a login for %(name)s.", name=_about(entry)))
        case AuditEvent.LOGIN_DISABLED:
            return str(_("Disabled the login of %(name)s.", name=_about(entry)))
        case AuditEvent.LOGIN_ENABLED:
            return str(_("Enabled the login of %(name)s again.", name=_about(entry)))
        case AuditEvent.ACCOUNT_CREATED if "imported" in facts:
            return str(_("Took over the account from the carrier's list of customers."))
        case AuditEvent.ACCOUNT_UPDATED:
            told = {"name": facts.get("name", ""), "before": facts.get("before", "")}
            if "name" not in facts:
                return str(_("Took over another contact from the carrier's list of customers."))
            if not facts["contact"]:
                return str(_("Took over the name “%(name)s” from the carrier's list, before “%(before)s”.", **told))
            return str(
                _(
                    "Took over the name “%(name)s”, before “%(before)s”, and another contact from the carrier's list.",
                    **told,
                )
            )
        case AuditEvent.TAGS_SET if facts["tags"]:
            return str(_("Set the tags: %(tags)s.", tags=", ".join(facts["tags"])))
        case AuditEvent.TAGS_SET:
            return str(_("Removed all tags."))
        case AuditEvent.ACCOUNT_CREATED:
            return str(_("Made the account."))
        case AuditEvent.ADMINISTRATOR_ADDED:
            return str(_("Made %(name)s the administrator.", name=_about(entry)))
        case AuditEvent.INVOICE_JOINED:
            return str(_("Put the account on collective invoice %(number)s.", number=facts["invoice"]))
        case AuditEvent.INVOICE_LEFT:
            return str(_("Took the account off collective invoice %(number)s.", number=facts["invoice"]))
        case AuditEvent.PRICE_SET:
            told = {"product": facts["product"], "day": long_date(date.fromisoformat(facts["day"]), locale())}
            return str(_("Set the price of %(product)s from %(day)s.", **told))
        case AuditEvent.PRODUCT_WITHDRAWN:
            told = {"product": facts["product"], "day": long_date(date.fromisoformat(facts["day"]), locale())}
            return str(_("Withdrew %(product)s from %(day)s.", **told))
        case AuditEvent.NUMBERS_STOCKED:
            return str(_("Added phone numbers to the pool: %(numbers)s.", numbers=facts["numbers"]))
        case AuditEvent.NUMBERS_WITHDRAWN:
            return str(_("Withdrew phone numbers from the pool: %(numbers)s.", numbers=facts["numbers"]))
        case AuditEvent.LIMIT_CHANGED:
            what = translate(locale(), LIMIT_NAMES[Limit(facts["limit"])])
            if facts["allowed"] is None:
                return str(_("Brought back the usual limit of the company: %(what)s.", what=what))
            return str(_("Gave the company a limit of its own: %(allowed)s %(what)s.", **facts, what=what))
        case AuditEvent.HIGH_RISK_ADDED:
            return str(_("Made destinations high-risk: %(prefix)s. Reason: %(reason)s", **facts))
        case AuditEvent.HIGH_RISK_REMOVED:
            return str(_("Made destinations usual ones again: %(prefix)s.", prefix=facts["prefix"]))
        case AuditEvent.NUMBERS_RELEASED:
            if are_several(facts["numbers"]):
                return str(_("Gave the phone numbers %(numbers)s back.", numbers=facts["numbers"]))
            return str(_("Gave the phone number %(numbers)s back.", numbers=facts["numbers"]))
        case AuditEvent.ACCOUNT_CLOSED:
            if "ended_at" in facts:
                return str(_("Closed the account, whose contracts had ended by a cancellation."))
            return str(_("Closed the account."))
        case AuditEvent.FORWARDING_ADDED:
            return str(_("Set up a call forwarding: %(forwarding)s.", forwarding=_forwarding(facts)))
        case AuditEvent.FORWARDING_CHANGED:
            before = _forwarding(facts["before"])
            return str(_("Changed a call forwarding: %(new)s; before: %(old)s.", new=_forwarding(facts), old=before))
        case AuditEvent.FORWARDING_REMOVED:
            return str(_("Removed a call forwarding: %(forwarding)s.", forwarding=_forwarding(facts)))
        case AuditEvent.DETACH_ASKED if "day" in facts:
            day = long_date(date.fromisoformat(facts["day"]), locale())
            return str(
                _("Asked to detach the account from main account %(number)s on %(day)s.", number=facts["main"], day=day)
            )
        case AuditEvent.DETACH_ASKED:
            return str(_("Asked to detach the account from main account %(number)s.", number=facts["main"]))
        case AuditEvent.CHANGE_ASKED:
            told = {"user": facts["sip_user"], "channels": facts["channels"], "before": facts["before"]}
            if "day" in facts:
                told["day"] = long_date(date.fromisoformat(facts["day"]), locale())
                said = _(
                    "Asked to change SIP trunk %(user)s from %(day)s: %(channels)s channels, before %(before)s.", **told
                )
                return str(said)
            return str(_("Asked to change SIP trunk %(user)s: %(channels)s channels, before %(before)s.", **told))
        case AuditEvent.NUMBERS_ASKED:
            told = {"user": facts["sip_user"], "code": facts["area_code"], "size": facts["size"]}
            if "day" in facts:
                told["day"] = long_date(date.fromisoformat(facts["day"]), locale())
                said = _(
                    "Ordered additional phone numbers for SIP trunk %(user)s from %(day)s: area code %(code)s, count "
                    "%(size)s.",
                    **told,
                )
                return str(said)
            said = _(
                "Ordered additional phone numbers for SIP trunk %(user)s: area code %(code)s, count %(size)s.", **told
            )
            return str(said)
        case AuditEvent.MOVE_ASKED:
            told = {"postal_code": facts["postal_code"], "city": facts["city"]}
            if "day" in facts:
                told["day"] = long_date(date.fromisoformat(facts["day"]), locale())
                said = _("Ordered the move to %(postal_code)s %(city)s on %(day)s.", **told)
                return str(said)
            return str(_("Ordered the move to %(postal_code)s %(city)s.", **told))
        case AuditEvent.CANCELLATION_ASKED:
            day = long_date(date.fromisoformat(facts["day"]), locale())
            return str(_("Cancelled customer number and contracts to the end of %(day)s.", day=day))
        case AuditEvent.SWITCH_ANSWERED if facts["decision"] == Decision.ACCEPTED:
            return str(_("Agreed that the account goes to main account %(main)s.", main=facts["main"]))
        case AuditEvent.SWITCH_ANSWERED:
            return str(_("Declined that the account goes to main account %(main)s.", main=facts["main"]))
        case AuditEvent.HOLDER_CHANGED if facts["before"] is None:
            return str(_("Entered the contract holder: %(name)s.", name=facts["name"]))
        case AuditEvent.HOLDER_CHANGED:
            return str(_("Changed the contract holder: %(name)s; before: %(before)s.", **facts))
        case AuditEvent.DIRECTORY_CHANGED:
            told = {"name": facts["name"], "number": number_text(facts["number"])}
            return str(_("Saved the directory entry: %(name)s, %(number)s.", **told))
        case AuditEvent.DIRECTORY_WITHDRAWN:
            return str(_("Withdrew the directory entry: %(name)s.", name=facts["name"]))
        case AuditEvent.USER_INVITED if "proof" in facts:
            text = {"name": _about(entry), "role": _role(facts["role"]), "proof": facts["proof"]}
            return str(_("Invited %(name)s as %(role)s. Proof: %(proof)s", **text))
        case AuditEvent.USER_INVITED:
            return str(_("Invited %(name)s as %(role)s.", name=_about(entry), role=_role(facts["role"])))
        case AuditEvent.USER_ENTERED:
            return str(_("Entered %(name)s as %(role)s.", name=_about(entry), role=_role(facts["role"])))
        case AuditEvent.INVITATION_WITHDRAWN:
            return str(_("Withdrew the invitation of %(name)s.", name=_about(entry)))
        case AuditEvent.USER_JOINED:
            return str(_("Accepted the invitation as %(role)s.", role=_role(facts["role"])))
        case AuditEvent.ROLE_CHANGED:
            text = {"name": _about(entry), "role": _role(facts["role"]), "before": _role(facts["before"])}
            return str(_("Changed the role of %(name)s from %(before)s to %(role)s.", **text))
        case AuditEvent.USER_REMOVED if facts.get("by_themselves"):
            return str(_("Has left the users (%(role)s).", role=_role(facts["role"])))
        case AuditEvent.USER_REMOVED:
            return str(_("Removed %(name)s (%(role)s) from the users.", name=_about(entry), role=_role(facts["role"])))
        case AuditEvent.REQUEST_RETRIED:
            return str(_("Had the request for customer number %(number)s tried again.", number=number))
        case AuditEvent.REQUEST_CANCELLED:
            return str(_("Cancelled the request for customer number %(number)s.", number=number))
        case AuditEvent.DOCUMENT_OPENED if facts.get("certificate"):
            return str(_("Opened the certificate of need for customer number %(number)s.", number=number))
        case AuditEvent.DOCUMENT_RELEASED if facts.get("certificate"):
            return str(_("Released the certificate of need for customer number %(number)s.", number=number))
        case AuditEvent.DOCUMENT_REFUSED if facts.get("certificate"):
            return str(_("Refused the certificate of need for customer number %(number)s.", number=number))
        case AuditEvent.DOCUMENT_OPENED:
            return str(_("Opened the address proof for customer number %(number)s.", number=number))
        case AuditEvent.DOCUMENT_RELEASED:
            return str(_("Released the address proof for customer number %(number)s.", number=number))
        case AuditEvent.DOCUMENT_REFUSED:
            return str(_("Refused the address proof for customer number %(number)s.", number=number))
        case AuditEvent.REQUEST_SEEN:
            return str(_("Looked at the request for customer number %(number)s.", number=number))
        case AuditEvent.FOUND_IN_SEARCH:
            return str(_("Had the account, or a person of it, shown in the back office."))
        case AuditEvent.SIGNED_IN:
            return _access(_SIGNED_IN_BY[facts["by"]], entry)
        case AuditEvent.SIGNED_OUT:
            return _access(_SIGNED_OUT[facts["what"]], entry)
        case AuditEvent.SIGN_IN_REFUSED:
            said = [_access(_REFUSED[facts["why"]], entry)]
            if facts.get("is_last"):
                said.append(str(_("That was the last try that was allowed for now.")))
            return " ".join([*said, *_no_more(facts)])
        case AuditEvent.RIGHT_REFUSED:
            return " ".join(
                [str(_("Was refused for lack of a right: %(action)s.", action=facts["action"])), *_no_more(facts)]
            )
        case AuditEvent.TOKEN_USED:
            return str(_("Used the API token “%(name)s” (%(place)s).", name=facts["name"], place=_place(facts)))


def _access(text: str, entry: AuditEntry) -> str:
    return str(_(text, place=_place(entry.facts), name=_about(entry)))


def _place(facts: dict[str, Any]) -> str:
    """Return the browser and the network in the facts of an audit entry: "Firefox, Windows, 203.0.113.0/24".

    A part that is missing is left out; without both, return the word for "unknown" in the page's language.
    """
    return ", ".join(filter(None, (facts.get("browser"), facts.get("network")))) or str(_("unknown"))


def _no_more(facts: dict[str, Any]) -> list[str]:
    return [str(_("Further ones within 24 hours are not listed."))] if facts.get("is_full") else []


def _about(entry: AuditEntry) -> str:
    # Entries from before people could be erased have the name itself.
    return str(entry.facts.get("name") or entry.about_name or _("(name deleted)"))


def _role(role: str) -> str:
    return str(ROLE_NAMES[Role(role)])


def _forwarding(facts: dict[str, Any]) -> str:
    # Entries from before there were forwardings of single numbers have no numbers.
    first, last = facts.get("numbers") or (None, None)
    logged = CallForwarding(
        condition=Condition(facts["condition"]),
        target=facts["target"],
        after_seconds=facts["after_seconds"],
        hours=tuple((start, end) for start, end in facts["hours"]),
        first_number=first,
        last_number=last,
    )
    off = "" if facts["enabled"] else " ({})".format(_("switched off"))
    return forwarding_text(logged) + off
