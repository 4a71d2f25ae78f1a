"""The customer's words for what happens to a request: timeline, reasons, and what comes next. German and English.

One table each, so that a sentence is found and changed in one place; `str.format` fills in the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.people.rights import Role
from models.requests.requests import Request, TimelineEntry
from models.states import ENDED, Actor, Kind, Reason, Status, StepName
from models.values import Locale

Words = Mapping[str, tuple[str, str]]


def in_language(locale: Locale, words: tuple[str, str]) -> str:
    """The German or the English words."""
    return words[1] if locale == "en" else words[0]


TIMELINE: Words = {
    "order_received": (
        "Wir haben den Auftrag erhalten und beginnen zeitnah mit der Umsetzung. "
        "Die Kundennummer {customer_number} ist reserviert.",
        "We have received your order and will start work shortly. Customer number {customer_number} is reserved.",
    ),
    "link_received": (
        "Wir haben die Verknüpfungsanfrage für die Kundennummer {customer_number} erhalten.",
        "We have received the request to link customer number {customer_number}.",
    ),
    "email_asked": (
        "Wir haben {name} per E-Mail um eine Bestätigung der E-Mail-Adresse gebeten.",
        "We have asked {name} by e-mail to confirm the e-mail address.",
    ),
    "email_reminded": (
        "Wir haben {name} an die Bestätigung der E-Mail-Adresse erinnert.",
        "We have reminded {name} to confirm the e-mail address.",
    ),
    "letter_sent": (
        "Ein Brief mit einem Code ist an die Anschlussadresse in {city} unterwegs.",
        "A letter with a code is on its way to the connection address in {city}.",
    ),
    "document_received": (
        "Wir haben das Dokument „{name}“ als Adressnachweis erhalten und prüfen es.",
        "We have received the document “{name}” as address proof and are looking at it.",
    ),
    "document_released": (
        "Die Anschlussadresse ist durch das Dokument nachgewiesen.",
        "The connection address is proved by the document.",
    ),
    "document_refused": (
        "Das Dokument reicht als Adressnachweis nicht aus. Weiter geht es mit dem Code aus dem Brief oder einem "
        "anderen Dokument.",
        "The document is not enough as address proof. The letter's code or another document will do.",
    ),
    "order_verified": (
        "Die Angaben sind geprüft, E-Mail-Adresse und Anschlussadresse sind nachgewiesen.",
        "The details have been checked; the e-mail address and the connection address are proved.",
    ),
    "consent_asked": (
        "Wir bitten die Administratoren dieser Kundennummer per E-Mail um ihre Zustimmung.",
        "We ask the administrators of this customer number for their consent by e-mail.",
    ),
    "consent_reminded": (
        "Wir erinnern die Administratoren dieser Kundennummer an die Bitte um Zustimmung.",
        "We remind the administrators of this customer number that their consent is asked for.",
    ),
    "proved_administers_both": (
        "Die Berechtigung ist nachgewiesen: Sie verwalten beide Accounts.",
        "Ownership is proved: you administer both accounts.",
    ),
    "proved_credentials": (
        "Die Berechtigung ist nachgewiesen: durch die Zugangsdaten eines Administrators des Accounts.",
        "Ownership is proved: by the credentials of an administrator of the account.",
    ),
    "proved_link_code": (
        "Die Berechtigung ist nachgewiesen: durch einen Verknüpfungscode des Accounts.",
        "Ownership is proved: by a link code of the account.",
    ),
    "proved_consent": (
        "Die Berechtigung ist nachgewiesen: Ein Administrator des Accounts hat zugestimmt.",
        "Ownership is proved: an administrator of the account has agreed.",
    ),
    "proved_collective_invoice": (
        "Der Account wird über die Sammelrechnung des Hauptaccounts abgerechnet.",
        "The account is billed by the main account's collective invoice.",
    ),
    "invoice_joined": (
        "Die Kundennummer {customer_number} wird über Ihre Sammelrechnung {invoice} abgerechnet und deshalb Ihr "
        "Nebenaccount.",
        "Customer number {customer_number} is billed by your collective invoice {invoice} and therefore becomes your "
        "sub-account.",
    ),
    "invoice_left": (
        "Die Kundennummer {customer_number} wird nicht mehr über Ihre Sammelrechnung abgerechnet und löst sich deshalb "
        "von Ihrem Hauptaccount.",
        "Customer number {customer_number} is no longer billed by your collective invoice and therefore leaves your "
        "main account.",
    ),
    "provisioned": (
        "Der Anschluss ist eingerichtet: SIP-Trunk mit {channels} Kanälen, Rufnummer {numbers}.",
        "The line is set up: SIP trunk with {channels} channels, number {numbers}.",
    ),
    "attached": (
        "Der Account {customer_number} gehört jetzt als Nebenaccount zu Ihrem Hauptaccount {main_customer_number}.",
        "Account {customer_number} is now a sub-account of your main account {main_customer_number}.",
    ),
    "detach_received": (
        "Wir haben den Auftrag erhalten, den Account {customer_number} vom Hauptaccount zu lösen.",
        "We have received the request to detach account {customer_number} from the main account.",
    ),
    "detached": (
        "Der Account {customer_number} gehört nicht mehr zum Hauptaccount {main_customer_number}. Er behält Zugänge, "
        "Rufnummern, Vertrag und Adresse.",
        "Account {customer_number} no longer belongs to main account {main_customer_number}. It keeps its logins, "
        "numbers, contract and address.",
    ),
    "confirmed": (
        "Die Bestätigung an {name} ist per E-Mail verschickt.",
        "The confirmation to {name} has been sent by e-mail.",
    ),
    "mail_refused": (
        "Eine E-Mail an {name} konnte nicht zugestellt werden: Der Mailserver hat die Adresse abgelehnt.",
        "An e-mail to {name} could not be delivered: the mail server refused the address.",
    ),
    "completed": ("Abgeschlossen.", "Completed."),
    "retrying": (
        "Ein System antwortet gerade nicht. Wir versuchen es von selbst weiter, Sie müssen nichts tun.",
        "One of our systems is not answering. We keep trying by ourselves; you need not do anything.",
    ),
    "retried": ("Wir versuchen es erneut.", "We are trying again."),
    "pending": ("{reason_text}", "{reason_text}"),
    "held": ("Wir kümmern uns: {reason_text}", "We are on it: {reason_text}"),
    "rejected": ("Abgelehnt: {reason_text}", "Rejected: {reason_text}"),
    "failed": ("Nicht ausführbar: {reason_text}", "Could not be done: {reason_text}"),
    "cancelled": ("Storniert: {reason_text}", "Cancelled: {reason_text}"),
}

REASONS: Mapping[Reason, tuple[str, str]] = {
    Reason.OWNERSHIP_NOT_PROVEN: (
        "Die Berechtigung für diese Kundennummer ist nicht nachgewiesen. Bitte prüfen Sie Kundennummer und "
        "Zugangsdaten und stellen Sie die Anfrage neu.",
        "Ownership of this customer number is not proved. Please check the customer number and the credentials "
        "and make a new request.",
    ),
    Reason.CONSENT_AWAITED: (
        "Ein Administrator dieser Kundennummer muss der Verknüpfung zustimmen. Er findet Link und Code in seiner "
        "E-Mail. Schneller geht es mit einem Verknüpfungscode oder den Zugangsdaten.",
        "An administrator of this customer number has to agree to the link. They find a link and a code in their "
        "e-mail. A link code or credentials are faster.",
    ),
    Reason.DECLINED_BY_OWNER: (
        "Ein Administrator des Accounts hat die Verknüpfung abgelehnt.",
        "An administrator of the account has declined the link.",
    ),
    Reason.EMAIL_NOT_CONFIRMED: (
        "Die Ansprechperson muss ihre E-Mail-Adresse bestätigen: mit dem Code aus der E-Mail, die wir ihr geschickt "
        "haben.",
        "The contact has to confirm the e-mail address, with the code from the mail that we have sent.",
    ),
    Reason.ADDRESS_NOT_PROVED: (
        "Die Anschlussadresse muss nachgewiesen werden: mit dem Code aus dem Brief, den wir dorthin geschickt haben, "
        "oder mit einem Dokument (Handelsregisterauszug, Gewerbeanmeldung).",
        "The connection address has to be proved: with the code from the letter that we have sent there, or with a "
        "document (commercial register extract, business registration).",
    ),
    Reason.DOCUMENT_IN_REVIEW: (
        "Wir prüfen das Dokument, das die Anschlussadresse nachweisen soll.",
        "We are looking at the document that is to prove the connection address.",
    ),
    Reason.NOT_ATTACHED: (
        "Der Account gehört nicht zu diesem Hauptaccount.",
        "The account does not belong to this main account.",
    ),
    Reason.BILLED_TOGETHER: (
        "Der Account wird über die Sammelrechnung des Hauptaccounts abgerechnet und gehört deshalb zu ihm. Er löst "
        "sich, sobald er aus der Sammelrechnung genommen wird.",
        "The account is billed by the main account's collective invoice and therefore belongs to it. It is detached "
        "once it leaves the collective invoice.",
    ),
    Reason.ALREADY_ATTACHED: (
        "Der Account ist bereits einem Hauptaccount zugeordnet. Vor einer neuen Zuordnung muss er dort gelöst werden.",
        "The account already belongs to a main account. It has to be detached there before it can be linked anew.",
    ),
    Reason.IS_MAIN_ACCOUNT: (
        "Der Account ist selbst ein Hauptaccount und kann kein Nebenaccount werden.",
        "The account is a main account itself and cannot become a sub-account.",
    ),
    Reason.IS_SUB_ACCOUNT: (
        "Ihr Account ist inzwischen ein Nebenaccount. Nur einem Hauptaccount können Nebenaccounts zugeordnet werden.",
        "Your account has become a sub-account. Only a main account can have sub-accounts.",
    ),
    Reason.SAME_ACCOUNT: (
        "Ein Account kann sich nicht selbst zugeordnet werden.",
        "An account cannot be attached to itself.",
    ),
    Reason.ACCOUNT_CLOSED: ("Der Account ist geschlossen.", "The account is closed."),
    Reason.AREA_CODE_MISMATCH: (
        "Die Vorwahl passt nicht zum Ort der Anschlussadresse. Bitte bestellen Sie mit der Vorwahl des "
        "Ortes neu; diese Bestellung können Sie stornieren.",
        "The area code does not match the city of the connection address. Please order again with the area code of "
        "that place; this order can be cancelled.",
    ),
    Reason.PRODUCT_NOT_ORDERABLE: (
        "Das Produkt kann nicht mehr bestellt werden.",
        "The product can no longer be ordered.",
    ),
    Reason.NO_NUMBERS_AVAILABLE: (
        "In dieser Vorwahl ist gerade kein passender Rufnummernblock frei. Wir füllen den Vorrat auf und machen "
        "dann von selbst weiter.",
        "There is no free number block of this size in the area code at the moment. We will restock and carry on "
        "by ourselves.",
    ),
    Reason.GATEWAY_UNAVAILABLE: (
        "Ein System antwortet seit längerer Zeit nicht. Wir versuchen es weiter.",
        "One of our systems has not been answering for some time. We keep trying.",
    ),
    Reason.GATEWAY_REFUSED: (
        "Das Telefonnetz hat die Einrichtung abgelehnt. Unser Kundenservice prüft das.",
        "The telephone network refused the set-up. Our customer service is looking into it.",
    ),
    Reason.INTERNAL_ERROR: (
        "Bei uns ist ein Fehler aufgetreten. Unser Kundenservice prüft das.",
        "Something went wrong on our side. Our customer service is looking into it.",
    ),
    Reason.CANCELLED_BY_REQUESTER: ("auf Ihren Wunsch.", "as you asked."),
    Reason.CANCELLED_BY_BACK_OFFICE: ("durch unseren Kundenservice.", "by our customer service."),
    Reason.PROOF_EXPIRED: ("Die Frist ist abgelaufen.", "The time for an answer has run out."),
}

STATUSES: Mapping[Status, tuple[str, str]] = {
    Status.ACKNOWLEDGED: ("Eingegangen", "Received"),
    Status.IN_PROGRESS: ("In Arbeit", "In progress"),
    Status.PENDING: ("Wartet auf Antwort", "Waiting for an answer"),
    Status.HELD: ("In Klärung", "Being looked into"),
    Status.COMPLETED: ("Abgeschlossen", "Completed"),
    Status.REJECTED: ("Abgelehnt", "Rejected"),
    Status.CANCELLED: ("Storniert", "Cancelled"),
    Status.FAILED: ("Fehlgeschlagen", "Failed"),
}

STEPS: Mapping[StepName, tuple[str, str]] = {
    StepName.VERIFY: ("Prüfen", "Check"),
    StepName.PROVISION: ("Einrichten", "Set up"),
    StepName.ATTACH: ("Zuordnen", "Attach"),
    StepName.DETACH: ("Lösen", "Detach"),
    StepName.CONFIRM: ("Bestätigen", "Confirm"),
}

ROLES: Mapping[Role, tuple[str, str]] = {
    Role.ADMINISTRATOR: ("Administration", "Administrator"),
    Role.LOCATION_MANAGER: ("Standortmanagement", "Location manager"),
    Role.LOCAL_MEMBER: ("Team vor Ort", "Local team"),
}

_EXPECTED: Mapping[tuple[Kind, StepName], tuple[str, str]] = {
    (Kind.ORDER, StepName.VERIFY): (
        "Wir prüfen die Angaben. Das dauert meist nur Sekunden; danach richten wir den Anschluss ein.",
        "We are checking the details. That usually takes seconds; then we set up the line.",
    ),
    (Kind.ORDER, StepName.PROVISION): (
        "Wir richten Anschluss und Rufnummern ein. Das dauert meist weniger als eine Minute.",
        "We are setting up the line and its numbers. That usually takes less than a minute.",
    ),
    (Kind.LINK, StepName.VERIFY): (
        "Wir prüfen den Nachweis. Das dauert meist nur Sekunden; danach ordnen wir den Account Ihrem Hauptaccount zu.",
        "We are checking the proof. That usually takes seconds; then the account is attached to your main account.",
    ),
    (Kind.DETACH, StepName.VERIFY): (
        "Wir lösen den Account. Das dauert meist nur Sekunden.",
        "We are detaching the account. That usually takes seconds.",
    ),
}
_EXPECTED_SOON = (
    "Gleich ist alles erledigt. Anschließend bestätigen wir es allen Beteiligten per E-Mail.",
    "It is almost done. Then we confirm it by e-mail to all concerned.",
)
_EXPECTED_OF_PEOPLE: Mapping[Reason, tuple[str, str]] = {
    Reason.CONSENT_AWAITED: (
        "Sobald jemand zustimmt, wird der Account meist innerhalb einer Minute zugeordnet, und Sie bekommen eine "
        "E-Mail. Bleibt die Antwort aus, erinnern wir nach 7 und nach 12 Tagen; nach 14 Tagen verfällt die Anfrage.",
        "As soon as somebody agrees, the account is usually attached within a minute, and you get an e-mail. If there "
        "is no answer, we remind them after 7 and after 12 days; after 14 days the request lapses.",
    ),
    Reason.EMAIL_NOT_CONFIRMED: (
        "Die E-Mail ist meist in wenigen Minuten da. Bleibt die Bestätigung aus, erinnern wir nach 7 und nach 12 "
        "Tagen; nach 14 Tagen verfällt die Bestellung.",
        "The e-mail usually arrives within minutes. Without confirmation we remind after 7 and after 12 days; after "
        "14 days the order lapses.",
    ),
    Reason.ADDRESS_NOT_PROVED: (
        "Ein Brief ist meist zwei bis vier Werktage unterwegs. Mit einem Dokument kann es schneller gehen.",
        "A letter usually takes two to four working days. A document may be faster.",
    ),
    Reason.DOCUMENT_IN_REVIEW: (
        "Wir sehen Dokumente meist innerhalb weniger Werktage an. Der Code aus dem Brief gilt weiterhin.",
        "We usually look at documents within a few working days. The letter's code remains valid.",
    ),
}

_CARRIER_WORKS: Mapping[Kind, tuple[str, str]] = {
    Kind.ORDER: ("Wir richten den neuen Account ein.", "We are setting up the new account."),
    Kind.LINK: ("Wir prüfen und verknüpfen den Account.", "We are checking and linking the account."),
    Kind.DETACH: ("Wir lösen den Account.", "We are detaching the account."),
}


@dataclass(frozen=True, slots=True)
class NextAction:
    """Who has to act, what they have to do, and until when (None: no deadline for them)."""

    actor: Actor
    what: str
    until: datetime | None


def sentence(entry: TimelineEntry, locale: Locale) -> str:
    """A timeline entry in the customer's words."""
    facts: dict[str, Any] = dict(entry.facts)
    if "reason" in facts:
        facts["reason_text"] = reason_text(Reason(facts["reason"]), locale)
    return in_language(locale, TIMELINE[entry.code]).format(**facts)


def reason_text(reason: Reason, locale: Locale) -> str:
    """Why, and the way out."""
    return in_language(locale, REASONS[reason])


def status_text(status: Status, locale: Locale) -> str:
    """The name of a status."""
    return in_language(locale, STATUSES[status])


def step_text(step: StepName, locale: Locale) -> str:
    """The name of a step on the way of a request."""
    return in_language(locale, STEPS[step])


def role_text(role: Role, locale: Locale) -> str:
    """The name of a role."""
    return in_language(locale, ROLES[role])


def expectation(request: Request, locale: Locale) -> str | None:
    """What comes next and how long that usually takes; None if there is nothing to say."""
    if request.status in ENDED or request.status is Status.HELD:
        return None
    if request.status is Status.PENDING:
        words = _EXPECTED_OF_PEOPLE.get(request.reason) if request.reason is not None else None
        return in_language(locale, words) if words is not None else None
    return in_language(locale, _EXPECTED.get((request.kind, request.step), _EXPECTED_SOON))


def next_action(request: Request, locale: Locale) -> NextAction | None:
    """What happens next to a request; None once it has ended."""
    if request.status in ENDED:
        return None
    if request.waiting_for is not None and request.reason is not None:
        return NextAction(request.waiting_for, reason_text(request.reason, locale), request.waiting_until)
    if request.reason is not None:
        return NextAction(Actor.CARRIER, reason_text(request.reason, locale), None)
    return NextAction(Actor.CARRIER, in_language(locale, _CARRIER_WORKS[request.kind]), None)
