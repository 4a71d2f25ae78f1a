"""Tests of the proofs of a link request: the consent of the account's administrators, or a link code.

All administrators are asked, and the first answer counts. A link code works once. How often consent can be requested is
limited.
"""

from __future__ import annotations

from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import promote
from models.calendar_days import end_of_day
from models.errors import Forbidden, NotAwaited, TooEarly
from models.orders.orders import cancel_and_release
from models.people.rights import Role
from models.people.users import User, principal_of
from models.proofs.link_codes import create_link_code
from models.proofs.ownership import Credentials, decide, prove_ownership
from models.proofs.proofs import Decision, LinkCode
from models.requests.requests import Request
from models.states import AccountRole, Actor, ProofMethod, Reason, Status
from models.views.request_lists import timelines
from tests.factories import PASSWORD, a_link, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.proving import DAY, again, code_in, mails_to, waits


def answer(pipeline: Pipeline, id: UUID, user: User, decision: Decision, typed: str | None) -> bool:
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        return decide(session, pipeline.runtime.vault, request, user, decision, typed, pipeline.clock.now)


def test_every_administrator_is_asked_and_the_first_answer_counts(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    assert waits(pipeline, id) == (
        Actor.OTHER_ACCOUNT,
        Reason.CONSENT_AWAITED,
        end_of_day(pipeline.clock.now + 14 * DAY),
    )
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {one.email, two.email}
    [to_one], [to_two] = mails_to(pipeline, one.email), mails_to(pipeline, two.email)
    # Each code is its owner's.
    assert not answer(pipeline, id, one, Decision.ACCEPTED, code_in(to_two))
    assert answer(pipeline, id, two, Decision.ACCEPTED, code_in(to_two))
    with pytest.raises(NotAwaited):
        answer(pipeline, id, one, Decision.DECLINED, code_in(to_one))
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.account_id) == (Status.COMPLETED, account.id)
    assert "proved_consent" in pipeline.codes(id)
    assert len(mails_to(pipeline, one.email)) == 2 and len(mails_to(pipeline, two.email)) == 2


def test_a_declined_link_ends_and_both_sides_are_told(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, two = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    assert answer(pipeline, id, one, Decision.DECLINED, None)
    pipeline.advance()
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.DECLINED_BY_OWNER)
    assert "abgelehnt" in mails_to(pipeline, pipeline.manager.email)[0]
    assert "abgelehnt" in mails_to(pipeline, one.email)[1]
    assert "declined" in mails_to(pipeline, two.email)[1]
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(Account, account.id).role is AccountRole.STANDALONE


def test_who_administers_the_account_no_longer_has_no_say(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, _, _ = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        somebody = make_user(session)
    with pytest.raises(Forbidden):
        answer(pipeline, id, somebody, Decision.ACCEPTED, None)


def test_an_outsider_who_asks_for_consent_cannot_tell_an_account_from_none(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, _, _ = owned
    with pipeline.runtime.database.transaction() as session:
        taken, _ = make_main(session, subs=1)
    ids = [pipeline.link(a_link(of, method=ProofMethod.CONSENT)) for of in (account, "1000001", taken)]
    seen = []
    for _ in range(16):
        pipeline.advance()
        views = set()
        for id in ids:
            request = pipeline.request(id)
            with pipeline.runtime.database.transaction() as session:
                lines = tuple((line.at, line.code) for line in timelines(session, [id])[id])
            views.add((request.status, request.reason, request.waiting_until, request.account_id, lines))
        seen.append(views)
        pipeline.clock.advance(DAY)
    assert {len(views) for views in seen} == {1}
    assert pipeline.request(ids[0]).reason is Reason.PROOF_EXPIRED


def link_code(pipeline: Pipeline, account: Account, user: User) -> str:
    with pipeline.runtime.database.transaction() as session:
        code = create_link_code(
            session, principal_of(session, user), session.get_one(Account, account.id), pipeline.clock.now
        )
        return pipeline.runtime.vault.code(*code.words())


def test_a_link_code_works_once_and_for_its_account_only(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, _ = owned
    with pipeline.runtime.database.transaction() as session:
        other = make_account(session, administrator=one)
    code = link_code(pipeline, account, one)
    assert len(code) == 10
    wrong = pipeline.link(a_link(other, code=code))
    right = pipeline.link(a_link(account, code=f"{code[:5]} {code[5:].lower()}"))
    with pipeline.runtime.database.transaction() as session:
        elsewhere, manager = make_main(session)
    spent = pipeline.link(a_link(account, code=code), manager, elsewhere)
    pipeline.advance()
    assert pipeline.request(right).status is Status.COMPLETED
    assert {pipeline.request(id).reason for id in (wrong, spent)} == {Reason.OWNERSHIP_NOT_PROVEN}


@pytest.mark.parametrize("spoil", ["expired", "replaced"])
def test_a_link_code_does_not_last(pipeline: Pipeline, owned: tuple[Account, User, User], spoil: str) -> None:
    account, one, two = owned
    code = link_code(pipeline, account, one)
    match spoil:
        case "expired":
            pipeline.clock.advance(8 * DAY)
        case "replaced":
            assert link_code(pipeline, account, two) != code
    id = pipeline.link(a_link(account, code=code))
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.OWNERSHIP_NOT_PROVEN


def test_only_an_administrator_creates_link_codes(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, _, _ = owned
    with pipeline.runtime.database.transaction() as session:
        member = make_user(session)
        join(session, member, account, Role.LOCAL_MEMBER)
    with pytest.raises(Forbidden):
        link_code(pipeline, account, member)
    with pipeline.runtime.database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(LinkCode)) == 0


@pytest.mark.parametrize("means", ["credentials", "link code"])
def test_a_link_that_waits_for_consent_takes_another_proof(
    pipeline: Pipeline, owned: tuple[Account, User, User], means: str
) -> None:
    account, one, _ = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    given = Credentials(one.email, PASSWORD) if means == "credentials" else link_code(pipeline, account, one)
    vault = pipeline.runtime.vault
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        assert not prove_ownership(session, vault, request, Credentials(one.email, "wrong"), pipeline.clock.now)
        assert prove_ownership(session, vault, request, given, pipeline.clock.now)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_consent_can_be_asked_for_again_after_a_day(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, _ = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    with pytest.raises(TooEarly):
        again(pipeline, id, "consent")
    pipeline.clock.advance(DAY)
    again(pipeline, id, "consent")
    pipeline.advance()
    old, new = map(code_in, mails_to(pipeline, one.email))
    assert old != new
    assert not answer(pipeline, id, one, Decision.ACCEPTED, old)
    assert answer(pipeline, id, one, Decision.ACCEPTED, new)


def test_asking_for_consent_is_no_means_to_pester_people(pipeline: Pipeline, owned: tuple[Account, User, User]) -> None:
    account, one, _ = owned
    for number in (account.customer_number, "1000001"):
        for _ in range(5):
            id = pipeline.link(a_link(number, method=ProofMethod.CONSENT))
            pipeline.advance()
            with pipeline.runtime.database.transaction() as session:
                cancel_and_release(session.get_one(Request, id), Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
        with pytest.raises(TooEarly):
            pipeline.link(a_link(number, method=ProofMethod.CONSENT))
    assert len(mails_to(pipeline, one.email)) == 5
    pipeline.clock.advance(DAY)
    pipeline.link(a_link(account, method=ProofMethod.CONSENT))


def test_owners_who_agreed_are_told_if_nothing_comes_of_it(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        promote(session, account.id)
    assert answer(pipeline, id, one, Decision.ACCEPTED, None)
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.IS_MAIN_ACCOUNT
    assert "selbst ein Hauptaccount" in mails_to(pipeline, one.email)[-1]
    assert f"/zustimmung/{id}" in mails_to(pipeline, two.email)[-1]
