"""Tests that the web application accepts requests while RabbitMQ, the broker, is away or hangs."""

from __future__ import annotations

import pytest

from models.db.work_queue import WorkKind
from tests.rabbitmq import RabbitMQ, waiting_hints
from tests.web.conftest import ORDER, Front, FrontOf


@pytest.fixture
def front(front: Front, front_of: FrontOf, rabbitmq: RabbitMQ) -> Front:
    """Provide a client of a web application whose broker is RabbitMQ."""
    front.client = front_of(broker_url=rabbitmq.url)
    return front


def broker_check(front: Front) -> tuple[str, str]:
    """Return two values of /readyz: the overall status, and the result of the check of the broker."""
    found = front.client.get("/readyz").get_json()
    return found["status"], found["checks"]["broker"]


def test_a_redis_that_only_counts_wrong_tries_is_checked_apart(front: Front) -> None:
    # There is none at the address that tests have.
    checks = front.client.get("/readyz").get_json()["checks"]
    assert (checks["broker"], checks["wrong_tries"]) == ("ok", "ConnectionError")


@pytest.mark.parametrize("hangs", [True, False])
def test_a_customer_gets_the_answer_though_the_broker_is_away(
    front: Front, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture, hangs: bool
) -> None:
    assert broker_check(front)[1] == "ok"
    assert front.post("/orders", ORDER).status_code == 202
    assert waiting_hints(rabbitmq)[WorkKind.VERIFY] == 1

    def without_broker() -> None:
        assert front.post("/orders", ORDER).status_code == 202
        assert front.post("/orders", ORDER).status_code == 202
        # The first request waited for the answer; the next one does not try.
        assert caplog.text.count("hint.lost") == 1
        assert broker_check(front) == ("degraded", "OperationalError")

    if hangs:
        with rabbitmq.hanging():
            without_broker()
    else:
        rabbitmq.stop()
        without_broker()
