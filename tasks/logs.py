"""Structured logging for every process: events with ids, never secrets, never an e-mail address in clear."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

from models.db.trace_context import current_traceparent

# At INFO these libraries log every sweep (each two seconds), every schema check and every font subset, which would hide
# the events that matter to an operator.
_CHATTY = ("celery.beat", "celery.worker.strategy", "celery.worker.request", "celery.app.trace", "alembic", "fontTools")


def configure_logging(form: Literal["json", "console"]) -> None:
    """Send structlog's events and the standard library's log records to stderr, as JSON lines or as text for people.

    Safe to run twice.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def _add_trace(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    if (traceparent := current_traceparent()) is not None:
        event["trace_id"] = traceparent.split("-")[1]
    return event
