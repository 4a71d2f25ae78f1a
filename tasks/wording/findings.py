"""Sentences for what the scheduled jobs found."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models.jobs.findings import Finding
from models.states import Reason
from models.values import BERLIN, Locale
from tasks.wording.requests import Words, in_language, reason_text

FINDINGS: Words = {
    "not_picked_up": (
        "Anfrage zu {customer_number} ist seit {since} fällig, aber kein Worker hat sie genommen.",
        "The request for {customer_number} has been due since {since}, but no worker has taken it.",
    ),
    "left_by_worker": (
        "Anfrage zu {customer_number} liegt bei einem Worker, dessen Frist seit {since} abgelaufen ist.",
        "The request for {customer_number} is in the hands of a worker whose lease ended at {since}.",
    ),
    "past_deadline": (
        "Anfrage zu {customer_number} wartet noch, obwohl die Frist seit {since} abgelaufen ist.",
        "The request for {customer_number} still waits, though its time ran out at {since}.",
    ),
    "held_long": (
        "Anfrage zu {customer_number} hängt seit {since} bei uns. {reason_text}",
        "The request for {customer_number} has been held since {since}. {reason_text}",
    ),
    "failed_long": (
        "Anfrage zu {customer_number} ist seit {since} gescheitert: erneut versuchen oder stornieren. {reason_text}",
        "The request for {customer_number} has failed since {since}: try it again or cancel it. {reason_text}",
    ),
    "proof_overdue": (
        "Anfrage zu {customer_number}: Erinnerung oder Ende des Nachweises ({what_text}) ist seit {since} überfällig.",
        "The request for {customer_number}: a reminder or the end of a proof ({what_text}) is overdue since {since}.",
    ),
    "mail_late": (
        "Nachricht „{template}“ wartet seit {since} auf den Versand, Versuche bisher: {attempts}.",
        "The message “{template}” has been waiting to leave since {since}; attempts so far: {attempts}.",
    ),
    "mail_refused": (
        "Nachricht „{template}“ wurde um {since} endgültig abgelehnt.",
        "The message “{template}” was refused for good at {since}.",
    ),
    "missing_there": (
        "Trunk {sip_user} der Kundennummer {customer_number} fehlt im Registrar.",
        "Trunk {sip_user} of customer number {customer_number} is missing from the registrar.",
    ),
    "differs_there": (
        "Trunk {sip_user} der Kundennummer {customer_number} steht anders im Registrar: {what_text}.",
        "Trunk {sip_user} of customer number {customer_number} differs in the registrar: {what_text}.",
    ),
    "doubled_there": (
        "Trunk {sip_user} der Kundennummer {customer_number} hat im Registrar doppelte Zeilen.",
        "Trunk {sip_user} of customer number {customer_number} has doubled rows in the registrar.",
    ),
    "still_there": (
        "Trunk {sip_user} der Kundennummer {customer_number} ist beendet, steht aber im Registrar.",
        "Trunk {sip_user} of customer number {customer_number} is closed, but still in the registrar.",
    ),
    "unknown_there": (
        "Der Registrar kennt {sip_user}@{domain} ({what_text}), wir nicht.",
        "The registrar knows {sip_user}@{domain} ({what_text}); we do not.",
    ),
    "too_many_unknown": (
        "Im Registrar stehen {count} SIP-Benutzer, die nicht von uns sind. Das sind so viele, dass keiner entfernt "
        "wurde. Vermutlich zeigt REGISTRAR_URL auf den falschen.",
        "The registrar has {count} SIP users that are not ours. That is so many that none was removed. "
        "Probably REGISTRAR_URL leads to the wrong one.",
    ),
    "block_missing_there": (
        "Der Rufnummernblock ab {number} (Größe {size}) fehlt im Registrar oder steht dort anders.",
        "The number block from {number} (size {size}) is missing from the registrar, or differs there.",
    ),
    "block_unknown_there": (
        "Der Registrar hält die Rufnummern ab {number} (Größe {size}) für unsere, wir nicht.",
        "The registrar takes the numbers from {number} (size {size}) for ours; they are not.",
    ),
    "too_many_unknown_blocks": (
        "Im Registrar stehen {count} Rufnummernblöcke, die nicht von uns sind. Das sind so viele, dass keiner entfernt "
        "wurde. Vermutlich zeigt REGISTRAR_URL auf den falschen.",
        "The registrar has {count} number blocks that are not ours. That is so many that none was removed. "
        "Probably REGISTRAR_URL leads to the wrong one.",
    ),
    "not_accepted": (
        "Trunk {sip_user} der Kundennummer {customer_number} lässt sich nicht in den Registrar schreiben, Versuche: "
        "{attempts}.",
        "Trunk {sip_user} of customer number {customer_number} cannot be written to the registrar; attempts: "
        "{attempts}.",
    ),
    "secret_unreadable": (
        "Das SIP-Passwort des Trunks {sip_user} der Kundennummer {customer_number} lässt sich mit unserem Schlüssel "
        "nicht lesen.",
        "The SIP password of trunk {sip_user} of customer number {customer_number} cannot be read with our key.",
    ),
    "not_listed": (
        "Kundennummer {customer_number} wird über die Sammelrechnung {invoice} abgerechnet, ist aber kein Nebenaccount "
        "von {main_customer_number}.",
        "Customer number {customer_number} is billed by collective invoice {invoice}, but is no sub-account of "
        "{main_customer_number}.",
    ),
    "cannot_be_listed": (
        "Kundennummer {customer_number} wird über die Sammelrechnung {invoice} abgerechnet, kann aber kein "
        "Nebenaccount von {main_customer_number} werden. {reason_text}",
        "Customer number {customer_number} is billed by collective invoice {invoice}, but cannot become a sub-account "
        "of {main_customer_number}. {reason_text}",
    ),
    "still_listed": (
        "Kundennummer {customer_number} ist auf keiner Sammelrechnung von {main_customer_number} mehr, aber noch "
        "dessen Nebenaccount.",
        "Customer number {customer_number} is on no collective invoice of {main_customer_number} any more, but still "
        "its sub-account.",
    ),
}


WHAT: Words = {
    "secret": ("Passwort", "password"),
    "numbers": ("Rufnummern", "numbers"),
    "channels": ("Kanäle", "channels"),
    "postal_code": ("Postleitzahl", "postal code"),
    "provision_key": ("Auftragsschlüssel", "provision key"),
    "forwardings": ("Rufweiterleitungen", "call forwardings"),
    "suspended": ("Sperre", "suspension"),
    "preferences": ("Einstellungen", "preferences"),
    "doubled": ("doppelte Zeilen", "doubled rows"),
    "subscriber": ("Zugang", "subscriber"),
    "registration": ("Anmeldung eines Telefons", "registration of a phone"),
    "email": ("E-Mail-Adresse", "e-mail address"),
    "address": ("Anschlussadresse", "connection address"),
    "consent": ("Zustimmung", "consent"),
}


def finding_text(finding: Finding, locale: Locale) -> str:
    """A finding as a sentence."""
    facts: dict[str, Any] = dict(finding.facts)
    if "since" in facts:
        facts["since"] = datetime.fromisoformat(facts["since"]).astimezone(BERLIN).strftime("%d.%m.%Y %H:%M")
    if "what" in facts:
        facts["what_text"] = ", ".join(in_language(locale, WHAT[what]) for what in facts["what"])
    if "reason" in facts:
        facts["reason_text"] = reason_text(Reason(facts["reason"]), locale)
    return in_language(locale, FINDINGS[finding.kind]).format(**facts)
