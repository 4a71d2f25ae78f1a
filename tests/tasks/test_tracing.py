"""Tests of the traces of requests, mails, bulks and jobs, as a collector receives them from the workers' code."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from uuid import uuid4

import pytest

from models.requests.requests import Request
from models.states import Kind, Status, StepName
from tasks import tracing
from tasks.engine import advance
from tasks.engine.request_traces import join_trace
from tasks.logs import configure_logging
from tasks.ports import GatewayRefused, GatewayUnavailable
from tasks.reconcile.job_run import run_job
from tasks.reconcile.schedule import JOBS
from tasks.steps.step import Outcome, Step, Work
from tests.collector import Collector, Received, collecting, traced
from tests.factories import a_link, an_order, make_bulk, sites
from tests.tasks.conftest import Pipeline

STEPS = ["step verify", "step provision", "step attach", "step confirm"]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector of traces and provide it; it is stopped after the test."""
    with collecting() as found:
        yield found


def of_trace(collector: Collector, root: Received) -> list[str]:
    """Return the names of the spans in the trace of `root`, in the order in which they began."""
    spans = sorted((span for span in collector.spans if span.trace == root.trace), key=lambda span: span.begins)
    return [span.name for span in spans]


def work_off(pipeline: Pipeline) -> None:
    for _ in range(4):
        pipeline.advance()


def test_an_order_is_one_trace_from_the_call_to_its_last_mail(pipeline: Pipeline, collector: Collector) -> None:
    with traced(collector.url):
        with tracing.span("POST /orders"):
            id = pipeline.order(an_order())
        work_off(pipeline)
    assert pipeline.request(id).status is Status.COMPLETED
    root = collector.one("POST /orders")
    # The number pool was filled before.
    assert {span.name for span in collector.spans if span.trace != root.trace} == {"registrar.put_blocks"}
    steps = [collector.one(name) for name in STEPS]
    assert [step.parent for step in steps] == [root.id] * 4
    assert [step.facts["standorte.status"] for step in steps] == ["in_progress"] * 3 + ["completed"]
    assert all(step.facts["standorte.request"] == str(id) for step in steps)
    # One after the other, not all until the commit.
    assert all(step.ends <= following.begins for step, following in pairwise(steps))
    call = collector.one("registrar.put_trunks")
    assert call.parent == steps[1].id and steps[1].begins <= call.begins <= call.ends <= steps[1].ends
    # The receipt is the order's, the others are queued by the last step.
    mails = collector.named("mail")
    parents = {mail.facts["standorte.template"]: mail.parent for mail in mails}
    assert parents == {
        "order_receipt": root.id,
        "order_completed": steps[3].id,
        "order_completed_contact": steps[3].id,
    }
    assert len(mails) == len(pipeline.mailer.sent)


def test_spans_have_no_names_and_no_addresses(pipeline: Pipeline, collector: Collector) -> None:
    pipeline.mailer.failures["hanna.palmer@example.com"] = [GatewayRefused("no hanna.palmer@example.com here")]
    order = an_order()
    with traced(collector.url):
        pipeline.order(order)
        work_off(pipeline)
    assert [mail.error for mail in collector.named("mail") if mail.error] == ["GatewayRefused"]
    told = b"".join(collector.raw).decode(errors="replace").lower()
    for text in (order.contact.email, order.contact.name, order.location.name, order.location.street):
        assert text.lower() not in told


def test_a_request_that_was_not_traced_at_first_begins_a_trace(pipeline: Pipeline, collector: Collector) -> None:
    id = pipeline.order(an_order())
    assert pipeline.request(id).traceparent is None
    with traced(collector.url):
        work_off(pipeline)
    begun = collector.one("request")
    assert of_trace(collector, begun)[:2] == ["request", "step verify"]
    # The receipt was queued before.
    assert {span.name for span in collector.spans if span.trace != begun.trace} == {"mail", "registrar.put_blocks"}


def test_each_row_of_a_bulk_has_a_trace_that_links_to_the_bulk(pipeline: Pipeline, collector: Collector) -> None:
    with traced(collector.url):
        with tracing.span("POST /bulk"), pipeline.runtime.database.transaction() as session:
            bulk = make_bulk(session, pipeline.manager, pipeline.main, sites(3))
            bulk.send(pipeline.clock())
        for _ in range(8):
            pipeline.advance()
            pipeline.clock.advance(pipeline.runtime.lease)
    sent = collector.one("POST /bulk")
    placings = collector.named("bulk")
    assert {placing.parent for placing in placings} == {sent.id}
    roots = collector.named("request")
    assert len({root.trace for root in roots}) == 3
    assert [root.links for root in roots] == [[placings[0].id]] * 3
    for root in roots:
        assert [name for name in of_trace(collector, root) if name.startswith("step")] == STEPS
    # The receipt and the mail about the end are the bulk's.
    assert "mail" in of_trace(collector, sent)


def test_a_job_is_a_trace_of_its_own(pipeline: Pipeline, collector: Collector) -> None:
    with traced(collector.url):
        run = run_job(pipeline.runtime, JOBS["registrar"], by_hand=True)
    assert run is not None
    job = collector.one("job registrar")
    assert job.parent == "" and job.facts["standorte.run"] == run.id
    assert {"registrar.read", "registrar.read_blocks"} <= set(of_trace(collector, job))


def broken(_work: Work, _request: Request) -> Outcome:
    """Fail as a step with a bug does: raise an error whose message contains what a person typed."""
    raise ValueError("hanna.palmer@example.com")


def test_a_step_that_breaks_is_told_by_its_class_and_one_that_was_rolled_back_is_not(
    pipeline: Pipeline, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: Mapping[StepName, Step] = {**advance.STEPS, StepName.ATTACH: broken}
    monkeypatch.setattr(advance, "STEPS", steps)
    with traced(collector.url):
        id = pipeline.order(an_order())
        work_off(pipeline)
    assert pipeline.request(id).status is Status.HELD
    assert {span.error for span in collector.named("step attach")} == {"ValueError"}
    assert b"hanna" not in b"".join(collector.raw)


def test_a_call_that_fails_is_told_and_its_step_too(pipeline: Pipeline, collector: Collector) -> None:
    pipeline.registrar.failures.append(GatewayUnavailable("no answer"))
    with traced(collector.url):
        pipeline.order(an_order())
        pipeline.advance()
    assert collector.one("registrar.put_trunks").error == "GatewayUnavailable"
    assert collector.one("step provision").error == "GatewayUnavailable"


def test_a_request_that_ends_early_and_its_mail_are_one_trace(pipeline: Pipeline, collector: Collector) -> None:
    with traced(collector.url):
        with tracing.span("POST /links"):
            pipeline.link(a_link("1000001"))
        work_off(pipeline)
    step = collector.one("step verify")
    assert step.facts["standorte.status"] == "rejected" and step.facts["standorte.reason"] == "ownership_not_proven"
    parents = {mail.facts["standorte.template"]: mail.parent for mail in collector.named("mail")}
    assert parents == {"link_receipt": collector.one("POST /links").id, "request_ended": step.id}


def test_what_is_not_sampled_is_not_sent_and_its_decision_travels_along(
    pipeline: Pipeline, collector: Collector
) -> None:
    with traced(collector.url, OTEL_TRACES_SAMPLER="parentbased_always_off"), tracing.span("POST /orders"):
        id = pipeline.order(an_order())
    with traced(collector.url):
        work_off(pipeline)
    traceparent = pipeline.request(id).traceparent
    assert traceparent is not None and int(traceparent[-2:], 16) % 2 == 0
    assert {span.name for span in collector.spans} == {"registrar.put_blocks"}


def test_an_order_of_a_file_stays_in_its_trace_where_the_worker_makes_none() -> None:
    of_file = f"00-{1:032x}-{1:016x}-01"
    request = Request(bulk_id=uuid4(), kind=Kind.ORDER, status=Status.ACKNOWLEDGED, traceparent=of_file)
    join_trace(request)
    assert request.traceparent == of_file


def test_log_lines_have_the_id_of_their_trace(
    pipeline: Pipeline, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = logging.getLogger().handlers[:]
    configure_logging("json")
    try:
        with traced(collector.url):
            pipeline.order(an_order())
            work_off(pipeline)
    finally:
        logging.getLogger().handlers[:] = handlers
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root = collector.one("request")
    told = {(line["event"], line.get("template")) for line in lines if line.get("trace_id") == root.trace}
    assert {("step.done", None), ("request.completed", None), ("message.left", "order_completed")} <= told


def test_the_operator_names_the_service(collector: Collector) -> None:
    with traced(collector.url, OTEL_SERVICE_NAME="portal-berlin"), tracing.span("work"):
        pass
    assert collector.one("work").service == "portal-berlin"


@pytest.mark.parametrize(
    "settings",
    [{"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}],
)
def test_traces_can_be_switched_off(collector: Collector, settings: dict[str, str]) -> None:
    with traced(collector.url, **settings):
        assert not tracing.is_on()
        with tracing.span("work") as span:
            assert span.traceparent is None


def test_a_collector_that_hangs_or_is_away_stops_nothing(pipeline: Pipeline) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        with traced(address, OTEL_BSP_SCHEDULE_DELAY="1", OTEL_EXPORTER_OTLP_TIMEOUT="600"):
            id = pipeline.order(an_order())
            work_off(pipeline)
        # The end has not waited for the answer.
        assert "last spans" in {thread.name for thread in threading.enumerate()}
    assert pipeline.request(id).status is Status.COMPLETED
    with traced("http://127.0.0.1:1"):
        second = pipeline.order(replace(an_order(), channels=2))
        work_off(pipeline)
    assert pipeline.request(second).status is Status.COMPLETED


# Redis's client imports parts of OpenTelemetry where it is installed, whatever it is asked.
IMPORTED = """
import sys
import redis
before = set(sys.modules)
from tasks import tracing
from workers import process_pools
from web import app, serve
tracing.begin("test")
print([name for name in set(sys.modules) - before if name.startswith("opentelemetry")])
"""


def test_off_nothing_is_imported() -> None:
    found = subprocess.run([sys.executable, "-c", IMPORTED], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"


def test_off_no_row_has_a_trace(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    work_off(pipeline)
    assert pipeline.request(id).kind is Kind.ORDER and pipeline.request(id).traceparent is None


NOT_INSTALLED = """
import sys
sys.modules["opentelemetry.sdk"] = None
from tasks import tracing
from tasks.logs import configure_logging
configure_logging("json")
tracing.begin("test")
print(tracing.is_on())
"""


def test_a_collector_without_the_library_is_a_warning(collector: Collector) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "PYTHONPATH": ":".join(sys.path)}
    program = [sys.executable, "-c", NOT_INSTALLED]
    found = subprocess.run(program, check=True, capture_output=True, text=True, env=environment)
    assert found.stdout == "False\n" and "traces.not_installed" in found.stderr
