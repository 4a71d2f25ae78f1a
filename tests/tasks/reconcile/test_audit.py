"""Tests of the scheduled jobs `audit_seal` and `audit_check`.

The first adds seals, hashes that chain the entries of the audit log; the second checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.people.audit_chain import AuditSeal
from models.people.audit_log import AuditEvent, record_of_carrier
from tasks.reconcile import audit
from tasks.wording.findings import finding_text
from tests.tasks.conftest import Pipeline
from workers.stack.postgres import EmbeddedPostgres

Attack = Callable[[str], None]


@pytest.fixture
def attack(postgres: EmbeddedPostgres, database: Database) -> Iterator[Attack]:
    """Provide a function that runs an SQL statement as a superuser, with all triggers off."""
    engine = sa.create_engine(postgres.url("standorte"))

    def run(statement: str) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            connection.execute(sa.text(statement))

    yield run
    engine.dispose()


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE", 2)


def write(pipeline: Pipeline, count: int) -> None:
    """Write `count` entries into the audit log of the main account, which have no seals yet."""
    with pipeline.runtime.database.transaction() as session:
        for _ in range(count):
            record_of_carrier(session, pipeline.main, AuditEvent.TRUNK_SUSPENDED, pipeline.clock())


def sealed(pipeline: Pipeline) -> int:
    """Return how many entries of the audit log have a seal, the hash that chains an entry to the one before."""
    with pipeline.runtime.database.transaction() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(AuditSeal)) or 0


def texts(pipeline: Pipeline) -> list[str]:
    """Run the job `audit_check` and return its findings as English sentences."""
    run = pipeline.run("audit_check")
    assert run.unrepaired == sum(run.found.values())
    return [finding_text(finding, "en") for finding in pipeline.findings(run)]


def test_entries_are_sealed_and_checked_in_pages(pipeline: Pipeline) -> None:
    write(pipeline, 5)
    assert pipeline.run("audit_seal", dry=True).counts["sealed"] == 5
    assert sealed(pipeline) == 0
    assert pipeline.run("audit_seal").counts == {"sealed": 5, "position": 5}
    assert pipeline.run("audit_seal").counts == {"sealed": 0, "position": 5}
    write(pipeline, 1)
    run = pipeline.run("audit_check")
    assert (run.counts, run.found) == ({"checked": 5, "not_yet_sealed": 1}, {})


def test_what_was_changed_is_found(pipeline: Pipeline, attack: Attack) -> None:
    write(pipeline, 5)
    pipeline.run("audit_seal")
    attack("UPDATE audit_entries SET by_staff = false, user_id = 1 WHERE id = 2")
    attack("DELETE FROM audit_entries WHERE id = 3")
    attack("DELETE FROM audit_seals WHERE position = 5")
    pipeline.clock.advance(timedelta(days=1))
    assert texts(pipeline) == [
        "Entry 2 of the audit log, or its seal 2, was changed after it was sealed.",
        "Entry 3 with seal 3 is missing from the audit log.",
        "The seals of the audit log had reached 5, and this seal is gone or another one: the end of the log was "
        "removed or rewritten.",
    ]


def test_seals_that_are_all_gone_are_found(pipeline: Pipeline, attack: Attack) -> None:
    write(pipeline, 3)
    pipeline.run("audit_seal")
    attack("DELETE FROM audit_seals")
    [text] = texts(pipeline)
    assert text.startswith("The seals of the audit log had reached 3")


def test_more_flaws_than_a_page_holds_are_found(pipeline: Pipeline, attack: Attack) -> None:
    write(pipeline, 7)
    pipeline.run("audit_seal")
    attack("UPDATE audit_entries SET facts = '{\"to\": 1}'")
    run = pipeline.run("audit_check")
    assert run.found == {"audit_entry_changed": 7}
