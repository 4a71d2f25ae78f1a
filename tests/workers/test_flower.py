"""Tests of Flower as docker-compose.yml runs it: it uses the portal's broker settings and asks for its password."""

from __future__ import annotations

import sys

import httpx

from tests.fakes import wait_until
from tests.workers.conftest import Children
from workers.stack.ports import LOOPBACK, accepts_connections, free_port


def test_flower_runs_with_our_settings_and_shows_nothing_without_its_password(children: Children) -> None:
    port = free_port()
    command = [sys.executable, "-m", "celery", "--app", "workers.app:app", "flower"]
    children.start([*command, f"--address={LOOPBACK}", f"--port={port}"], FLOWER_BASIC_AUTH="flower:of-the-test")
    wait_until(lambda: accepts_connections(port), what="Flower")
    flower = f"http://{LOOPBACK}:{port}"
    assert httpx.get(f"{flower}/healthcheck", timeout=30).text == "OK"
    assert httpx.get(f"{flower}/workers", timeout=30).status_code == 401
    shown = httpx.get(f"{flower}/broker", timeout=30, auth=("flower", "of-the-test"))
    assert shown.status_code == 200 and "redis://" in shown.text
