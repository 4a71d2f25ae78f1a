"""Traces of HTTP requests: each page and each API call is a span of OpenTelemetry.

An order's trace begins with the span of the HTTP request that places the order.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from flask import Flask, Response, g, request

from tasks import tracing

_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}


def trace_requests(app: Flask) -> None:
    """Switch tracing on if the settings ask for it, and record a span for each request to `app`.

    Static files and the endpoints for operators get no span. A span has the method, the URL rule and the status, but
    not the path or the query, which may contain codes and names. The header `traceparent` of a caller becomes a link of
    the span, not its parent, so that callers do not choose the trace.
    """
    tracing.begin("standorte-front")
    if not tracing.is_on():
        return
    app.before_request(_begin)
    app.after_request(_note)
    app.teardown_request(_end)


def _begin() -> None:
    if request.endpoint == "static" or request.blueprint == "health":
        return
    # A caller may send any word.
    method = request.method if request.method in _METHODS else "_OTHER"
    rule = request.url_rule.rule if request.url_rule is not None else None
    facts: dict[str, Any] = {"http.request.method": method, "http.route": rule}
    name = f"{method} {rule}" if rule is not None else method
    span = tracing.start(name, link=request.headers.get("traceparent"), role="server", **facts)
    g.span, g.traced = span, ExitStack()
    g.traced.enter_context(span.current())


def _note(response: Response) -> Response:
    if (span := g.get("span")) is not None:
        span.note(**{"http.response.status_code": response.status_code})
        if response.status_code >= 500:
            span.fail(str(response.status_code))
    return response


def _end(_error: BaseException | None) -> None:
    if (span := g.pop("span", None)) is not None:
        g.pop("traced").close()
        span.end()
