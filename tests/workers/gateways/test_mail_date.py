"""A test that the Date header of mails has the time of the database server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tasks.ports import Mail
from tests.fakes import MailSink
from workers.runtime import build_runtime, close_runtime
from workers.settings import WorkerSettings


@pytest.mark.usefixtures("database_settings")
def test_a_mail_has_the_right_date_on_a_host_whose_clock_is_wrong(
    smtp_sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_URL", smtp_sink.url)
    with time_machine.travel(timedelta(hours=2)):
        runtime = build_runtime(WorkerSettings())
        mail = Mail("<1@portal.example>", "Kim", "kim@example.com", "de", "Betreff", "Text\n", "<p>Text</p>\n")
        runtime.ports.mailer.send(mail)
        close_runtime(runtime)
    [(_, message)] = smtp_sink.received
    assert abs(message["Date"].datetime - datetime.now(UTC)) < timedelta(hours=1)
