"""Tests that `standorte web`, `worker` and `beat` each require only the settings that they use themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis

from models.db.work_queue import WorkKind
from tests import forked_programs
from tests.fakes import wait_until
from tests.workers.conftest import Children
from workers import programs
from workers.stack.ports import accepts_connections, free_port

pytestmark = pytest.mark.usefixtures("database_settings")

ALL = ("DATABASE_URL", "REGISTRAR_URL", "REDIS_URL", "SMTP_URL", "SECRET_KEY")


def without(monkeypatch: pytest.MonkeyPatch, *variables: str) -> None:
    """Remove these environment variables during the test."""
    for variable in variables:
        monkeypatch.delenv(variable)


def test_the_front_needs_no_registrar_and_no_mail_server(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "REGISTRAR_URL", "SMTP_URL")
    port = free_port()
    children.start(programs.console("web", "--port", str(port)))
    wait_until(lambda: accepts_connections(port), what="the front")


def test_beat_needs_the_broker_alone(children: Children, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "DATABASE_URL", "REGISTRAR_URL", "SMTP_URL", "SECRET_KEY")
    with redis.Redis.from_url(redis_url) as client:
        client.delete(WorkKind.SWEEP)
        children.start(programs.console("beat", "--schedule", "schedule"))
        wait_until(lambda: client.llen(WorkKind.SWEEP), what="a sweep in the queue")


@pytest.mark.parametrize(
    ("program", "needed"),
    [
        ("web", {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"}),
        ("worker", set(ALL)),
        ("beat", {"REDIS_URL"}),
    ],
)
def test_what_is_missing_is_named_in_a_line_each(
    program: str, needed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, *ALL)
    monkeypatch.setenv("STANDORTE_DIR", str(tmp_path))
    code, _, errors = forked_programs.run(programs.console(program), os.environ, tmp_path)
    assert code == 2
    assert {line for line in errors.splitlines() if line.endswith("is missing.")} == {
        f"{name} is missing." for name in needed
    }
    assert "Traceback" not in errors
