"""The displayed names of the parts of the file with all data about a person, which the person can download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.values import Locale
from tasks.wording.translate import N_, translate

ABOUT = N_("About this file")
_EXPLAINED = N_(
    "This file has everything that we have stored about you as a person (GDPR, Art. 15 and 20). Times are in UTC. "
    "What you typed, and the contents of mails, stand as our system keeps them. Passwords, codes and keys are not in "
    "it. Questions are answered by our customer service."
)

KEYS: Mapping[str, str] = {
    "person": N_("You"),
    "roles": N_("Your roles"),
    "sign_ins": N_("Where you are signed in"),
    "second_factors": N_("Your second factors"),
    "recovery_codes": N_("Your recovery codes (without the codes)"),
    "api_tokens": N_("API tokens that you have made"),
    "audit_log": N_("What you have done in accounts"),
    "requests": N_("Your orders and link requests"),
    "order_drafts": N_("Your saved orders"),
    "files": N_("Files that you have uploaded"),
    "contact_of": N_("Locations whose contact you are"),
    "contact_email_asked": N_("Questions whether your e-mail address is right"),
    "invited_by_order": N_("Orders that name you as a user"),
    "invitations_to_me": N_("Invitations to you"),
    "invited_as": N_("Your name in the log of those who have invited you"),
    "invitations_by_me": N_("Invitations from you"),
    "link_codes": N_("Link codes that you have made"),
    "ownership_proofs": N_("Accounts that you have proved to be yours"),
    "consents": N_("Your answers to requests for consent"),
    "main_consents": N_("Your answers to requests to switch a sub-account"),
    "approvals": N_("What you have approved or refused as the second person"),
    "address_proofs_accepted": N_("Connection addresses that you have proved"),
    "documents_handed_in": N_("Documents that you have handed in"),
    "documents_decided": N_("Documents that you have decided on"),
    "places_decided": N_("Area codes that you have decided on"),
    "api_calls": N_("Calls of the API in your name"),
    "factor_reset": N_("The reset of your second factors that waits"),
    "factor_resets_asked": N_("Resets of second factors that you have asked for"),
    "erasure": N_("The deletion of your login"),
    "mails": N_("Mails to you"),
    "id": N_("Number"),
    "name": N_("Name"),
    "email": N_("E-mail address"),
    "email_confirmed_at": N_("E-mail address confirmed at"),
    "language": N_("Language"),
    "is_staff": N_("Works for the carrier"),
    "created_at": N_("Made at"),
    "approved": N_("Approved"),
    "approval_note": N_("Reason"),
    "approval_at": N_("Decided at"),
    "disabled_at": N_("Shut out since"),
    "customer_number": N_("Customer number"),
    "role": N_("Role"),
    "seen_at": N_("Last seen at"),
    "address": N_("Internet address"),
    "user_agent": N_("Browser"),
    "kind": N_("Kind"),
    "last_used_at": N_("Last used at"),
    "used_at": N_("Used at"),
    "scopes": N_("Allowed to"),
    "expires_at": N_("Valid until"),
    "revoked_at": N_("Revoked at"),
    "last_used_address": N_("Last used from"),
    "at": N_("Time"),
    "did": N_("What"),
    "details": N_("How and from where"),
    "status": N_("Status"),
    "reason": N_("Reason"),
    "typed": N_("What you typed"),
    "file_name": N_("File name"),
    "sent_at": N_("Sent at"),
    "contact_name": N_("Name of the contact"),
    "contact_email": N_("E-mail address of the contact"),
    "contact_phone": N_("Phone number of the contact"),
    "asked_at": N_("Asked at"),
    "confirmed_at": N_("Confirmed at"),
    "local_user_name": N_("Name of the user at the location"),
    "invited_at": N_("Invited at"),
    "ended_at": N_("Ended at"),
    "method": N_("By what"),
    "proved_at": N_("Proved at"),
    "request_id": N_("Number of the request"),
    "decision": N_("Answer"),
    "decided_at": N_("Decided at"),
    "media_type": N_("Kind of file"),
    "uploaded_at": N_("Uploaded at"),
    "released": N_("Accepted"),
    "postal_code": N_("Postal code"),
    "done_at": N_("Done at"),
    "template": N_("Kind of mail"),
    "facts": N_("Contents of the mail"),
    "queued_at": N_("Written at"),
    "refused_at": N_("Refused at"),
}
"""The displayed name of each key in the data that `models.views.person_data` returns."""


def worded(data: Mapping[str, Any], locale: Locale) -> dict[str, Any]:
    """Return a person's data with its keys translated, for the file that the person downloads.

    `data` is the nested dict that `models.views.person_data.person_data` returns. The first key of the result is "About
    this file", translated; its value explains the file. Values are not translated, nor are keys within `typed`,
    `facts`, `scopes` and `details`. Raises `KeyError` for a key that `KEYS` does not have.
    """
    return {translate(locale, ABOUT): translate(locale, _EXPLAINED), **_named(data, locale)}


def _named(data: Mapping[str, Any], locale: Locale) -> dict[str, Any]:
    return {translate(locale, KEYS[key]): _value(key, value, locale) for key, value in data.items()}


def _value(key: str, value: Any, locale: Locale) -> Any:
    if key in ("typed", "facts", "scopes", "details"):
        return value
    if isinstance(value, Mapping):
        return _named(value, locale)
    if isinstance(value, list):
        return [_value(key, one, locale) for one in value]
    return value
