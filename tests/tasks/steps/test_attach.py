"""A test of the step `attach` for an account that already belongs to the main account."""

from __future__ import annotations

from models.states import Reason, Status
from tests.factories import a_link, make_account, make_user
from tests.tasks.conftest import Pipeline


def test_an_account_that_is_linked_to_this_main_account_already_is_not_linked_again(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
    first = pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    assert pipeline.request(first).status is Status.COMPLETED
    pipeline.mailer.sent.clear()
    again = pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    assert (pipeline.request(again).status, pipeline.request(again).reason) == (
        Status.REJECTED,
        Reason.ALREADY_ATTACHED,
    )
    assert pipeline.codes(again) == ["link_received", "proved_credentials", "rejected"]
    # Who asked is told why not; the account's owner is not told a second time.
    assert [mail.recipient_address for mail in pipeline.mailer.but_receipts] == [pipeline.manager.email]
