"""Run the scenes of the demo against the running stack, and check how they end.

A scene is one request to the portal (an order or a link, for example) with what people do until it ends.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from models.states import ENDED, Reason, Status
from workers.demo.api import PortalApi, UnexpectedAnswer, View

POLL_SECONDS = 0.1

Act = Callable[[View], str]
"""A function that does what a person has to do for a request, and returns a sentence that says what was done."""


class CannotPlay(Exception):
    """Raised when something that the demo needs is missing; the message says what, and often how to get it."""


@dataclass(frozen=True, slots=True)
class Stand:
    """A status of a request with its reason (None: no reason). It is the current or an expected status."""

    status: Status
    reason: Reason | None = None

    def __str__(self) -> str:
        return self.status if self.reason is None else f"{self.status}, {self.reason}"


@dataclass(slots=True)
class Scene:
    """One request of the demo: how to submit it, how it has to end, and its progress so far.

    `submit` gets the API and an idempotency key, and creates the request. `end` is the expected last status and reason.
    `acts` are pairs of a status that the request has to reach, in this order, and what a person does then. With
    `twice`, the request is submitted a second time under the same key. `mails` is the expected number of mails by
    e-mail address.

    Progress: `view` is the request as the API showed it most recently, `acted` the number of `acts` done, `began` the
    clock's value at the submission, `seconds` the time since then, `problems` a sentence for each thing that went
    wrong.
    """

    title: str
    submit: Callable[[PortalApi, str], View]
    end: Stand
    acts: Sequence[tuple[Stand, Act]] = ()
    twice: bool = False
    mails: Mapping[str, int] = field(default_factory=dict)

    view: View | None = None
    acted: int = 0
    began: float = 0.0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def stand(self) -> Stand | None:
        """Return the request's current status and reason; None before the request was submitted."""
        if self.view is None:
            return None
        reason = Reason(self.view.reason) if self.view.reason else None
        return Stand(Status(self.view.status), reason)

    @property
    def over(self) -> bool:
        """Return whether the scene is over: the request has ended, or something went wrong."""
        return bool(self.problems) or (self.view is not None and Status(self.view.status) in ENDED)


@dataclass(slots=True)
class Play:
    """One run of the demo with its `scenes`; `patience` is how many seconds a request may take to end.

    `say` is called with each new sentence: an event of a request's timeline, or what a person did. `clock` returns a
    time in seconds, `pause` sleeps for as many seconds as it is given.
    """

    api: PortalApi
    scenes: Sequence[Scene]
    say: Callable[[Scene, str], None]
    patience: float = 30.0
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def run(self) -> None:
        """Submit the requests of all scenes, do what people have to do, and wait until each has ended or timed out.

        What goes wrong, such as an unexpected end, is added to the scene's `problems` and not raised.
        """
        for scene in self.scenes:
            self._guarded(scene, self._submit)
        while running := [scene for scene in self.scenes if not scene.over]:
            self.pause(POLL_SECONDS)
            for scene in running:
                self._guarded(scene, self._follow)
        for scene in self.scenes:
            if not scene.problems:
                _judge(scene)

    def _guarded(self, scene: Scene, part: Callable[[Scene], None]) -> None:
        try:
            part(scene)
        except (UnexpectedAnswer, CannotPlay) as error:
            scene.problems.append(str(error))

    def _submit(self, scene: Scene) -> None:
        key = str(uuid.uuid4())
        scene.began = self.clock()
        self._show(scene, scene.submit(self.api, key))
        if not scene.twice or scene.view is None:
            return
        again = scene.submit(self.api, key)
        if again.id == scene.view.id:
            self.say(scene, "(sent again under the same key: the same request)")
        else:
            scene.problems.append("the same idempotency key made a second request")

    def _follow(self, scene: Scene) -> None:
        assert scene.view is not None
        self._show(scene, self.api.request(scene.view.id))
        scene.seconds = self.clock() - scene.began
        if scene.acted < len(scene.acts) and scene.stand == scene.acts[scene.acted][0]:
            _, act = scene.acts[scene.acted]
            scene.acted += 1
            self.say(scene, f"({act(scene.view)})")
        if not scene.over and scene.seconds > self.patience:
            scene.problems.append(f"no end after {self.patience:.0f} s: {scene.stand}, step {scene.view.step}")

    def _show(self, scene: Scene, view: View) -> None:
        told = len(scene.view.timeline) if scene.view is not None else 0
        scene.view = view
        for sentence in view.timeline[told:]:
            self.say(scene, sentence)


def _judge(scene: Scene) -> None:
    if scene.stand != scene.end:
        scene.problems.append(f"ended {scene.stand}, not {scene.end}")
    if scene.acted < len(scene.acts):
        scene.problems.append(f"never came to stand {scene.acts[scene.acted][0]}")
