"""Tests of playing the demo's scenes: an expected result is accepted, and every other result is reported.

A scene is one request to the portal, such as an order, with what people do until it ends.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from models.states import Reason, Status
from workers.demo.api import PortalApi, View
from workers.demo.play import CannotPlay, Play, Scene, Stand

COMPLETED = Stand(Status.COMPLETED)
HELD = Stand(Status.HELD, Reason.NO_NUMBERS_AVAILABLE)


class Portal:
    """A fake of the portal's API for `httpx`.

    Each GET returns the next of `states`, then the last one again and again. A state is a status and a reason; the
    status "broken" stands for an answer 500. With `same`, all POSTs with one idempotency key get the same request;
    otherwise each makes a new one.
    """

    def __init__(self, *states: tuple[str, str | None], same: bool = True) -> None:
        self._states = itertools.chain(states, itertools.repeat(states[-1]))
        self._same = same
        self._ids: dict[str, str] = {}
        self._said: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        key = request.headers.get("Idempotency-Key", "")
        if request.method == "POST":
            new = f"id-{len(self._ids)}"
            id = self._ids.setdefault(key if self._same else f"{key}{new}", new)
            return httpx.Response(202, json=self._body(id, "acknowledged", None))
        status, reason = next(self._states)
        if status == "broken":
            return httpx.Response(500, text="oh dear")
        return httpx.Response(200, json=self._body("id-0", status, reason))

    def _body(self, id: str, status: str, reason: str | None) -> dict[str, Any]:
        if status not in self._said:
            self._said.append(status)
        timeline = [{"at": "2026-01-01T00:00:00Z", "text": f"now {said}"} for said in self._said]
        body = {"id": id, "kind": "order", "status": status, "step": "verify", "reason": reason}
        return {**body, "customer_number": "1234567", "next": None, "timeline": timeline}


def submit(api: PortalApi, key: str) -> View:
    """Place an order with this idempotency key; return it as the API shows it."""
    return api.submit("orders", {"a": 1}, key)


Perform = Callable[..., tuple[Scene, list[str]]]


@pytest.fixture
def perform() -> Iterator[Perform]:
    opened: list[PortalApi] = []

    def perform(portal: Portal, **scene: Any) -> tuple[Scene, list[str]]:
        api = PortalApi("http://portal.test", "sv_token", httpx.MockTransport(portal))
        opened.append(api)
        played = Scene("An order", submit, **{"end": COMPLETED, **scene})
        said: list[str] = []
        seconds = itertools.count()
        Play(api, [played], lambda _, words: said.append(words), 30, lambda: next(seconds), lambda _: None).run()
        return played, said

    yield perform
    for api in opened:
        api.close()


def test_a_request_that_ends_as_it_should_is_no_problem(perform: Perform) -> None:
    scene, said = perform(Portal(("in_progress", None), ("completed", None)))

    assert scene.problems == []
    assert said == ["now acknowledged", "now in_progress", "now completed"]


def test_another_end_is_a_problem(perform: Perform) -> None:
    scene, _ = perform(Portal(("rejected", "already_attached")))

    assert scene.problems == ["ended rejected, already_attached, not completed"]


def test_the_right_end_for_another_reason_is_a_problem(perform: Perform) -> None:
    end = Stand(Status.REJECTED, Reason.IS_MAIN_ACCOUNT)

    scene, _ = perform(Portal(("rejected", "already_attached")), end=end)

    assert scene.problems == ["ended rejected, already_attached, not rejected, is_main_account"]


def test_no_end_at_all_is_a_problem(perform: Perform) -> None:
    scene, _ = perform(Portal(("in_progress", None)))

    assert scene.problems == ["no end after 30 s: in_progress, step verify"]


def test_where_it_stops_somebody_acts_each_in_turn(perform: Perform) -> None:
    acted: list[str] = []

    def act(view: View) -> str:
        acted.append(f"{view.id} {view.reason}")
        return "refilled"

    held, unproved = ("held", "no_numbers_available"), ("pending", "address_not_proved")
    states = Portal(held, held, ("in_progress", None), unproved, ("completed", None))
    scene, said = perform(states, acts=[(HELD, act), (Stand(Status.PENDING, Reason.ADDRESS_NOT_PROVED), act)])

    assert scene.problems == []
    assert acted == ["id-0 no_numbers_available", "id-0 address_not_proved"]
    assert said.count("(refilled)") == 2


def test_passing_by_where_it_should_have_stopped_is_a_problem(perform: Perform) -> None:
    scene, _ = perform(Portal(("completed", None)), acts=[(HELD, lambda _: "")])

    assert scene.problems == ["never came to stand held, no_numbers_available"]


def test_nobody_can_act(perform: Perform) -> None:
    def act(_: View) -> str:
        raise CannotPlay("nothing left")

    scene, _ = perform(Portal(("held", "no_numbers_available")), acts=[(HELD, act)])

    assert scene.problems == ["nothing left"]


def test_the_same_key_has_to_make_one_request(perform: Perform) -> None:
    scene, _ = perform(Portal(("completed", None)), twice=True)
    assert scene.problems == []

    scene, _ = perform(Portal(("completed", None), same=False), twice=True)
    assert scene.problems == ["the same idempotency key made a second request"]


def test_an_answer_that_should_not_be_ends_the_scene(perform: Perform) -> None:
    scene, _ = perform(Portal(("broken", None)))

    assert scene.problems == ["GET requests/id-0: 500, oh dear"]


def test_the_token_and_the_body_travel_as_the_api_wants_them() -> None:
    seen: list[httpx.Request] = []

    def portal(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return Portal(("completed", None))(request)

    api = PortalApi("http://portal.test", "sv_token", httpx.MockTransport(portal))
    api.submit("orders", {"product": "trunk-2"}, "key-1")
    api.close()

    [request] = seen
    assert str(request.url) == "http://portal.test/api/v1/orders"
    assert request.headers["Authorization"] == "Bearer sv_token"
    assert request.headers["Idempotency-Key"] == "key-1"
    assert json.loads(request.content) == {"product": "trunk-2"}
