"""`standorte demo`: submit requests of each kind over HTTP to the running stack, and show their progress."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from models.db.session import Database
from models.messages.outbox import MessageState, messages_of
from models.people.passwords import hash_password
from models.states import ENDED
from models.vault import Vault
from workers.commands.requests import STYLES
from workers.commands.resources import open_database, out, refuse
from workers.demo import play
from workers.demo.api import PortalApi
from workers.demo.cast import PASSWORD
from workers.demo.customers import Carrier, trunk_records
from workers.demo.mailbox import Mailbox, caught_mails
from workers.demo.people import People
from workers.demo.play import CannotPlay, Play, Scene
from workers.demo.scenes import Stage, clear_stage, scenes, set_stage
from workers.gateways.registrar import KamailioRegistrar
from workers.settings import WorkerSettings
from workers.stack.data_directory import StackDirectory

MAILS_MAY_TAKE = 20.0
"""Seconds to wait after the last request has ended until every mail has been sent."""
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_blue")


def demo(
    patience: Annotated[float, typer.Option(help="Seconds that a request may take to come to its end.", min=1)] = 60.0,
) -> None:
    """Submit requests of each kind over HTTP to the running stack, and show their timelines as they grow.

    The demo also acts for the users on the portal's pages, with the links and codes from their mails and letters. Ends
    with 0 if every request ends as expected and every user got exactly the expected mails, else with 1. Can be
    repeated: every run creates new accounts in place of those that it uses up.
    """
    settings = WorkerSettings()
    with open_database() as database:
        began = time.time()  # noqa: TID251 - compared with the times of files on this machine
        try:
            mailbox = _mailbox(settings)
            stage = _set_stage(database, settings)
        except CannotPlay as error:
            refuse(str(error))
        try:
            with closing(PortalApi(settings.base_url, stage.token)) as api:
                people = People(settings.base_url, api, database, mailbox)
                played = _perform(api, scenes(stage, people), patience)
        finally:
            with database.transaction() as session:
                clear_stage(session, database.now())
        mails = _check_mails(database, played, mailbox.mails, began)
    out.print(_verdict(played, mails))
    if any(scene.problems for scene in played):
        raise typer.Exit(1)


def _mailbox(settings: WorkerSettings) -> Mailbox:
    """Return a reader of the mails and letters that the embedded stack in this directory stores as files.

    Raises `CannotPlay` unless the settings name that stack's database.
    """
    directory = StackDirectory()
    if directory.read().environment.get("DATABASE_URL") != settings.database_url:
        raise CannotPlay("The demo reads mails and letters, and can do so only of the stack that `standorte up` runs.")
    return Mailbox(directory.mail, settings.letters_dir)


def _set_stage(database: Database, settings: WorkerSettings) -> Stage:
    vault = Vault(*settings.secret_keys)
    carrier = Carrier(vault, settings.sip_domain, hash_password(PASSWORD), database.now())
    with database.transaction() as session:
        stage = set_stage(session, carrier)
        records = trunk_records(session, vault, list(stage.fresh.values()))
    with closing(KamailioRegistrar(settings.registrar_url)) as registrar:
        for failure in registrar.put_trunks(records):
            if failure is not None:
                raise failure
    return stage


def _perform(api: PortalApi, played: list[Scene], patience: float) -> list[Scene]:
    colours = {scene.title: COLOURS[place % len(COLOURS)] for place, scene in enumerate(played)}
    with Live(_standing(played), console=out, refresh_per_second=8, transient=True) as live:

        def say(scene: Scene, sentence: str) -> None:
            line = Text.assemble((f"{scene.title:<40} ", colours[scene.title]), sentence)
            live.console.print(line)
            live.update(_standing(played))

        Play(api, played, say, patience).run()
    return played


def _check_mails(database: Database, played: Sequence[Scene], folder: Path, since: float) -> dict[str, str]:
    """Compare the mail files in `folder` with the mails that each scene (a request of the demo) expects.

    Waits first until the last mails were sent. Adds each difference to the scene's `problems`. Ignores files from more
    than a second before `since` (POSIX time). Return the number of mails of each scene, as text, by scene title.
    """
    ids = {scene.title: uuid.UUID(scene.view.id) for scene in played if scene.view}
    _await_the_last(database, list(ids.values()))
    with database.transaction() as session:
        caught = caught_mails(session, folder, list(ids.values()), since - 1)
    return {scene.title: _compared(scene, dict(caught[ids[scene.title]])) for scene in played if scene.view}


def _await_the_last(database: Database, ids: Sequence[uuid.UUID]) -> None:
    """Wait until no mail of the requests with these ids is queued, for at most 20 seconds (`MAILS_MAY_TAKE`).

    The last mails of a request are sent after it has ended.
    """
    deadline = time.monotonic() + MAILS_MAY_TAKE
    while time.monotonic() < deadline:
        with database.transaction() as session:
            if all(message.state is not MessageState.QUEUED for message in messages_of(session, ids)):
                return
        time.sleep(play.POLL_SECONDS)


def _compared(scene: Scene, got: dict[str, int]) -> str:
    if got != scene.mails:
        found = ", ".join(f"{count} to {address}" for address, count in sorted(got.items())) or "none"
        right = ", ".join(f"{count} to {address}" for address, count in sorted(scene.mails.items())) or "none"
        scene.problems.append(f"mails: {found}; it should be {right}")
    return str(sum(got.values()))


def _standing(played: Sequence[Scene]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for scene in played:
        status = scene.stand.status if scene.stand else None
        mark = ("✗" if scene.problems else "●" if status in ENDED else "○") if status else " "
        table.add_row(mark, scene.title, Text(status or "", style=STYLES.get(status, "bold") if status else ""))
    return table


def _verdict(played: Sequence[Scene], mails: dict[str, str]) -> Table:
    table = Table("", "request", "account", "ends", "seconds", "mails", box=None, padding=(0, 1))
    for scene in played:
        mark = Text("✗", style="red") if scene.problems else Text("✓", style="green")
        number = scene.view.customer_number if scene.view else ""
        stand = str(scene.stand or "was not accepted")
        table.add_row(mark, scene.title, number, stand, f"{scene.seconds:.1f}", mails.get(scene.title, ""))
        for problem in scene.problems:
            table.add_row("", "", "", Text(problem, style="red"), "", "")
    return table
