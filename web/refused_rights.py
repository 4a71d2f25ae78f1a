"""Records in the audit log that a person, or an API token, was refused an action for lack of a right."""

from __future__ import annotations

import re

import structlog
from flask import g, request
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError

from models.people.rights import Principal
from models.people.sign_in_log import note_refused_right
from web.resources import resources

log = structlog.get_logger()

_PLACEHOLDER = re.compile(r"<(?:[^<>:]+:)?(\w+)>")


def record_refused_right() -> None:
    """Record in the audit log that the sender of the current request lacks the right for it.

    Do nothing if nobody is signed in. Call this outside a transaction. If the database fails, log that and return,
    because the answer to the request does not depend on the record.
    """
    person = _sender()
    if person is None:
        return
    try:
        with resources().database.transaction() as session:
            number = (request.view_args or {}).get("customer_number")
            note_refused_right(session, person, _action(), resources().clock(), customer_number=number)
    except SQLAlchemyError as error:
        log.error("refusal.not_recorded", error=type(error).__name__)


def _sender() -> Principal | None:
    if request.path.startswith("/api/"):
        person = g.get("principal")
    else:
        person = current_user.principal if current_user.is_authenticated else None
    return person if isinstance(person, Principal) else None


def _action() -> str:
    """Return the method and the path of the current request: "POST /standorte/1234567/sip/…/passwort".

    Variable parts of the path are replaced by "…", except a customer number, because others may be secret.
    """
    shown = request.view_args or {}

    def part(found: re.Match[str]) -> str:
        return str(shown.get("customer_number", "…")) if found[1] == "customer_number" else "…"

    rule = request.url_rule.rule if request.url_rule is not None else "/"
    return f"{request.method} {_PLACEHOLDER.sub(part, rule)}"
