"""Tests that the API answers as its OpenAPI document says.

The tool schemathesis calls it with valid and invalid input. The environment variable `CONFORMANCE_EXAMPLES`, such as
500, makes it try more examples than usual.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
import schemathesis
from schemathesis.engine import Status, events, from_schema
from werkzeug.serving import make_server

from tests.web.api.calls import an_order
from tests.web.conftest import Back, Front

EXAMPLES = int(os.environ.get("CONFORMANCE_EXAMPLES", "3"))
"""How many random calls schemathesis makes for each operation, beside those that test the limits of every field."""

CHECKS = {
    # That an address exists or a code is right, no schema can say: 422 is an answer to what the schema allows.
    "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422", "429"]},
}


@pytest.fixture
def url(front: Front) -> Iterator[str]:
    """Serve the web application and yield its URL; each call's idempotency key is changed into a unique one.

    Otherwise schemathesis would send different bodies with the same key.
    """
    app, calls = front.client.application, count()

    def with_new_keys(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        key = environ.get("HTTP_IDEMPOTENCY_KEY", "")
        if 1 <= len(key) <= 200:
            environ["HTTP_IDEMPOTENCY_KEY"] = f"{key}-{next(calls)}"
        return app(environ, start_response)

    server = make_server("127.0.0.1", 0, with_new_keys, threaded=True)
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    serving.join()
    server.server_close()


def test_every_answer_is_one_that_the_document_names(front: Front, back: Back, url: str) -> None:
    an_order(front, back)
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "headers": {"Authorization": f"Bearer {front.token}"},
            "continue-on-failure": True,
            # How long it takes to make an example up says something about the machine, not about the answers.
            "suppress-health-check": ["too_slow"],
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none", "no-shrink": True},
            "checks": CHECKS,
        }
    )
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", config=config)
    document = front.client.get("/api/v1/openapi.json").get_json()
    answers = Counter[int]()
    wrong: list[tuple[Any, ...]] = []
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), vars(event)
        if isinstance(event, events.ScenarioFinished):
            recorded = event.recorder
            answers.update(call.response.status_code for call in recorded.interactions.values() if call.response)
            # Errors of methods that are no operations, too, which the checks of single operations leave out.
            wrong += [
                (call.request.method, call.request.uri, call.response.status_code)
                for call in recorded.interactions.values()
                if call.response
                and call.response.status_code >= 400
                and not _names(document, call.request.uri, call.response.status_code)
            ]
            failed = [
                check for checks in recorded.checks.values() for check in checks if check.status is Status.FAILURE
            ]
            wrong += [(check.name, event.label, check.failure_info) for check in failed]
    assert wrong == []
    assert answers.keys() >= {200, 202, 400, 401, 404, 405, 409, 415, 422} and answers.total() > 500, answers


def _names(document: dict[str, Any], address: str, status: int) -> bool:
    """Return whether the OpenAPI document lists this status among the answers for this URL.

    Return True for a URL that is not in the document.
    """
    path = urlsplit(address).path
    known = [
        operation["responses"]
        for template, operations in document["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)
        for operation in operations.values()
    ]
    return not known or any(str(status) in responses for responses in known)
