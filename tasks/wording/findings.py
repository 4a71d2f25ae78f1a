"""The sentences for findings (what scheduled jobs have found wrong), by kind of finding."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from models.jobs.findings import Finding
from models.states import Reason
from models.values import Locale
from tasks.wording.formats import moment_text
from tasks.wording.labels import message_text
from tasks.wording.reasons import reason_text
from tasks.wording.translate import N_, translate

FINDINGS: Mapping[str, str] = {
    "not_picked_up": N_(
        "The request for %(customer_number)s has been due since %(since)s, but no worker has taken it."
    ),
    "left_by_worker": N_(
        "The request for %(customer_number)s is in the hands of a worker whose lease ended at %(since)s."
    ),
    "left_behind": N_(
        "The request for %(customer_number)s had stayed with the main account that the account has left."
    ),
    "tried_often": N_(
        "The request for %(customer_number)s has not come further since %(since)s, after %(attempts)s attempts. "
        "Perhaps it kills the worker that takes it."
    ),
    "past_deadline": N_("The request for %(customer_number)s still waits, though its time ran out at %(since)s."),
    "held_long": N_("The request for %(customer_number)s has been held since %(since)s. %(reason_text)s"),
    "failed_long": N_(
        "The request for %(customer_number)s has failed since %(since)s: try it again or cancel it. %(reason_text)s"
    ),
    "proof_overdue": N_(
        "The request for %(customer_number)s: a reminder or the end of a proof (%(what_text)s) is overdue "
        "since %(since)s."
    ),
    "mail_late": N_(
        "The message “%(template)s” has been waiting to leave since %(since)s; attempts so far: %(attempts)s."
    ),
    "mail_refused": N_("The message “%(template)s” was refused for good at %(since)s."),
    "missing_there": N_("Trunk %(sip_user)s of customer number %(customer_number)s is missing from the registrar."),
    "differs_there": N_(
        "Trunk %(sip_user)s of customer number %(customer_number)s differs in the registrar: %(what_text)s."
    ),
    "doubled_there": N_("Trunk %(sip_user)s of customer number %(customer_number)s has doubled rows in the registrar."),
    "still_there": N_(
        "Trunk %(sip_user)s of customer number %(customer_number)s is closed, but still in the registrar."
    ),
    "not_adopted": N_(
        "Trunks that were taken over and are not adopted yet: %(count)s. Nothing is removed from the registrar until "
        "then: `standorte trunks adopt`."
    ),
    "unknown_there": N_("The registrar knows %(sip_user)s@%(domain)s (%(what_text)s); we do not."),
    "forgotten_here": N_(
        "The registrar has trunk %(sip_user)s@%(domain)s, which we have written, but our database does not know it. "
        "Nothing was removed: probably an older backup was restored. Customers may be using the trunk."
    ),
    "too_many_unknown": N_(
        "The registrar has %(count)s SIP users that are not ours. That is so many that none was removed. "
        "Probably REGISTRAR_URL leads to the wrong one."
    ),
    "block_missing_there": N_(
        "The number block from %(number)s (size %(size)s) is missing from the registrar, or differs there."
    ),
    "block_unknown_there": N_(
        "The registrar takes the numbers from %(number)s (size %(size)s) for ours; they are not."
    ),
    "block_set_aside": N_(
        "An order drew the number block from %(number)s (size %(size)s), but the registrar has one of its numbers as "
        "another trunk's. Nobody gets the block until its true owner is known."
    ),
    "block_reserved_for_nobody": N_(
        "The number block from %(number)s (size %(size)s) was reserved for a request that has ended."
    ),
    "too_many_unknown_blocks": N_(
        "The registrar has %(count)s number blocks that are not ours. That is so many that none was removed. "
        "Probably REGISTRAR_URL leads to the wrong one."
    ),
    "not_accepted": N_(
        "Trunk %(sip_user)s of customer number %(customer_number)s cannot be written to the registrar; attempts: "
        "%(attempts)s."
    ),
    "secret_unreadable": N_(
        "The SIP password of trunk %(sip_user)s of customer number %(customer_number)s cannot be read with our key."
    ),
    "not_listed": N_(
        "Customer number %(customer_number)s is billed by collective invoice %(invoice)s, but is no sub-account of "
        "%(main_customer_number)s."
    ),
    "cannot_be_listed": N_(
        "Customer number %(customer_number)s is billed by collective invoice %(invoice)s, but cannot become a "
        "sub-account of %(main_customer_number)s. %(reason_text)s"
    ),
    "cannot_leave": N_(
        "Customer number %(customer_number)s is on no collective invoice of %(main_customer_number)s any more, but "
        "cannot leave it. %(reason_text)s"
    ),
    "still_listed": N_(
        "Customer number %(customer_number)s is on no collective invoice of %(main_customer_number)s any more, but "
        "still its sub-account."
    ),
    "audit_entry_changed": N_(
        "Entry %(entry)s of the audit log, or its seal %(position)s, was changed after it was sealed."
    ),
    "audit_entry_removed": N_("Entry %(entry)s with seal %(position)s is missing from the audit log."),
    "audit_seal_removed": N_("Seal %(position)s of the audit log is missing, and perhaps the entry that it protected."),
    "audit_entry_inserted": N_(
        "Entry %(entry)s was added to the audit log later than it claims; the chain of seals is at %(position)s there."
    ),
    "audit_shortened": N_(
        "The seals of the audit log had reached %(position)s, and this seal is gone or another one: the end of the log "
        "was removed or rewritten."
    ),
}


WHAT: Mapping[str, str] = {
    "secret": N_("password"),
    "numbers": N_("numbers"),
    "channels": N_("channels"),
    "postal_code": N_("postal code"),
    "provision_key": N_("provision key"),
    "forwardings": N_("call forwardings"),
    "suspended": N_("suspension"),
    "destinations": N_("destinations of outgoing calls"),
    "request_uri": N_("request line of incoming calls"),
    "preferences": N_("preferences"),
    "doubled": N_("doubled rows"),
    "subscriber": N_("subscriber"),
    "registration": N_("registration of a phone"),
    "email": N_("e-mail address"),
    "address": N_("connection address"),
    "consent": N_("consent"),
    "main_consent": N_("consent of the present main account"),
}


def finding_text(finding: Finding, locale: Locale) -> str:
    """Return a finding of a scheduled job as a sentence in the language `locale`, with times in Europe/Berlin."""
    facts: dict[str, Any] = dict(finding.facts)
    if "since" in facts:
        facts["since"] = moment_text(datetime.fromisoformat(facts["since"]), locale)
    if "template" in facts:
        facts["template"] = message_text(facts["template"], locale)
    if "what" in facts:
        facts["what_text"] = ", ".join(translate(locale, WHAT[what]) for what in facts["what"])
    if "reason" in facts:
        facts["reason_text"] = reason_text(Reason(facts["reason"]), locale)
    return translate(locale, FINDINGS[finding.kind], **facts)
