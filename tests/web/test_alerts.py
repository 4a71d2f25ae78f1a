"""Tests of the Prometheus alerts in docs/alerts.yml and of the panels in docs/grafana-dashboard.json.

Alerts and panels may only use metrics that exist. Each alert must have a runbook, and its metric must rise when the
fault happens that it reports.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from models.jobs.jobs import record_run
from models.jobs.outages import ExternalSystem, Outage
from models.messages.outbox import Recipient, queue_message
from models.requests.requests import Request
from models.states import Status
from models.telephony.numbers import NumberBlock
from tests.web.conftest import ORDER, Back, Front

DOCS = Path(__file__).parents[2] / "docs"
RULES: list[dict[str, Any]] = YAML(typ="safe", pure=True).load((DOCS / "alerts.yml").read_text())["groups"][0]["rules"]
OURS = [rule for rule in RULES if rule["alert"] != "StandorteCertificateEnds"]
"""The rules for metrics of the portal: all but that of the certificate, which the proxy measures."""
PANELS: list[dict[str, Any]] = json.loads((DOCS / "grafana-dashboard.json").read_text())["panels"]
LABELLED = re.compile(r"\b(standorte_\w+)(?:\{([^}]*)\})?")
Figures = dict[str, list[tuple[dict[str, str], float]]]


def names_in(expression: str) -> list[tuple[str, str]]:
    """Return the name of each metric of the portal in a Prometheus expression, with its labels.

    The labels are the text between the braces, such as `status="held"`; "" without braces.
    """
    return LABELLED.findall(expression)


@pytest.fixture
def quiet(front: Front, back: Back) -> Front:
    """Provide the client of a web application for which no alert should fire.

    The sweep, the task that looks for due work, is recorded as run just now.
    """
    with back.runtime.database.transaction() as session:
        record_run(session, "sweep", back.clock())
    return front


def figures(front: Front) -> Figures:
    """Return the samples of all metrics that /metrics shows or this process has, by name.

    A sample is a pair of its labels (a dictionary) and its value.
    """
    text = front.client.get("/metrics").text
    found: Figures = {}
    families = [*text_string_to_metric_families(text), *REGISTRY.collect()]
    for family in families:
        # A figure without labels' values, of which there is none now, has its name all the same.
        found.setdefault(family.name, [])
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def test_there_are_eleven_rules_each_with_a_runbook() -> None:
    assert len(RULES) == 11
    headings = re.findall(r"^## (\w+)$", (DOCS / "runbooks.md").read_text(), re.M)
    assert [rule["alert"] for rule in RULES] == headings
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"]


def ensure_shown(front: Front, expression: str) -> None:
    """Fail if the Prometheus expression uses a metric that /metrics does not show, or a label that the metric lacks."""
    front.client.get("/anmelden")
    shown = figures(front)
    asked = names_in(expression)
    assert asked
    for name, labels in asked:
        assert base(name) in shown or name in shown, name
        for label in re.findall(r"(\w+)[!=]=?~?\"", labels):
            assert all(label in its for its, _ in shown.get(name, [])), (name, label)


def base(name: str) -> str:
    """Return the name of the metric to which a sample belongs: `name` without an ending such as _total or _bucket."""
    return re.sub("_(total|bucket|count|sum|created)$", "", name)


@pytest.mark.parametrize("rule", OURS, ids=lambda rule: str(rule["alert"]))
def test_a_rule_asks_for_figures_that_are_shown_with_labels_that_they_have(quiet: Front, rule: dict[str, Any]) -> None:
    ensure_shown(quiet, rule["expr"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_asks_for_figures_that_are_shown(quiet: Front, panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        ensure_shown(quiet, target["expr"])
        kept = {label for labels in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in labels.split(", ")}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept


def test_the_dashboard_shows_every_figure_once_in_its_place(quiet: Front) -> None:
    asked = {base(name) for panel in PANELS for target in panel["targets"] for name, _ in names_in(target["expr"])}
    quiet.client.get("/anmelden")
    assert {base(name) for name in figures(quiet) if name.startswith("standorte_")} == asked
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS}) == len(PANELS)
    named = " ".join(panel["description"] for panel in PANELS)
    assert {rule["alert"] for rule in OURS} <= set(re.findall(r"Standorte\w+", named))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_what_a_summary_names_is_a_label_that_the_rule_keeps(rule: dict[str, Any]) -> None:
    kept = {label for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in labels.split(", ")}
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= kept


def value(front: Front, name: str, **labels: str) -> float:
    """Return the highest value of the metric `name` among the samples with these labels; 0 if there is none."""
    fitting = [number for its, number in figures(front).get(name, []) if labels.items() <= its.items()]
    return max(fitting, default=0.0)


def test_each_fault_moves_the_figure_of_its_rule(quiet: Front, back: Back, superuser: sa.Engine) -> None:
    front, clock, database = quiet, back.clock, back.runtime.database
    assert value(front, "standorte_waiting_seconds") == value(front, "standorte_outage_seconds") == 0
    assert value(front, "standorte_sweep_age_seconds") == 0
    assert value(front, "standorte_free_blocks", area_code="030", size="10") > 0
    id = front.post("/orders", ORDER).get_json()["id"]
    with database.transaction() as session:
        to = Recipient("Hanna Palmer", "hanna.palmer@example.com", "de")
        queue_message(session, None, "new_sign_in", to, {}, clock())
        session.add(Outage(system=ExternalSystem.REGISTRAR, since=clock(), failures=1, try_again_at=clock()))
    clock.advance(timedelta(minutes=3))
    for kind in ("requests.verify", "messages.send"):
        assert value(front, "standorte_waiting_seconds", work=kind) == 180, kind
    assert value(front, "standorte_waiting_seconds", work="requests.provision") == 0
    assert value(front, "standorte_sweep_age_seconds") == 180
    assert value(front, "standorte_outage_seconds", system="registrar") == 180
    # No broker is there.
    assert figures(front)["standorte_broker_up"] == [({}, 0.0)]
    with superuser.begin() as connection:
        held = {"status": Status.HELD, "reason": "no_numbers_available", "due_at": None}
        connection.execute(sa.update(Request).where(Request.id == id).values(held))
        connection.execute(sa.update(NumberBlock).values(available_from=clock() + timedelta(days=9000)))
    assert value(front, "standorte_requests", status="held") == 1
    assert value(front, "standorte_free_blocks") == 0


def test_errors_and_slow_answers_are_counted_and_what_monitors_ask_is_not(quiet: Front) -> None:
    def count(status: str) -> float:
        return REGISTRY.get_sample_value("standorte_http_answers_total", {"status": status}) or 0

    before = count("2xx"), count("4xx"), REGISTRY.get_sample_value("standorte_http_seconds_count") or 0
    quiet.client.get("/anmelden")
    quiet.client.get("/nothing-here")
    for path in ("/healthz", "/readyz", "/metrics"):
        quiet.client.get(path)
    assert (count("2xx"), count("4xx")) == (before[0] + 1, before[1] + 1)
    assert REGISTRY.get_sample_value("standorte_http_seconds_count") == before[2] + 2


def test_a_job_shows_how_often_it_is_due(quiet: Front) -> None:
    assert value(quiet, "standorte_job_interval_seconds", job="registrar") == 3600
