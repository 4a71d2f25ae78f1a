"""A collector of traces as operators run one: it receives OTLP over HTTP, decodes it, and stores every span."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks import tracing


@dataclass(frozen=True)
class Received:
    """A span as the collector received it. Ids are hex digits; `parent` is empty for the first span of a trace.

    `service` is the program that sent it, `facts` are its attributes, `links` are the ids of spans that it links to.
    `error` is the class or code of a failure, empty for none. `begins` and `ends` are in nanoseconds since 1970.
    """

    name: str
    trace: str
    id: str
    parent: str
    service: str
    facts: dict[str, Any]
    links: list[str]
    error: str
    begins: int
    ends: int


@dataclass
class Collector:
    """A running collector at `url`, with the `spans` that it has received so far and the messages as bytes (`raw`)."""

    url: str
    spans: list[Received] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        """Return the spans with this name, in the order in which they began."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.begins)

    def one(self, name: str) -> Received:
        """Return the only span with this name. Fails if there is none or more than one."""
        [found] = self.named(name)
        return found

    def receive(self, body: bytes) -> None:
        """Decode one message of OTLP, and keep its spans."""
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_received(span, str(service)) for span in scope.spans]


def _received(span: Any, service: str) -> Received:
    return Received(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        service=service,
        facts=_values(span.attributes),
        links=[link.span_id.hex() for link in span.links],
        error=span.status.message,
        begins=span.start_time_unix_nano,
        ends=span.end_time_unix_nano,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector of OpenTelemetry traces on a free port, and yield it; it has the spans received so far.

    It is stopped at the end of the `with` block.
    """
    found: Collector

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            found.receive(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def traced(url: str, **settings: str) -> Iterator[None]:
    """Send traces of this process to the collector at `url` during the `with` block; at its end all have been sent.

    `settings` are more environment variables.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            patch.delenv(name)
        for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **settings}.items():
            patch.setenv(name, value)
        tracing.begin("test")
        try:
            yield
        finally:
            tracing.end()
