"""Tests that the forms of the portal for decisions that are hard to undo ask for the second factor again."""

from __future__ import annotations

import types
from collections.abc import Iterator

from flask import Flask

from web.portal.people.step_up import ASKED_AGAIN
from web.portal.people.step_up_titles import STEP_TITLES

DECIDES = frozenset({
    "change_role", "remove_user", "invite", "renew", "name_administrator", "issue_token", "create_link_code", "decide",
    "submit_detach", "release_numbers", "give_back", "reveal", "set_password", "add_app", "add_passkey",
    "submit_link", "prove_ownership", "add_forwarding", "change_forwarding", "change_limits", "set_holder", "send",
    "remove_factor", "demand_factor", "ask_for_factor_reset", "person_data", "ask_for_erasure",
    "stop_demanding_factor", "join_invoice", "answer_offer", "leave_invoice",
    "renew_recovery_codes", "submit_cancellation", "set_approval_limit", "decide_approval", "decide_orders",
})  # fmt: skip
"""Names of the functions of `models` that carry out a decision which is hard to undo.

A page that calls one of them must ask for the second factor again.
"""
ASKED_BY_OTHER_MEANS = {"consents.answer_by_code"}
"""Endpoints that need no sign-in. They lead a person with a second factor to a page that asks for it."""


NOT_ASKED = frozenset({
    # Drafts, files that are not sent, and their checks: nothing happens yet.
    "orders.autosave", "orders.delete", "orders.save_step", "bulks.delete", "bulks.save", "bulks.upload", "links.start",
    # An order needs proofs by mail and post, can be cancelled, and its SIP password is asked for.
    "orders.place", "answers.cancel", "answers.retry", "answers.resend", "answers.correct_contact_address",
    "answers.enter_letter", "answers.upload",
    # It changes the company's own contract, which everybody concerned is told of, and can be changed again.
    "locations.change_contract", "locations.order_numbers",
    # The new address is proved by mail or post first, everybody concerned is told of it, and it can be taken back.
    "locations.move_account",
    # A company's own words for its locations.
    "locations.tags",
    # They ask for the password.
    "logins.end", "logins.end_others",
    # They take away what was given, or lead calls back to the phones.
    "forwardings.remove", "link_codes.void", "users.end_token", "users.withdraw_invitation",
    "locations.withdraw_from_directory",
    # They can be taken back at once, and give nobody anything.
    "locations.suspend", "locations.resume", "locations.request_uri", "locations.directory",
    # Staff, who sign in with a factor at least every twelve hours.
    "office.jobs_run", "office.place", "office.removals", "office.request_cancel", "office.request_document",
    "office.request_retry", "office.withdraw_reset",
    # No sign-in is needed, or it is the sign-in itself.
    "consents.answer_by_code", "emails.confirm", "letters.confirm", "logins.forgotten", "logins.reset",
    "people.confirm", "people.second_step", "people.set_language", "people.sign_in", "people.sign_out",
    "users.invitation",
})  # fmt: skip
"""Endpoints of all forms that do not ask for the second factor again, each group with its reason."""


def test_of_every_form_it_is_said_whether_it_asks_again(usual_app: Flask) -> None:
    rules = usual_app.url_map.iter_rules()
    forms = {rule.endpoint for rule in rules if "POST" in (rule.methods or ()) and not rule.rule.startswith("/api/")}
    assert forms - ASKED_AGAIN == NOT_ASKED


def test_every_page_that_decides_such_a_thing_asks_again(usual_app: Flask) -> None:
    deciding = {
        endpoint for endpoint, view in usual_app.view_functions.items()
        if not endpoint.startswith("api.") and not DECIDES.isdisjoint(_names(view, view.__module__))
    }  # fmt: skip
    assert deciding - ASKED_BY_OTHER_MEANS == ASKED_AGAIN
    assert set(usual_app.view_functions) >= ASKED_AGAIN
    # The page that asks says before what.
    assert set(STEP_TITLES) == ASKED_AGAIN


def _names(view: object, module: str) -> Iterator[str]:
    """Yield every name, such as that of a called function, in the code of `view` and of the functions that it calls.

    Only functions of the module named `module` are followed, at any depth.
    """
    seen, waiting = set[object](), [view]
    while waiting:
        function = waiting.pop()
        function = getattr(function, "__wrapped__", function)
        if not isinstance(function, types.FunctionType) or function in seen or function.__module__ != module:
            continue
        seen.add(function)
        codes = [function.__code__]
        for code in codes:
            codes += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
            yield from code.co_names
            waiting += [function.__globals__.get(name) for name in code.co_names]
