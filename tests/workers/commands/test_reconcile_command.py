"""Tests of the commands by which staff run scheduled jobs, maintain collective invoices, and review documents.

A job that has found what it cannot repair ends the command with 1. It does not run beside a scheduled run of the same
job.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from models.accounts.accounts import Account, account_by_number
from models.db.session import Database
from models.jobs.jobs import Job, JobRun, claim_job
from models.links.collective_invoices import CollectiveInvoiceItem
from models.people.users import Membership, administrators_of, principal_of
from models.proofs.document_review import upload_document
from models.proofs.documents import ProofDocument
from models.proofs.proofs import AddressProof
from models.requests.requests import Request
from models.states import Kind, Origin, Reason, RefusalReason, Status
from models.telephony.forwarding import CallForwarding
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from models.vault import Vault
from tasks.reconcile.job_run import LEASE
from tasks.reconcile.schedule import JOBS
from tests.due_work import advance_requests
from tests.factories import an_order, submit_order
from tests.snapshots import written_once
from workers.cli import cli
from workers.demo.seed import seed
from workers.gateways.registrar import KamailioRegistrar
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings

pytestmark = pytest.mark.usefixtures("database_settings", "_company")
BILLED = ("2000211", "2000431")


@pytest.fixture
def _company(database: Database, portal_url: str, registrar_url: str) -> None:
    def write() -> None:
        vault = Vault(WorkerSettings().secret_key.get_secret_value())
        with closing(KamailioRegistrar(registrar_url)) as registrar:
            seed(database, vault, "sip.portal.example", utc_now(), registrar=registrar)

    written_once("company and registrar", [portal_url, registrar_url], write)


@pytest.fixture(autouse=True)
def _no_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def worker(database: Database) -> Iterator[object]:
    """Provide a function without parameters that runs one batch of due steps of requests, as a worker does."""
    runtime = build_runtime(WorkerSettings())
    yield lambda: advance_requests(runtime)
    close_runtime(runtime)


def accounts(database: Database) -> dict[str, Account]:
    with database.transaction() as session:
        return {account.customer_number: account for account in session.scalars(sa.select(Account))}


def count(database: Database, table: type[object]) -> int:
    with database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_without_a_name_it_says_how_the_jobs_stand() -> None:
    before = run("reconcile")
    assert before.exit_code == 0
    assert before.stdout.count("never") == len(JOBS)
    run("reconcile", "proofs")
    after = run("reconcile").stdout
    assert after.count("never") == len(JOBS) - 1
    line = next(line for line in after.splitlines() if line.split()[:1] == ["proofs"])
    assert "15 min" in line and "done" in line and "nothing" in line


def test_an_unknown_job_is_said_so_with_those_that_there_are() -> None:
    result = run("reconcile", "nonsense")
    assert result.exit_code == 1
    known = "requests, proofs, office, mails, registrar, invoices, erasures, factor_resets, attempt_counts, tokens"
    assert known in result.stderr


@pytest.mark.parametrize("job", ["requests", "proofs", "mails", "registrar", "leftovers"])
def test_where_everything_is_right_it_says_so(job: str) -> None:
    result = run("reconcile", job)
    assert result.exit_code == 0, result.stderr
    assert "found: nothing" in result.stdout


def test_the_demos_invoice_is_reconciled(database: Database, worker: object) -> None:
    assert callable(worker)
    dry = run("reconcile", "invoices", "--dry-run")
    assert dry.exit_code == 0
    assert "would be" in dry.stdout and "nothing was changed" in dry.stdout
    assert all(number in dry.stdout for number in BILLED)
    assert count(database, Request) == 0

    real = run("reconcile", "invoices", "--lang", "en")
    assert real.exit_code == 0
    assert "found: 2 not listed" in real.stdout
    assert "Customer number 2000211 is billed by collective invoice" in real.stdout
    worker()
    found = accounts(database)
    assert {found[number].origin for number in BILLED} == {Origin.COLLECTIVE_INVOICE}
    assert {found[number].main_id for number in BILLED} == {found["1111111"].id}
    assert "found: nothing" in run("reconcile", "invoices").stdout


def test_what_it_cannot_repair_ends_with_one(database: Database) -> None:
    added = run("invoices", "add", "SR-9", "2000089", "--main", "1111111")
    assert added.exit_code == 0, added.stderr
    result = run("reconcile", "invoices")
    assert result.exit_code == 1
    assert "cannot_be_listed" in result.stdout
    assert "2000089" in result.stdout
    with database.transaction() as session:
        numbers = session.scalars(sa.select(Request.customer_number).order_by(Request.customer_number)).all()
    assert tuple(numbers) == BILLED


def test_leaving_an_invoice_names_the_accounts_that_nobody_can_sign_in_to(database: Database) -> None:
    assert run("invoices", "add", "SR-9", "2000089", "2000040", "--main", "1111111").exit_code == 0
    with database.transaction() as session:
        alone = sa.select(Account.id).where(Account.customer_number == "2000089").scalar_subquery()
        session.execute(sa.delete(Membership).where(Membership.account_id == alone))
    left = run("invoices", "remove", "SR-9", "2000089", "2000040").stdout
    assert "2000089 has no administrator and stays a sub-account" in left and "2000040" not in left


def test_a_lost_subscriber_is_said_and_made_due(database: Database, registrar_url: str) -> None:
    engine = sa.create_engine(registrar_url)
    with engine.begin() as connection:
        connection.execute(sa.text("TRUNCATE subscriber"))
        connection.execute(sa.text("INSERT INTO subscriber (username, domain) VALUES ('[stranger]', 'x')"))
    dry = run("reconcile", "registrar", "--dry-run")
    assert "13 missing there, 1 unknown there" in dry.stdout
    assert "[stranger]@x" in dry.stdout
    result = run("reconcile", "registrar")
    assert "fehlt im Registrar" in result.stdout
    with database.transaction() as session:
        assert all(session.scalars(sa.select(SipTrunk.due_at)).all())
    # A stranger stays until somebody has looked, and is a reason to look.
    assert result.exit_code == 1
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM subscriber")) == 1
    assert run("reconcile", "registrar", "--allow-removals").exit_code == 0
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM subscriber")) == 0
    engine.dispose()


def test_what_was_done_to_the_registrar_is_said_in_words(database: Database, registrar_url: str) -> None:
    with database.transaction() as session:
        user, number = session.execute(
            sa.select(SipTrunk.sip_user, Account.customer_number)
            .join(Account, Account.id == SipTrunk.account_id)
            .where(SipTrunk.account_id.in_(sa.select(CallForwarding.account_id)))
        ).one()
        block = session.scalars(sa.select(NumberBlock).order_by(NumberBlock.id).limit(1)).one()
        # Pretend that the block has been announced to the registrar.
        session.execute(sa.delete(BlockAnnouncement).where(BlockAnnouncement.block_id == block.id))
    engine = sa.create_engine(registrar_url)
    with engine.begin() as connection:
        for damage in (
            "UPDATE usr_preferences SET value = '+4989 0 9' WHERE attribute = 'forward.busy.0'",
            "INSERT INTO location (username, domain) VALUES ('nobody', 'x')",
            "INSERT INTO own_numbers VALUES (4989123, 10)",
        ):
            connection.execute(sa.text(damage))
    engine.dispose()
    said = " ".join(run("reconcile", "registrar", "--lang", "en").stdout.split())
    for sentence in (
        f"Trunk {user} of customer number {number} differs in the registrar: call forwardings.",
        "The registrar knows nobody@x (registration of a phone); we do not.",
        f"The number block from {block.numbers[0]} (size {block.size}) is missing from the registrar",
        "The registrar takes the numbers from +4989123 (size 10) for ours; they are not.",
    ):
        assert sentence in said


def test_a_registrar_that_is_away_ends_with_one_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRAR_URL", "postgresql+psycopg://nobody@127.0.0.1:1/registrar")
    result = run("reconcile", "registrar")
    assert result.exit_code == 1
    assert "GatewayUnavailable" in result.stderr


def test_it_does_not_run_beside_a_scheduled_run(database: Database) -> None:
    now = utc_now()
    with database.transaction() as session:
        claim_job(session, "mails", now=now, lease=uuid.uuid4(), until=now + LEASE, by_hand=False)
    result = run("reconcile", "mails")
    assert result.exit_code == 1
    assert "under way" in result.stderr
    assert count(database, JobRun) == 0
    assert "under way, until" in run("reconcile").stdout
    with database.transaction() as session:
        session.get_one(Job, "mails").due_at = now
    assert run("reconcile", "mails").exit_code == 0


def test_accounts_join_and_leave_an_invoice(database: Database) -> None:
    assert run("invoices", "add", "SR-7", "2000069", "2000341", "--main", "1111111").exit_code == 0
    assert run("invoices", "add", "SR-7", "2000069", "--main", "1111111").exit_code == 0
    assert count(database, CollectiveInvoiceItem) == 4
    elsewhere = run("invoices", "add", "SR-8", "2000351", "2000069", "--main", "2000089")
    assert elsewhere.exit_code == 1
    assert "2000069 is on another" in elsewhere.stderr
    assert count(database, CollectiveInvoiceItem) == 4
    assert "another main account's" in run("invoices", "add", "SR-7", "2000351", "--main", "2000089").stderr
    removed = run("invoices", "remove", "SR-7", "2000069", "2000351")
    assert "1 left collective invoice SR-7, 1 were not on it" in removed.stdout


@pytest.fixture
def waiting(database: Database, worker: object) -> str:
    """Place an order whose uploaded address document waits for review by staff; return the order's id."""
    assert callable(worker)
    with database.transaction() as session:
        main = account_by_number(session, "1111111")
        assert main is not None
        maxi = principal_of(session, administrators_of(session, main.id)[0])
        id = submit_order(session, maxi, main, an_order(), utc_now()).id
    worker()
    with database.transaction() as session:
        request = session.get_one(Request, id, options=[sa.orm.selectinload(Request.account)])
        upload_document(session, maxi, request, "auszug.pdf", "application/pdf", b"%PDF-1.7 proof", utc_now())
    worker()
    return str(id)


def test_a_document_can_be_looked_at_and_released(database: Database, waiting: str, tmp_path: Path) -> None:
    file = tmp_path / "proof.pdf"
    shown = run("requests", "document", waiting, "--out", str(file))
    assert shown.exit_code == 0, shown.stderr
    assert "auszug.pdf (application/pdf)" in shown.stdout
    assert file.read_bytes() == b"%PDF-1.7 proof"

    assert "not belong to the staff" in run("requests", "release-address", waiting, "--by", "hamburg@example.de").stderr
    assert "no user" in run("requests", "release-address", waiting, "--by", "nobody@example.de").stderr
    released = run("requests", "release-address", waiting, "--by", "backoffice@example.com")
    assert released.exit_code == 0, released.stderr
    with database.transaction() as session:
        assert session.scalars(sa.select(AddressProof.proved_at)).one() is not None
        due_at = session.get_one(Request, uuid.UUID(waiting)).due_at
        assert due_at is not None and due_at <= utc_now()
    again = run("requests", "release-address", waiting, "--by", "backoffice@example.com")
    assert again.exit_code == 1
    assert "No document waits" in again.stderr


def test_a_document_can_be_refused(database: Database, waiting: str, worker: object) -> None:
    assert callable(worker)
    refusal = ("requests", "release-address", waiting, "--by", "backoffice@example.com", "--refuse")
    assert "--note" in run(*refusal, "--reason", "other").stderr
    assert run(*refusal, "--reason", "too_old", "--note", "Höchstens drei Monate").exit_code == 0
    with database.transaction() as session:
        [document] = session.scalars(sa.select(ProofDocument).where(ProofDocument.released.is_(False)))
        assert (document.refusal, document.refusal_note) == (RefusalReason.TOO_OLD, "Höchstens drei Monate")
    with database.transaction() as session:
        assert session.scalars(sa.select(AddressProof.proved_at)).one() is None
        assert session.scalars(sa.select(ProofDocument.released)).one() is False
    worker()
    with database.transaction() as session:
        request = session.get_one(Request, uuid.UUID(waiting))
        assert (request.kind, request.status) == (Kind.ORDER, Status.PENDING)
        assert request.reason is not Reason.DOCUMENT_IN_REVIEW


def test_where_no_document_was_handed_in_it_is_said_so(database: Database, tmp_path: Path) -> None:
    run("reconcile", "invoices")
    with database.transaction() as session:
        id = str(session.scalars(sa.select(Request.id).limit(1)).one())
    assert "No document" in run("requests", "document", id, "--out", str(tmp_path / "x")).stderr
