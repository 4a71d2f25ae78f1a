"""The OpenTelemetry traces of requests: begin a request's trace, and record registrar calls in it."""

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
    """Begin an OpenTelemetry trace for a request that has none, and save its context in `request.traceparent`.

    A request of a bulk (uploaded file) is created in the trace of the file, which would grow to thousands of requests.
    Before its first step it therefore gets a trace of its own, which links to that of the file. Any other request that
    has a trace keeps it. Call this before `Request.begin`.
    """
    is_new_row = request.bulk_id is not None and request.status is Status.ACKNOWLEDGED
    if request.traceparent is None or is_new_row:
        facts: dict[str, Any] = {"request": request.id, "kind": request.kind, "bulk": request.bulk_id}
        begun = tracing.start("request", link=request.traceparent, **facts)
        # None where this worker makes no traces: that of the file, which the front has begun, stays.
        request.traceparent = begun.traceparent or request.traceparent
        begun.end()


def call_traced(
    call: Callable[[], list[GatewayError | None]], steps: Mapping[uuid.UUID, Span]
) -> list[GatewayError | None]:
    """Make one registrar call for several requests with `call`, and record it as a span in the trace of each request.

    `steps` has the span of each request's step, by the request's id. `call` returns the error of each request in the
    order of `steps`, None for success; so does this function. An error that `call` raises is recorded in all spans and
    raised.
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
