"""Tests of the database transaction of an API call.

A refused call leaves no transaction open and saves no idempotency key, but the use of its token is recorded.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from models.people.api_tokens import ApiToken
from models.requests.idempotency import IdempotencyKey
from tests.web.api.test_orders import changed
from tests.web.conftest import ORDER, Front
from web.resources import resources

REFUSED = {
    "wrong_field": (changed("channels", 0), {}, 422),
    "unknown_product": (changed("product", "none"), {}, 422),
    "no_key": (ORDER, {"Idempotency-Key": ""}, 400),
    "no_json": (ORDER, {"Content-Type": "text/plain"}, 415),
    "unknown_token": (ORDER, {"Authorization": "Bearer none"}, 401),
}


@pytest.mark.parametrize(("body", "head", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refused_call_leaves_no_transaction_open_and_writes_no_key(
    front: Front, body: object, head: dict[str, str], status: int
) -> None:
    for _ in range(2):
        assert front.post("/orders", body, **head).status_code == status
    with front.client.application.app_context():
        pool = resources().database.engine.pool
    assert isinstance(pool, QueuePool) and pool.checkedout() == 0
    with front.database.transaction() as session:
        assert session.scalars(sa.select(IdempotencyKey)).all() == []


def test_the_use_of_a_token_is_recorded_of_a_call_that_is_refused(front: Front) -> None:
    assert front.post("/orders", changed("channels", 0)).status_code == 422
    with front.database.transaction() as session:
        assert session.scalars(sa.select(ApiToken.last_used_address)).all() == ["127.0.0.1"]
