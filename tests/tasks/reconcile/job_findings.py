"""Functions that run a scheduled job in tests, dry and not dry, and check its findings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.orm import Session

from models.jobs.findings import Finding
from models.jobs.jobs import JobRun, Outcome
from models.values import LOCALES
from tasks.wording.findings import finding_text
from tests.tasks.conftest import Pipeline

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@contextmanager
def changing(pipeline: Pipeline) -> Iterator[Session]:
    """Open a transaction as the database's owner and yield its session; commit it at the end of the block.

    It is for changes of rows that no program's role may make.
    """
    with pipeline.owner.transaction() as session:
        yield session


def finds(pipeline: Pipeline, job: str, *kinds: str) -> list[Finding]:
    """Run a scheduled job twice dry (without repairs) and once for real; return the findings of the real run.

    Assert that all runs find the same, and that the findings have exactly these kinds. Each finding must have a text in
    all languages, and no e-mail address among its facts.
    """
    dry = pipeline.run(job, dry=True)
    again = pipeline.run(job, dry=True)
    assert described(pipeline, again) == described(pipeline, dry)
    assert again.counts == dry.counts
    run = pipeline.run(job)
    assert run.outcome is Outcome.DONE
    assert described(pipeline, run) == described(pipeline, dry)
    assert (run.counts, run.found, run.unrepaired) == (dry.counts, dry.found, dry.unrepaired)
    found = pipeline.findings(run)
    assert sorted(finding.kind for finding in found) == sorted(kinds)
    for finding in found:
        assert all(finding_text(finding, locale) for locale in LOCALES)
        assert "@" not in str(finding.facts)
    return found


def described(pipeline: Pipeline, run: JobRun) -> list[tuple[str, str, bool]]:
    """Return kind, subject and "was repaired" of each finding of a run, sorted."""
    return sorted((finding.kind, finding.subject, finding.repaired) for finding in pipeline.findings(run))
