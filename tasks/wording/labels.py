"""The displayed names of request statuses, steps, roles, API token scopes, carrier's pages, mails and letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.people.rights import Role, Scope
from models.states import Status, StepName
from models.telephony.directory import Publication
from models.values import Locale
from tasks.settings import CarrierPage
from tasks.wording.translate import N_, translate

STATUSES: Mapping[Status, str] = {
    Status.ACKNOWLEDGED: N_("Received"),
    Status.IN_PROGRESS: N_("In progress"),
    Status.PENDING: N_("Waiting for an answer"),
    Status.HELD: N_("Being looked into"),
    Status.COMPLETED: N_("Completed"),
    Status.REJECTED: N_("Rejected"),
    Status.CANCELLED: N_("Cancelled"),
    Status.FAILED: N_("Failed"),
}

STEPS: Mapping[StepName, str] = {
    StepName.VERIFY: N_("Check"),
    StepName.PROVISION: N_("Set up"),
    StepName.ATTACH: N_("Attach"),
    StepName.DETACH: N_("Detach"),
    StepName.CHANGE: N_("Change"),
    StepName.ASSIGN: N_("Assign"),
    StepName.MOVE: N_("Move"),
    StepName.CANCEL: N_("End"),
    StepName.CONFIRM: N_("Confirm"),
}

ROLES: Mapping[Role, str] = {
    Role.ADMINISTRATOR: N_("Administrator"),
    Role.LOCATION_MANAGER: N_("Location manager"),
    Role.LOCAL_MEMBER: N_("Local team"),
}

SCOPES: Mapping[Scope, str] = {
    Scope.READ: N_("read"),
    Scope.WRITE: N_("order, change, cancel, link and detach"),
}

CARRIER_PAGES: Mapping[CarrierPage, str] = {
    CarrierPage.IMPRINT: N_("Imprint"),
    CarrierPage.PRIVACY: N_("Privacy notice"),
    CarrierPage.TERMS: N_("Terms and conditions"),
    CarrierPage.HELP: N_("Help"),
}


PUBLICATIONS: Mapping[Publication, str] = {
    Publication.PRINT: N_("Printed directory"),
    Publication.ONLINE: N_("Online directory"),
    Publication.ENQUIRIES: N_("Directory enquiries by phone"),
}
"""The displayed name of each place in which a directory entry can be published."""

MESSAGES: Mapping[str, str] = {
    "address_letter": N_("Letter with the code for the connection address"),
    "administrator_named": N_("Invitation of an administrator named by customer service"),
    "api_token_created": N_("Notice of a new API token"),
    "api_token_expires": N_("Reminder that an API token expires"),
    "approval_asked": N_("Question for approval"),
    "approval_asked_file": N_("Question for approval of a file's orders"),
    "approval_given": N_("Notice of an approval"),
    "bulk_ended": N_("End of a file's requests"),
    "bulk_receipt": N_("Receipt for a file"),
    "cancellation_completed": N_("Notice that contracts have ended by a cancellation"),
    "cancellation_receipt": N_("Confirmation of a cancellation of contracts"),
    "cancellation_taken_back": N_("Notice that a cancellation of contracts was taken back"),
    "change_completed": N_("Confirmation of a change"),
    "change_receipt": N_("Receipt of a change"),
    "consent_asked": N_("Question for consent to a link"),
    "contact_refused": N_("Notice that the contact's address refuses mail"),
    "certificate_refused": N_("Refused certificate of need"),
    "certificate_reminder": N_("Reminder of the certificate of need"),
    "contract_renews": N_("Reminder that a contract is extended"),
    "detach_completed": N_("Notice of the detachment to the main account"),
    "detach_completed_owner": N_("Notice of the detachment to the account"),
    "detach_planned": N_("Notice of a detachment planned for a day"),
    "detach_taken_back": N_("Notice that a planned detachment is taken back"),
    "document_refused": N_("Notice that a document was refused"),
    "email_code": N_("Code for the contact's e-mail address"),
    "factor_demanded": N_("Notice that a company requires a second factor"),
    "high_risk_allowed": N_("Notice of a high-risk destination"),
    "invitation": N_("Invitation to sign in"),
    "invoice_declined": N_("Answer that an account does not join the collective invoice"),
    "invoice_joined": N_("Notice that an account is on the collective invoice"),
    "invoice_left": N_("Notice that an account has left the collective invoice"),
    "invoice_offered": N_("Question whether the main account may pay"),
    "link_completed": N_("Notice of the link to the main account"),
    "link_completed_owner": N_("Notice of the link to the account"),
    "link_ended_owner": N_("Notice to the account that a link has come to nothing"),
    "link_receipt": N_("Receipt for a link request"),
    "login_changed": N_("Notice of a changed login"),
    "login_created": N_("Link to set the first password"),
    "login_erased": N_("Notice of a deleted login"),
    "main_consent_asked": N_("Question to the present main account about a switch"),
    "main_consent_ended": N_("Notice to the present main account that a switch has come to nothing"),
    "move_completed": N_("Confirmation of a move"),
    "move_receipt": N_("Receipt of a move"),
    "new_sign_in": N_("Notice of a sign-in in a new browser"),
    "numbers_completed": N_("Confirmation of additional phone numbers"),
    "numbers_receipt": N_("Receipt of an order of additional phone numbers"),
    "numbers_released": N_("Notice of phone numbers given back"),
    "office_digest": N_("Notice to the back office of requests that wait for it"),
    "order_completed": N_("Completed order, for the person who ordered"),
    "order_completed_contact": N_("Completed order, for the contact"),
    "order_receipt": N_("Receipt for an order"),
    "password_reset": N_("Link for a new password"),
    "request_ended": N_("Notice that a request has ended without success"),
    "request_held": N_("Notice that a request waits for us, and until when"),
    "secret_renewed": N_("Notice of a renewed SIP password"),
    "switch_completed_former": N_("Notice of a switch to the former main account"),
    "switch_completed_owner": N_("Notice of a switch to the account"),
}
"""The displayed names of mails and letters, by the name of their template."""


def message_text(template: str, locale: Locale) -> str:
    """Return the displayed name of a kind of mail or letter, in the language `locale`.

    Return the template's own name for templates of older versions, which have no displayed name.
    """
    return translate(locale, MESSAGES[template]) if template in MESSAGES else template


def status_text(status: Status, locale: Locale) -> str:
    """Return the displayed name of a request status in the language `locale`."""
    return translate(locale, STATUSES[status])


def step_text(step: StepName, locale: Locale) -> str:
    """Return the displayed name of a processing step of requests, such as "Attach", in the language `locale`."""
    return translate(locale, STEPS[step])


def role_text(role: Role, locale: Locale) -> str:
    """Return the displayed name of a person's role in the language `locale`."""
    return translate(locale, ROLES[role])


def scopes_text(scopes: Iterable[Scope], locale: Locale) -> str:
    """Return what an API token with these scopes may be used for, separated by commas, in the language `locale`."""
    chosen = set(scopes)
    return ", ".join(translate(locale, text) for scope, text in SCOPES.items() if scope in chosen)


def carrier_page_text(page: CarrierPage, locale: Locale) -> str:
    """Return the displayed name of one of the carrier's pages in the language `locale`."""
    return translate(locale, CARRIER_PAGES[page])
