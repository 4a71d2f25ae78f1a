"""Helpers of tests of scheduled jobs: run one dry and for real, and compare and check the findings."""

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
    """Open a transaction as the owner of the database, to change rows in ways that no program may."""
    with pipeline.owner.transaction() as session:
        yield session


def finds(pipeline: Pipeline, job: str, *kinds: str) -> list[Finding]:
    """Run a job dry, which changes nothing, and then for real; assert that both find exactly these kinds.

    Return the findings of the real run. Each must have a text in all languages, and no e-mail address in its facts.
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
    """Return kind, subject and whether it was repaired of each of a run's findings, sorted."""
    return sorted((finding.kind, finding.subject, finding.repaired) for finding in pipeline.findings(run))
