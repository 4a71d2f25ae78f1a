"""Tests that nothing is lost or done twice if workers are killed, Celery messages come twice, or a server is down."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import berlin_day, first_moment
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.moves import MoveDraft, submit_move
from models.contracts.contracts import Contract, ContractItem
from models.links.links import submit_detach, submit_link
from models.orders.orders import Contact, Location
from models.people.rights import Role
from models.people.users import User, principal_of
from models.proofs.main_consents import decide_for_main
from models.proofs.order_codes import confirm_email, enter_letter_code
from models.proofs.ownership import decide
from models.proofs.proofs import AddressProof, Decision
from models.requests.approvals import decide_approval, set_approval_limit
from models.requests.requests import Request
from models.same_address import Place
from models.states import AccountState, AddressMethod, Kind, Origin, ProofMethod, Reason, Status
from models.telephony.number_pool import RESERVED
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from models.vault import Vault
from tests.factories import a_link, an_order, fill_pool, join, make_account, make_main, make_user
from tests.fakes import wait_until
from tests.faults.conftest import SECRET, Plant
from tests.plain_http import call
from tests.web.conftest import ORDER

STEPS = ("verify", "provision", "attach", "confirm", "receipt", "mail")
POINTS = [f"{step}.{when}" for step in STEPS for when in ("before", "after")]


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_inside_a_step_is_replaced(plant: Plant, point: str) -> None:
    ids = plant.order(3)
    with plant.engine_stopped_at(point):
        assert (Status.COMPLETED in plant.statuses(ids)) == point.startswith("mail")
    plant.wait_for_completion(ids)
    plant.assert_everything_once(ids)


@pytest.mark.parametrize("point", ["verify.before", "provision.after", "mail.after"])
def test_a_celery_worker_killed_inside_a_step_is_replaced(plant: Plant, point: str) -> None:
    ids = plant.order(3)
    with plant.worker_stopped_at(point):
        assert (Status.COMPLETED in plant.statuses(ids)) == point.startswith("mail")
    plant.wait_for_completion(ids)
    plant.assert_everything_once(ids)


@pytest.mark.parametrize(
    "point", [f"{step}.{when}" for step in ("verify", "receipt", "mail", "letter") for when in ("before", "after")]
)
def test_a_worker_killed_while_it_asks_for_proofs_is_replaced(plant: Plant, point: str) -> None:
    """Kill the worker at `point`: one receipt, one mail with a code and one letter are sent all the same.

    With both codes entered, the order is completed. `point` names a moment in the worker's work, such as
    `verify.before`.
    """
    contact = Contact("Nele Neu", "nele@example.com", None)
    place = Location("Filiale Mitte", "Torstr. 1", "10119", "Berlin")
    [id] = plant.order(1, an_order(contact=contact, location=place))
    _kill_at(plant, point)
    wait_until(lambda: plant.statuses([id]) == {Status.PENDING} and plant.unsent() == 0, what="what was asked for")
    with plant.database.transaction() as session:
        vault, order = Vault(SECRET), session.get_one(Request, id)
        assert confirm_email(session, vault, order, plant.code_to(contact.email), plant.now())
        assert enter_letter_code(session, vault, order, plant.letter_code(), plant.now())
    plant.wait_for_completion([id])
    mails = {mail["Message-ID"] for _, mail in plant.sink.received}
    assert len(mails) == 4
    completed = ["order_completed", "order_completed_contact"]
    assert plant.told(id) == ["address_letter", "email_code", *completed, "order_receipt"]


@pytest.mark.parametrize(
    "point", ["verify.before", "verify.after", "attach.before", "attach.after", "receipt.after", "mail.after"]
)
def test_a_worker_killed_while_it_links_is_replaced(plant: Plant, point: str) -> None:
    """Kill the worker at `point`: the account is attached, and no mail is written twice.

    The mails are the receipt, the question to the owner, and one about the end to requester and owner each. `point`
    names a moment in the worker's work, such as `verify.before`.
    """
    with plant.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
    id = plant.link(a_link(account, method=ProofMethod.CONSENT))
    asking = point.startswith(("verify", "receipt", "mail"))
    if asking:
        _kill_at(plant, point)
    else:
        helper = plant.start_engine()
    wait_until(lambda: plant.statuses([id]) == {Status.PENDING} and plant.unsent() == 0, what="the question")
    if not asking:
        plant.kill_engine(helper)
    with plant.database.transaction() as session:
        link = session.get_one(Request, id)
        assert decide(session, Vault(SECRET), link, owner, Decision.ACCEPTED, plant.code_to(owner.email), plant.now())
    if not asking:
        _kill_at(plant, point)
    plant.wait_for_completion([id])
    with plant.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id == plant.main.id
    assert plant.told(id) == ["consent_asked", "link_completed", "link_completed_owner", "link_receipt"]
    assert len({mail["Message-ID"] for _, mail in plant.sink.received}) == 4


@pytest.mark.parametrize(
    "point", ["verify.before", "verify.after", "attach.before", "attach.after", "receipt.after", "mail.after"]
)
def test_a_worker_killed_while_it_switches_is_replaced(plant: Plant, point: str) -> None:
    """Kill the worker at `point`: the account goes over to the new main account, and no mail is written twice.

    The mails are the receipt, the question to the present main account, and one about the end to each of the three
    sides. `point` names a moment in the worker's work, such as `verify.before`.
    """
    with plant.database.transaction() as session:
        former, chief = make_main(session)
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        attach(session, former.id, account.id, Origin.LINK, utc_now())
    id = plant.link(replace(a_link(account, email=owner.email), kind=Kind.SWITCH))
    asking = point.startswith(("verify", "receipt", "mail"))
    if asking:
        _kill_at(plant, point)
    else:
        helper = plant.start_engine()
    wait_until(lambda: plant.statuses([id]) == {Status.PENDING} and plant.unsent() == 0, what="the question")
    if not asking:
        plant.kill_engine(helper)
    with plant.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id == former.id
        switch, person = session.get_one(Request, id), session.get_one(User, chief.user_id)
        code = plant.code_to(chief.email)
        assert decide_for_main(session, Vault(SECRET), switch, person, Decision.ACCEPTED, code, plant.now())
    if not asking:
        _kill_at(plant, point)
    plant.wait_for_completion([id])
    with plant.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id == plant.main.id
    assert plant.told(id) == [
        "link_completed", "link_receipt", "main_consent_asked", "switch_completed_former", "switch_completed_owner",
    ]  # fmt: skip
    assert len({mail["Message-ID"] for _, mail in plant.sink.received}) == 5


@pytest.mark.parametrize("point", [f"{step}.{when}" for step in ("verify", "change") for when in ("before", "after")])
def test_a_worker_killed_while_it_changes_a_contract_is_replaced(plant: Plant, point: str) -> None:
    """Kill the worker at `point`: the change is made once, on its day, with one new line in the contract.

    One mail about the end is sent, and the registrar gets the new number of channels. `point` names a moment in the
    worker's work, such as `verify.before`.
    """
    plant.order_one_trunk()
    with plant.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).one()
        account, day = session.get_one(Account, trunk.account_id), berlin_day(utc_now()) + timedelta(days=1)
        draft = ChangeDraft("trunk-50", 30, day, "de")
        id = submit_change(session, plant.manager, account, trunk.id, draft, utc_now()).id
    plant.ahead += timedelta(days=2)
    _kill_at(plant, point)
    plant.wait_for_completion([id])
    with plant.database.transaction() as session:
        lines = sa.select(ContractItem.product_key, ContractItem.started_at, ContractItem.ended_at)
        tariffs = session.execute(lines.where(ContractItem.product_key.like("trunk-%"))).all()
    at = first_moment(day)
    assert sorted(map(tuple, tariffs)) == [("trunk-10", None, at), ("trunk-50", at, None)]
    assert plant.told(id) == ["change_completed", "change_receipt"]
    asked = "SELECT value FROM usr_preferences WHERE attribute = 'channels'"
    wait_until(lambda: plant.at_registrar(asked) == [("30",)], what="the registrar to know the channels")


@pytest.mark.parametrize(
    ("asking", "step"),
    [
        *((True, step) for step in ("verify", "receipt", "mail")),
        *((False, step) for step in ("verify", "provision", "attach", "confirm", "mail")),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_on_the_way_of_an_order_that_is_approved_is_replaced(
    plant: Plant, asking: bool, step: str, when: str
) -> None:
    """Kill the worker while it asks for the approval, or after that was given. Each mail is written once."""
    point = f"{step}.{when}"
    with plant.database.transaction() as session:
        main, person = session.get_one(Account, plant.main.id), make_user(session)
        join(session, person, main, Role.LOCATION_MANAGER)
        second = principal_of(session, person)
        set_approval_limit(session, plant.manager, main, 100, utc_now())
    [id] = plant.order(1)
    if asking:
        _kill_at(plant, point)
    else:
        helper = plant.start_engine()
    wait_until(lambda: plant.statuses([id]) == {Status.PENDING} and plant.unsent() == 0, what="the question")
    assert plant.told(id) == ["approval_asked", "order_receipt"]
    if not asking:
        plant.kill_engine(helper)
    with plant.database.transaction() as session:
        request = session.get_one(Request, id)
        decide_approval(session, second, request, approved=True, note=None, now=plant.now())
    if not asking:
        _kill_at(plant, point)
    plant.wait_for_completion([id])
    plant.assert_provisioned_once([id])
    completed = ["order_completed", "order_completed_contact"]
    assert plant.told(id) == ["approval_asked", "approval_given", *completed, "order_receipt"]
    assert len({mail["Message-ID"] for _, mail in plant.sink.received}) == 5


@pytest.mark.parametrize("point", [f"{step}.{when}" for step in ("verify", "assign") for when in ("before", "after")])
def test_a_worker_killed_while_it_adds_numbers_is_replaced(plant: Plant, point: str) -> None:
    """Kill the worker at `point`: the trunk gets one new number block, and the contract one line for it.

    One mail about the end is sent, the registrar gets the numbers, and no block stays reserved. `point` names a moment
    in the worker's work, such as `verify.before`.
    """
    plant.order_one_trunk()
    with plant.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).one()
        account, draft = session.get_one(Account, trunk.account_id), NumbersDraft("030", 10, None, "de")
        id = submit_numbers(session, plant.manager, account, trunk.id, draft, plant.now()).id
    _kill_at(plant, point)
    plant.wait_for_completion([id])
    with plant.database.transaction() as session:
        blocks = session.scalars(sa.select(NumberBlock.id).where(NumberBlock.trunk_id == trunk.id)).all()
        lines = sa.select(ContractItem.block_id).where(ContractItem.block_id.is_not(None))
        assert len(blocks) == 2 and session.scalars(lines).one() in blocks
        reserved = sa.select(sa.func.count()).where(NumberBlock.available_from == RESERVED)
        assert session.scalar(reserved) == 0
    assert plant.told(id) == ["numbers_completed", "numbers_receipt"]
    asked = "SELECT 1 FROM dbaliases"
    wait_until(lambda: len(plant.at_registrar(asked)) == 20, what="the registrar to know the numbers")


@pytest.mark.parametrize("point", [f"{step}.{when}" for step in ("verify", "move") for when in ("before", "after")])
def test_a_worker_killed_while_it_moves_an_account_is_replaced(plant: Plant, point: str) -> None:
    """Expect one move: new address with new numbers, here and at the registrar, one mail, and nothing left over."""
    plant.order_one_trunk()
    place = Place("Marienplatz 8", "80331", "München")
    with plant.database.transaction() as session:
        fill_pool(session, area_code="089", count=3)
        account = session.get_one(Account, session.scalars(sa.select(SipTrunk.account_id)).one())
        asked = {"asked_at": plant.now(), "expires_at": plant.now(), "proved_at": plant.now()}
        facts = {"main_id": account.main_id, "address_key": place.key, "method": AddressMethod.LETTER}
        session.add(AddressProof(**facts, **asked))
        session.flush()
        id = submit_move(session, plant.manager, account, MoveDraft(place, None, None, "de"), plant.now()).id
    _kill_at(plant, point)
    plant.wait_for_completion([id])
    with plant.database.transaction() as session:
        assert session.get_one(Account, account.id).postal_code == "80331"
        codes = session.scalars(sa.select(NumberBlock.area_code).where(NumberBlock.account_id == account.id)).all()
        assert codes == ["089"]
        reserved = sa.select(sa.func.count()).where(NumberBlock.available_from == RESERVED)
        assert session.scalar(reserved) == 0
    assert plant.told(id) == ["move_completed", "move_receipt"]
    asked_there = (
        "SELECT value, count(*), bool_and(alias_username LIKE '+4989%') FROM usr_preferences AS preferences"
        " JOIN dbaliases USING (username) WHERE attribute = 'postal_code' GROUP BY value"
    )
    wait_until(
        lambda: plant.at_registrar(asked_there) == [("80331", 10, True)], what="the registrar to know where it is"
    )


@pytest.mark.parametrize("point", [f"{step}.{when}" for step in ("verify", "cancel") for when in ("before", "after")])
def test_a_worker_killed_while_it_closes_a_cancelled_account_is_replaced(plant: Plant, point: str) -> None:
    """Kill the worker at `point`: the account is closed, and its contract ends at the agreed moment.

    One mail about the end is sent. The account has no numbers any more, and the registrar no record of the trunk.
    `point` names a moment in the worker's work, such as `verify.before`.
    """
    plant.order_one_trunk()
    with plant.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk)).one()
        account = session.get_one(Account, trunk.account_id)
        request = submit_cancellation(session, plant.manager, account, None, "de", utc_now())
        id, ends = request.id, request.effective_at
    plant.ahead += timedelta(days=40)
    _kill_at(plant, point)
    plant.wait_for_completion([id])
    with plant.database.transaction() as session:
        assert session.get_one(Account, account.id).state is AccountState.CLOSED
        assert session.scalars(sa.select(Contract.ended_at)).all() == [ends]
        assert session.scalars(sa.select(NumberBlock.id).where(NumberBlock.account_id.is_not(None))).all() == []
    assert plant.told(id) == ["cancellation_completed", "cancellation_receipt"]
    asked = "SELECT username FROM subscriber"
    wait_until(lambda: plant.at_registrar(asked) == [], what="the registrar to forget the trunk")


def _kill_at(plant: Plant, point: str) -> None:
    """Run a worker process without Celery until `point`, such as `verify.before`; kill it and start another one."""
    with plant.engine_stopped_at(point):
        pass


@pytest.mark.parametrize("point", ["announce.before", "announce.after"])
def test_a_worker_killed_while_it_announces_number_blocks_is_replaced(plant: Plant, point: str) -> None:
    _kill_at(plant, point)
    wait_until(lambda: plant.unannounced() == 0, what="the last block")
    assert plant.at_registrar("SELECT count(*), min(size), max(size) FROM own_numbers") == [(40, 10, 10)]


def test_a_process_killed_alone_is_replaced_by_its_worker(plant: Plant, tmp_path: Path) -> None:
    ids = plant.order(3)
    reached = tmp_path / "reached"
    plant.start_beat()
    plant.start_worker(STOP_AT="provision.after", STOP_FILE=str(reached))
    plant.publish()
    wait_until(reached.exists, what="the process to stop")
    os.kill(int(reached.read_text()), signal.SIGKILL)
    plant.wait_for_completion(ids)
    plant.assert_everything_once(ids)


def test_every_hint_twice_and_none_in_order(plant: Plant) -> None:
    """Put two Celery messages for each of twenty orders into the queues. Each order must be done once.

    Two worker processes take the messages. A message names no request, so any number of messages may come.
    """
    ids = plant.order(20)
    plant.environment["BATCH"] = "1"
    plant.publish(2 * len(ids))
    plant.start_worker(concurrency=2)
    plant.wait_for_completion(ids)
    wait_until(lambda: redis.Redis.from_url(plant.redis.url(0)).exists(*plant.KINDS) == 0, what="empty queues")
    plant.assert_everything_once(ids)


def test_a_flushed_queue_loses_nothing(plant: Plant) -> None:
    ids = plant.order(10)
    plant.publish(len(ids))
    with redis.Redis.from_url(plant.redis.url(0)) as client:
        assert [client.llen(kind) for kind in plant.KINDS] == [10, 10, 10]
        client.flushall()
    plant.start_beat()
    plant.start_worker()
    plant.wait_for_completion(ids)
    plant.assert_everything_once(ids)


def test_requests_are_accepted_while_redis_is_away(plant: Plant) -> None:
    port, token = plant.start_front(), plant.token()
    plant.redis.stop()
    ids = []
    for key in range(5):
        head = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(key)}
        answer = call("POST", f"http://127.0.0.1:{port}/api/v1/orders", json=ORDER, headers=head, timeout=10)
        assert answer.status_code == 202
        ids.append(UUID(answer.json()["id"]))
    assert plant.statuses(ids) == {Status.ACKNOWLEDGED}
    plant.redis.start()
    plant.start_beat()
    plant.start_worker()
    plant.wait_for_completion(ids)
    plant.assert_everything_once(ids)


def test_a_worker_outlives_a_broker_that_is_a_read_only_replica_for_a_while(plant: Plant) -> None:
    worker = plant.start_worker()
    log = plant.directory / "worker-0.log"
    wait_until(lambda: "ready" in log.read_text(), what="the worker")
    with redis.Redis.from_url(plant.redis.url(0)) as client:
        client.replicaof("127.0.0.1", "1")
        wait_until(lambda: "ReadOnlyError" in log.read_text(), what="the broker's answer")
        client.replicaof("NO", "ONE")
    plant.start_beat()
    [order] = plant.order(1)
    plant.wait_for_completion([order])
    assert worker.is_alive()


def test_workers_and_beat_outlive_redis(plant: Plant) -> None:
    plant.start_beat()
    plant.start_worker()
    first = plant.order(2)
    plant.wait_for_completion(first)
    plant.redis.stop()
    ids = plant.order(3)
    plant.redis.start()
    plant.wait_for_completion(ids)
    plant.assert_everything_once([*first, *ids])


def test_without_a_mail_server_orders_go_through_and_the_mails_follow(plant: Plant) -> None:
    plant.sink.stop()
    ids = plant.order(3)
    plant.start_beat()
    plant.start_worker()
    wait_until(lambda: plant.statuses(ids) == {Status.COMPLETED}, what="completed orders")
    assert plant.unsent() == 9
    plant.sink.start()
    plant.wait_for_completion(ids)
    plant.assert_everything_once(ids)


def test_a_registrar_that_has_written_and_does_not_answer_is_asked_again(plant: Plant, tmp_path: Path) -> None:
    ids = plant.order(3)
    reached = tmp_path / "reached"
    plant.start_beat()
    plant.start_worker(STOP_AT="provision.timeout", STOP_FILE=str(reached))
    plant.publish()
    plant.wait_for_completion(ids)
    assert reached.exists()
    plant.assert_everything_once(ids)


@pytest.mark.parametrize(
    ("point", "on_a_day"),
    [("detach.before", False), ("detach.after", False), ("verify.after", True), ("detach.after", True)],
)
def test_a_worker_killed_while_it_detaches_is_replaced(plant: Plant, point: str, on_a_day: bool) -> None:
    with plant.database.transaction() as session:
        account = make_account(session, administrator=make_user(session))
        attach(session, plant.main.id, account.id, Origin.LINK, utc_now())
        session.flush()
        day = berlin_day(utc_now())
        asked = submit_detach(session, plant.manager, account, "de", utc_now(), day + timedelta(days=on_a_day))
        ids = [asked.id]
        # The day that was planned has come.
        asked.effective_on = day if on_a_day else None
        asked.make_due(utc_now())
    _kill_at(plant, point)
    plant.wait_for_completion(ids)
    with plant.database.transaction() as session:
        assert session.get_one(Account, account.id).main_id is None
    subjects = [str(mail["Subject"]) for _, mail in plant.sink.received]
    assert sum("eigenständig" in subject for subject in subjects) == 2
    assert len(subjects) == (4 if on_a_day else 2)


def test_of_many_main_accounts_that_ask_at_once_exactly_one_gets_the_account(plant: Plant) -> None:
    with plant.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        mains = [make_main(session) for _ in range(8)]
        ids = [
            submit_link(session, Vault(SECRET), manager, main, a_link(account, email=owner.email), utc_now()).id
            for main, manager in mains
        ]
    # Each takes one request only, so that the workers really meet.
    plant.environment["BATCH"] = "1"
    for _ in range(2):
        plant.start_worker(concurrency=2)
    # Who meets another one at the account comes again a moment later.
    plant.start_beat()
    ended = {Status.COMPLETED, Status.REJECTED}
    wait_until(lambda: plant.statuses(ids) <= ended, what="the end of every request")
    with plant.database.transaction() as session:
        outcomes = session.execute(sa.select(Request.status, Request.reason).where(Request.id.in_(ids))).all()
    assert sorted(map(tuple, outcomes), key=str) == sorted(
        [(Status.COMPLETED, None)] + [(Status.REJECTED, Reason.ALREADY_ATTACHED)] * 7, key=str
    )
