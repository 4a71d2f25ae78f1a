"""The traces of requests: where a request's trace begins, and its share of a call that is made for several requests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from models.requests.requests import Request
from models.states import Status
from tasks import tracing
from tasks.ports import GatewayError
from tasks.tracing import Span


def join_trace(request: Request) -> None:
    """Begin a trace for a request that has none, and for one of a bulk (uploaded file) whose first step begins.

    A request of a bulk would otherwise be one of thousands in the trace of the file: its own trace links to that one.
    Call it before `Request.begin`.
    """
    is_new_row = request.bulk_id is not None and request.status is Status.ACKNOWLEDGED
    if request.traceparent is None or is_new_row:
        facts: dict[str, Any] = {"request": request.id, "kind": request.kind, "bulk": request.bulk_id}
        begun = tracing.start("request", link=request.traceparent, **facts)
        request.traceparent = begun.traceparent
        begun.end()


def call_traced(
    call: Callable[[], list[GatewayError | None]], steps: Mapping[uuid.UUID, Span]
) -> list[GatewayError | None]:
    """Make one call to the registrar for several requests; return each request's error as `call` does, in order.

    `steps` are the spans of their steps, by the requests' ids: each trace gets a span for its share of the call.
    """
    spans = [
        tracing.start("registrar.put_trunks", step.traceparent, role="client", request=id, together=len(steps))
        for id, step in steps.items()
    ]
    failures: list[GatewayError | None] = []
    try:
        failures = call()
    except Exception as error:
        for span in spans:
            span.fail(error)
        raise
    else:
        for span, failure in zip(spans, failures, strict=True):
            if failure is not None:
                span.fail(failure)
    finally:
        for span in spans:
            span.end()
    return failures
