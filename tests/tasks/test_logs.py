"""Tests that log lines about errors say what failed, but never contain an e-mail address."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.requests.requests import Request
from models.states import StepName
from tasks.engine import advance
from tasks.logs import configure_logging
from tasks.steps.step import Outcome, Step, Work
from tests.factories import an_order, make_user
from tests.tasks.conftest import Pipeline

ADDRESS = "hanna.seen@example.com"


@pytest.fixture(params=["json", "console"])
def logged(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Configure logging, and provide pytest's capture of stderr.

    The test runs twice, with log lines as JSON and as console text.
    """
    handlers = logging.getLogger().handlers[:]
    configure_logging(request.param)
    yield capsys
    logging.getLogger().handlers[:] = handlers


def doubled(work: Work, _: Request) -> Outcome:
    """Fail as a step that violates a unique index; the database's error repeats an e-mail address."""
    make_user(work.session, email=ADDRESS)
    work.session.flush()
    raise AssertionError("unreachable")


def no_number(work: Work, _: Request) -> Outcome:
    """Fail as a step whose SQL casts a text to a number; the first line of the error has an e-mail address."""
    work.session.execute(sa.text("SELECT CAST(CAST(:address AS text) AS integer)"), {"address": ADDRESS})
    raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("step", "events"),
    [(doubled, ("batch.split", "transaction.failed", "23505")), (no_number, ("batch.split", "step.broke", "22P02"))],
)
def test_what_a_database_refuses_is_logged_without_the_values(
    pipeline: Pipeline,
    logged: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
    events: tuple[str, ...],
) -> None:
    with pipeline.runtime.database.transaction() as session:
        make_user(session, email=ADDRESS)
    steps: Mapping[StepName, Step] = {**advance.STEPS, StepName.VERIFY: step}
    monkeypatch.setattr(advance, "STEPS", steps)
    pipeline.order(an_order())
    pipeline.advance()
    lines = logged.readouterr().err
    assert all(event in lines for event in events)
    assert ADDRESS not in lines


def test_a_library_that_logs_such_an_error_gives_no_value_away(
    database: Database, logged: pytest.CaptureFixture[str]
) -> None:
    try:
        with database.transaction() as session:
            no_number(Work(session, *[None] * 4), Request())  # type: ignore[arg-type]
    except sa.exc.DataError as error:
        logging.getLogger("celery.app.trace").error("Task raised unexpected: %r", error, exc_info=True)
    lines = logged.readouterr().err
    assert "DataError" in lines and "SELECT CAST" in lines
    assert ADDRESS not in lines


SAYS_WHAT_IT_IS_TOLD = """
import logging, sys, structlog
from tasks.logs import configure_logging
configure_logging("json")
structlog.get_logger().info("seen", name=sys.argv[1])
logging.getLogger("a library").warning("it says %s", sys.argv[1])
"""


def test_a_line_of_the_log_is_one_line_of_json_in_utc() -> None:
    said = 'Berlin"}\n{"event": "forged", "level": "error\x1b[2J\r\u2028'
    program = [sys.executable, "-c", SAYS_WHAT_IT_IS_TOLD, said]
    written = subprocess.run(program, check=True, capture_output=True, text=True).stderr
    lines = [json.loads(line) for line in written.splitlines()]
    assert [(line["level"], line.get("name")) for line in lines] == [("info", said), ("warning", None)]
    assert lines[1]["event"] == f"it says {said}"
    assert all(line["timestamp"].endswith("Z") for line in lines)
