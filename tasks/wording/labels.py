"""The displayed names of statuses, steps and roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.people.rights import Role, Scope
from models.states import Status, StepName
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
    StepName.CONFIRM: N_("Confirm"),
}

ROLES: Mapping[Role, str] = {
    Role.ADMINISTRATOR: N_("Administrator"),
    Role.LOCATION_MANAGER: N_("Location manager"),
    Role.LOCAL_MEMBER: N_("Local team"),
}

SCOPES: Mapping[Scope, str] = {
    Scope.READ: N_("read"),
    Scope.WRITE: N_("order, link and detach"),
}

CARRIER_PAGES: Mapping[CarrierPage, str] = {
    CarrierPage.IMPRINT: N_("Imprint"),
    CarrierPage.PRIVACY: N_("Privacy notice"),
    CarrierPage.TERMS: N_("Terms and conditions"),
    CarrierPage.HELP: N_("Help"),
}


def status_text(status: Status, locale: Locale) -> str:
    """Return the displayed name of a request status in the language."""
    return translate(locale, STATUSES[status])


def step_text(step: StepName, locale: Locale) -> str:
    """Return the displayed name of a request's processing step in the language."""
    return translate(locale, STEPS[step])


def role_text(role: Role, locale: Locale) -> str:
    """Return the displayed name of a person's role in the language."""
    return translate(locale, ROLES[role])


def scopes_text(scopes: Iterable[Scope], locale: Locale) -> str:
    """Return what an API token with these scopes may do, in the language, separated by commas."""
    chosen = set(scopes)
    return ", ".join(translate(locale, text) for scope, text in SCOPES.items() if scope in chosen)


def carrier_page_text(page: CarrierPage, locale: Locale) -> str:
    """Return the displayed name of one of the carrier's pages in the language."""
    return translate(locale, CARRIER_PAGES[page])
