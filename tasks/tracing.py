"""Traces of OpenTelemetry: what each program did for a request, when it began and how long it took. Off by default.

A trace consists of spans. A span is a piece of work with a name, times and the span that caused it. The context of a
span is stored in rows (`traceparent` of requests, messages and bulks), because Celery messages carry nothing. Traces
are on in a program that has called `begin` while the environment names a collector. While they are off, OpenTelemetry
is not imported, and all functions return at once. Spans have ids of rows, and never what people have typed.

OpenTelemetry's own context is not used: the present span is that of `models.db.trace_context`, for rows and log lines.
"""

from __future__ import annotations

import atexit
import importlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import structlog

from models.db.trace_context import current_traceparent, traced_as
from models.version import VERSION

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

Role = Literal["server", "client", "internal"]
"""The kind of a span: the answer to a call from outside, a call to another system, or work of the program itself."""

_MODULES = ("opentelemetry.sdk.trace.export", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
_ADDRESSES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_ENDS_WITHIN = 3.0
"""How many seconds a program that ends waits for its last spans to be sent."""
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

_provider: TracerProvider | None = None
_tracer: trace.Tracer | None = None


class Span:
    """A piece of work in a trace. `traceparent` is the context that work caused by it gets; None while traces are off.

    The span is sent to the collector once it has ended. A span that is never ended, because its transaction was rolled
    back, is not sent.
    """

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: trace.Span | None = None) -> None:
        self._span = span
        self.traceparent = _as_text(span.get_span_context()) if span is not None else None

    def note(self, **facts: Any) -> None:
        """Add facts to the span: ids and codes, as attributes `standorte.<name>`. A fact that is None is left out.

        A name with a dot is one of OpenTelemetry's conventions, and gets no prefix.
        """
        if self._span is not None and self._span.is_recording():
            self._span.set_attributes(_attributes(facts))

    def fail(self, failure: BaseException | str) -> None:
        """Mark the span as failed, with a code or an error's class name.

        The text of an error is left out, because it may contain names and addresses.
        """
        if self._span is not None and self._span.is_recording():
            from opentelemetry.trace import StatusCode

            name = failure if isinstance(failure, str) else type(failure).__name__
            self._span.set_status(StatusCode.ERROR, name)
            self._span.set_attribute("error.type", name)

    def current(self) -> AbstractContextManager[None]:
        """Return a context manager that makes this span the present one: new rows, log lines and spans belong to it.

        If an exception leaves the block, the span is marked as failed and ended. Otherwise the block's end does not end
        it.
        """
        return nullcontext() if self.traceparent is None else self._while_current(self.traceparent)

    def end(self, at: int | None = None) -> None:
        """End the span now, or with the end `at`, in nanoseconds since 1970. A span that has ended stays as it is."""
        if self._span is not None and self._span.is_recording():
            self._span.end(at)

    def ending(self) -> Callable[[], None]:
        """Return a function that ends the span; its end is the time of this call, however late the function is called.

        For work that counts only after a commit.
        """
        if self._span is None:
            return _do_nothing
        # Spans of one machine are compared with each other, and all have its clock.
        return partial(self.end, time.time_ns())  # noqa: TID251

    @contextmanager
    def _while_current(self, traceparent: str) -> Iterator[None]:
        with traced_as(traceparent):
            try:
                yield
            except BaseException as error:
                self.fail(error)
                self.end()
                raise


NO_SPAN = Span()
"""The span that is used in place of every other while traces are off. It does nothing."""


def start(
    name: str, parent: str | None = None, *, link: str | None = None, role: Role = "internal", **facts: Any
) -> Span:
    """Begin a span and return it; the caller ends it.

    `parent` is the trace context, a text in the form of the header `traceparent`, of what has caused this work; without
    it the span begins a trace. `link` is the context of another trace to which the span refers. `role` is the kind of
    span: "server" for the answer to a call from outside, "client" for a call to another system, "internal" for other
    work. `facts` are ids and codes that are added to the span.
    """
    if _tracer is None:
        return NO_SPAN
    from opentelemetry import trace
    from opentelemetry.context import Context

    caused, linked = _as_context(parent), _as_context(link)
    # Empty, so that nothing is the parent but what is said here.
    context = Context()
    if caused is not None:
        context = trace.set_span_in_context(trace.NonRecordingSpan(caused), context)
    kind = {"server": trace.SpanKind.SERVER, "client": trace.SpanKind.CLIENT, "internal": trace.SpanKind.INTERNAL}[role]
    links = [trace.Link(linked)] if linked is not None else []
    return Span(_tracer.start_span(name, context, kind, _attributes(facts), links))


def span(
    name: str, parent: str | None = None, *, role: Role = "internal", **facts: Any
) -> AbstractContextManager[Span]:
    """Return a context manager that begins a span, yields it and ends it; an exception marks it as failed.

    `parent` is the trace context of what has caused the work; without it the present span is the cause. If there is no
    present span, the new one begins a trace. `role` is the kind of span; `facts` are ids and codes that are added.
    """
    if _tracer is None:
        return _OFF
    return _spanned(start(name, parent or current_traceparent(), role=role, **facts))


_OFF = nullcontext(NO_SPAN)


@contextmanager
def _spanned(found: Span) -> Iterator[Span]:
    with found.current():
        yield found
    found.end()


def resumed(traceparent: str | None) -> AbstractContextManager[None]:
    """Return a context manager: new rows and log lines of its block belong to a span that has ended.

    `traceparent` is the context of that span. If it is None, or traces are off, the block belongs to no other span.
    """
    return nullcontext() if _tracer is None or traceparent is None else traced_as(traceparent)


def is_wanted() -> bool:
    """Return whether OpenTelemetry's environment variables name a collector of traces, and none turns traces off."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not off and os.environ.get("OTEL_TRACES_EXPORTER") != "none" and any(map(os.environ.get, _ADDRESSES))


def is_on() -> bool:
    """Return whether traces are on in this process."""
    return _tracer is not None


def load() -> bool:
    """Import OpenTelemetry if traces are wanted, and return whether they can be begun.

    Call it before processes are forked, so that they share the memory. If OpenTelemetry is not installed, a warning is
    logged.
    """
    if not is_wanted():
        return False
    try:
        for module in _MODULES:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        log.warning("traces.not_installed", missing=error.name, install="standortverwaltung[otel]")
        return False
    return True


def begin(service: str) -> None:
    """Switch traces on in this process, if the environment names a collector (`is_wanted`); otherwise do nothing.

    Call it in each process, after the fork that made it; a second call does nothing. `service` is the program's name
    for the collector, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` name it. A thread sends the spans: if
    the collector does not answer, they are lost, and nothing else waits or fails.
    """
    global _provider, _tracer
    if _tracer is not None or not load():
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own: dict[str, Any] = {
        "service.name": service,
        "service.version": VERSION,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    resource = Resource.create({**own, **OTELResourceDetector().detect().attributes})
    # `end` is called instead at the exit.
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("standorte", VERSION)
    atexit.register(end)


def end() -> None:
    """Send the spans that have ended, and switch traces off in this process. Takes at most 3 seconds."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is None:
        return
    atexit.unregister(end)
    # It would wait for a collector that is away for longer than the program may take to stop.
    sending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    sending.start()
    sending.join(_ENDS_WITHIN)


def _attributes(facts: dict[str, object]) -> dict[str, str | int | bool]:
    return {
        name if "." in name else f"standorte.{name}": value if isinstance(value, int) else str(value)
        for name, value in facts.items()
        if value is not None
    }


def _as_text(context: trace.SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _as_context(traceparent: str | None) -> trace.SpanContext | None:
    """Return the span context that a `traceparent` describes; None if it is missing or not well-formed."""
    from opentelemetry import trace

    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    context = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    return context if context.is_valid else None


def _do_nothing() -> None:
    pass
