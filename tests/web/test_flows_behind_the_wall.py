"""Repeats tests of other modules with row-level security switched on.

In each of them a person needs rows to which the right begins only later, such as to accept an invitation, or has
already ended, such as those of an account that was detached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from models.db.session import Database
from tests.fakes import FakeClock
from tests.web.api import test_changes
from tests.web.conftest import Back, Front, FrontOf
from tests.web.portal.changes import test_cancellation_pages, test_change_pages, test_more_numbers, test_move
from tests.web.portal.links import test_switch
from tests.web.portal.people import test_company_factor, test_erasure, test_invitations
from tests.web.portal.proofs import test_consent_pages
from tests.web.portal.requests import test_left_accounts
from tests.web.test_row_security import enforced
from workers.stack.postgres import EmbeddedPostgres

Flow = Callable[[Front, Back, Database, FakeClock], None]
FLOWS: dict[str, Flow] = {
    "erased": lambda front, back, owner, _: (
        test_erasure.test_name_and_address_are_gone_everywhere_but_in_business_letters(front, back, owner)
    ),
    "erased and invited again": lambda front, back, owner, _: (
        test_erasure.test_who_is_invited_again_meanwhile_accepts_once_the_former_login_is_gone(front, back, owner)
    ),
    "invited": lambda front, back, *_: test_invitations.test_an_existing_login_keeps_its_password(front, back),
    "asked after joining": lambda front, back, *_: test_consent_pages.test_who_joins_the_account_is_asked_too(
        front, back
    ),
    "a factor demanded, credentials": lambda front, back, _, clock: (
        test_company_factor.test_after_the_grace_the_password_alone_proves_no_ownership(front, back, clock)
    ),
    "a factor demanded, consent": lambda front, back, _, clock: (
        test_company_factor.test_after_the_grace_the_mailed_link_alone_consents_for_nobody(front, back, clock, "other")
    ),
    "numbers reserved and freed": lambda front, back, *_: (
        test_more_numbers.test_numbers_on_a_day_are_ordered_seen_and_taken_back(
            front, test_more_numbers.make_koeln(front), back, "administrator"
        )
    ),
    "moved, the code typed by the local team": lambda front, back, *_: (
        test_move.test_a_move_on_a_day_is_ordered_proved_seen_and_taken_back(
            front, test_more_numbers.make_koeln(front, stocked="089"), back, "administrator"
        )
    ),
    "moved, the letter asked for again": lambda front, back, *_: (
        test_move.test_the_letter_is_asked_for_again_and_counts_for_the_side_that_asks(
            front, test_more_numbers.make_koeln(front, stocked="089"), back, "administrator"
        )
    ),
    "moved, the code typed by a stranger": lambda front, back, *_: test_move.test_who_has_the_letter_needs_no_login(
        front, test_more_numbers.make_koeln(front, stocked="089"), back
    ),
    "cancelled": lambda front, back, *_: (
        test_cancellation_pages.test_with_its_day_the_account_is_gone_and_the_history_says_why(
            front, test_change_pages.make_ordered_site(front), back
        )
    ),
    "switched, by the mail": lambda front, back, *_: test_switch.test_the_present_main_account_answers_by_the_mail(
        front, back
    ),
    "switched, signed in": lambda front, back, *_: (
        test_switch.test_the_present_main_account_answers_signed_in_and_then_sees_the_account_no_more(front, back)
    ),
    "costs of what was cancelled": lambda front, back, *_: (
        test_cancellation_pages.test_what_a_cancelled_account_has_cost_stays_in_the_list(
            front, test_change_pages.make_ordered_site(front), back
        )
    ),
    **{
        f"by a token, with a role in both accounts: {deed}": lambda front, *_, deed=deed: (
            test_changes.test_a_token_of_the_main_account_serves_a_person_with_a_role_in_the_sub_account(
                front, test_change_pages.make_ordered_site(front), deed
            )
        )
        for deed in ("change", "detach")
    },
    "detached": lambda front, back, *_: (
        test_left_accounts.test_a_detachment_is_shown_to_its_main_account_when_it_is_done(front, back)
    ),
}


@pytest.fixture
def walled(front: Front, front_of: FrontOf, postgres: EmbeddedPostgres) -> Iterator[Front]:
    """Switch row-level security on during the test; provide a client of an application whose connections it limits."""
    with enforced(postgres):
        front.client = front_of()
        yield front


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_works_behind_the_wall(
    walled: Front, back: Back, owner_database: Database, clock: FakeClock, flow: str
) -> None:
    FLOWS[flow](walled, back, owner_database, clock)
