"""The sentences of a request's timeline, by the code of the timeline entry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from models.requests.timeline import TimelineEntry
from models.states import Reason, RefusalReason
from models.values import Locale
from tasks.wording.document_refusals import refusal_text
from tasks.wording.formats import are_several, long_date
from tasks.wording.reasons import reason_text
from tasks.wording.translate import N_, translate

TIMELINE: Mapping[str, str] = {
    "order_received": N_(
        "We have received your order and will start work shortly. Customer number %(customer_number)s is reserved."
    ),
    "link_received": N_("We have received the request to link customer number %(customer_number)s."),
    "switch_received": N_(
        "We have received the request to take customer number %(customer_number)s over, also from another main account."
    ),
    "main_consent_asked": N_(
        "The account belongs to another main account. We ask its administrators for their consent by e-mail."
    ),
    "main_consent_reminded": N_(
        "We remind the administrators of the present main account that their consent is asked for."
    ),
    "main_consented": N_("The present main account has agreed."),
    "email_asked": N_("We have asked %(name)s by e-mail to confirm the e-mail address."),
    "email_reminded": N_("We have reminded %(name)s to confirm the e-mail address."),
    "contact_refused": N_("Our e-mail to %(name)s came back: the mail server does not accept the address %(address)s."),
    "contact_corrected": N_(
        "%(by)s has corrected the e-mail address of %(name)s: it is now %(address)s. The link in earlier e-mails is "
        "void."
    ),
    "letter_sent": N_("A letter with a code is on its way to the connection address in %(city)s."),
    "document_received": N_("We have received the document “%(name)s” as address proof and are looking at it."),
    "document_released": N_("The connection address is proved by the document."),
    "certificate_received": N_(
        "We have received the document “%(name)s” as certificate of need for %(numbers)s phone numbers and are looking "
        "at it."
    ),
    "certificate_released": N_("The need for %(numbers)s phone numbers is certified."),
    "certificate_refused": N_("The document is not enough as certificate of need. Another document will do."),
    "certificate_refused_why": N_(
        "The document is not enough as certificate of need. %(refusal_text)s Another document will do."
    ),
    "document_refused": N_(
        "The document is not enough as address proof. The letter's code or another document will do."
    ),
    "document_refused_why": N_(
        "The document is not enough as address proof. %(refusal_text)s The letter's code or another document will do."
    ),
    "approval_given": N_("A second person of the company has approved it."),
    "approval_refused": N_("A second person of the company has refused it."),
    "area_code_confirmed": N_("We have confirmed that %(city)s lies in the Ortsnetz of %(area_code)s."),
    "order_verified": N_("The details have been checked; the e-mail address and the connection address are proved."),
    "consent_asked": N_("We ask the administrators of this customer number for their consent by e-mail."),
    "consent_reminded": N_("We remind the administrators of this customer number that their consent is asked for."),
    "proved_administers_both": N_("Ownership is proved: you administer both accounts."),
    "proved_credentials": N_("Ownership is proved: by the credentials of an administrator of the account."),
    "proved_link_code": N_("Ownership is proved: by a link code of the account."),
    "proved_consent": N_("Ownership is proved: an administrator of the account has agreed."),
    "proved_collective_invoice": N_("The account is billed by the main account's collective invoice."),
    "invoice_joined": N_(
        "Customer number %(customer_number)s is billed by your collective invoice %(invoice)s and therefore becomes "
        "your sub-account."
    ),
    "invoice_left": N_(
        "Customer number %(customer_number)s is no longer billed by your collective invoice and therefore leaves your "
        "main account."
    ),
    "provisioned": N_("The line is set up: SIP trunk with %(channels)s channels, number %(numbers)s."),
    "provisioned_with_several": N_("The line is set up: SIP trunk with %(channels)s channels, numbers %(numbers)s."),
    "local_user_invited": N_("%(name)s is invited by e-mail to sign in at the location."),
    "local_user_leads": N_(
        "%(name)s reaches the location through the main account already and therefore gets no invitation."
    ),
    "local_user_not_invited": N_(
        "%(name)s could not be invited: nobody of the main account may invite any more. Our customer service can help."
    ),
    "attached": N_("Account %(customer_number)s is now a sub-account of your main account %(main_customer_number)s."),
    "detach_received": N_("We have received the request to detach account %(customer_number)s from the main account."),
    "detach_scheduled": N_(
        "We have received the request to detach account %(customer_number)s from the main account: at the beginning of "
        "%(day_text)s. Until then it can be taken back."
    ),
    "detach_moved": N_("The detachment was asked for anew, for another day: %(day_text)s."),
    "detach_brought_forward": N_("The detachment was asked for anew: at once."),
    "detach_restored": N_(
        "The other side's earlier day has come to nothing. So account %(customer_number)s is detached from the main "
        "account at the beginning of %(day_text)s, as was asked for before."
    ),
    "detached": N_(
        "Account %(customer_number)s no longer belongs to main account %(main_customer_number)s. It keeps its logins, "
        "numbers, contract and address."
    ),
    "change_received": N_(
        "We have received the change of SIP trunk %(sip_user)s: %(channels)s channels instead of %(before)s."
    ),
    "change_scheduled": N_(
        "We have received the change of SIP trunk %(sip_user)s: from %(day_text)s %(channels)s channels instead of "
        "%(before)s. Until then you can take it back."
    ),
    "changed": N_("The contract is changed: %(channels)s channels instead of %(before)s."),
    "numbers_received": N_(
        "We have received the order of additional phone numbers for SIP trunk %(sip_user)s: area code %(area_code)s, "
        "count %(size)s."
    ),
    "numbers_scheduled": N_(
        "We have received the order of additional phone numbers for SIP trunk %(sip_user)s from %(day_text)s: area "
        "code %(area_code)s, count %(size)s. Until then you can take it back."
    ),
    "numbers_reserved": N_("Reserved for you: %(numbers)s."),
    "numbers_added": N_("Assigned to the SIP trunk: %(numbers)s."),
    "move_received": N_("We have received the move to %(street)s, %(postal_code)s %(city)s."),
    "move_scheduled": N_(
        "We have received the move to %(street)s, %(postal_code)s %(city)s on %(day_text)s. Until then you can take it "
        "back."
    ),
    "replacement_reserved": N_("Reserved for you: %(numbers)s, in place of %(before)s."),
    "address_proved": N_("The new connection address is proved."),
    "numbers_replaced": N_("Instead of %(before)s the SIP trunk has now %(numbers)s."),
    "forwarding_lost": N_(
        "The call forwarding of %(numbers)s to %(target)s is deleted, because its numbers were not all of one block."
    ),
    "moved": N_(
        "The account has moved to %(street)s, %(postal_code)s %(city)s. The telephone network gets address and numbers "
        "within moments."
    ),
    "location_written": N_("The telephone network has the new address. Emergency calls are routed by it from now on."),
    "cancellation_received": N_(
        "We have received the cancellation of customer number %(customer_number)s: its contracts end with the end of "
        "%(day_text)s. Until then it can be taken back."
    ),
    "contract_ended": N_(
        "The contracts of customer number %(customer_number)s have ended, its SIP trunks and phone numbers are "
        "switched off, and the account is closed."
    ),
    "confirmed": N_("The confirmation to %(name)s has been sent by e-mail."),
    "mail_refused": N_("An e-mail to %(name)s could not be delivered: the mail server refused the address."),
    "completed": N_("Completed."),
    "retrying": N_("One of our systems is not answering. We keep trying by ourselves; you need not do anything."),
    "retried": N_("We are trying again."),
    "pending": "%(reason_text)s",
    "held": N_("We are on it: %(reason_text)s"),
    "rejected": N_("Rejected: %(reason_text)s"),
    "failed": N_("Could not be done: %(reason_text)s"),
    "cancelled": N_("Cancelled: %(reason_text)s"),
}


def sentence(entry: TimelineEntry, locale: Locale) -> str:
    """Return a timeline entry of a request as a sentence for the customer in the language `locale`."""
    facts: dict[str, Any] = dict(entry.facts)
    if "reason" in facts:
        facts["reason_text"] = reason_text(Reason(facts["reason"]), locale, facts.get("area_codes", ()))
    if "day" in facts:
        facts["day_text"] = long_date(date.fromisoformat(facts["day"]), locale)
    code = entry.code
    # Entries older than the reasons have none.
    if "refusal" in facts:
        facts["refusal_text"] = refusal_text(RefusalReason(facts["refusal"]), facts["refusal_note"], locale)
        code = f"{code}_why"
    if code == "provisioned" and are_several(facts["numbers"]):
        code = "provisioned_with_several"
    return translate(locale, TIMELINE[code], **facts)
