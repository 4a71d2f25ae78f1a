"""`standorte demo`: orders and link requests over HTTP against the running stack, to be watched."""

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

from models.messages import MessageState, messages_of
from models.people import hash_password
from models.session import Database
from models.states import ENDED, Status
from models.values import utc_now
from models.vault import Vault
from workers.commands.hints import hint_after_commit
from workers.commands.numbers import going_on
from workers.commands.requests import STYLES
from workers.commands.resources import open_database, out, refuse
from workers.demo.api import PortalApi
from workers.demo.cast import PASSWORD
from workers.demo.customers import Carrier, trunk_records
from workers.demo.mailbox import caught_mails
from workers.demo.play import CannotPlay, Play, Scene
from workers.demo.scenes import Stage, clear_stage, refill, scenes, set_stage
from workers.gateways.registrar import KamailioRegistrar
from workers.settings import WorkerSettings
from workers.stack.directory import StackDirectory

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_blue")


def demo(
    patience: Annotated[float, typer.Option(help="Seconds that a request may take to come to its end.", min=1)] = 30.0,
) -> None:
    """Play orders and link requests over HTTP against the running stack, and watch their timelines grow.

    Ends with 0 if every request ends as it should and everybody concerned got exactly one mail, else with 1.
    Can be repeated: what gets used up is made anew.
    """
    settings = WorkerSettings()
    with open_database() as database:
        began = time.time()
        try:
            stage = _set_stage(database, settings)
        except CannotPlay as error:
            refuse(str(error))
        try:
            with closing(PortalApi(settings.base_url, stage.token)) as api:
                played = _perform(database, api, stage, patience)
        finally:
            with database.transaction() as session:
                clear_stage(session, utc_now())
        mails = _check_mails(database, played, _mail_folder(settings), began)
    out.print(_verdict(played, mails))
    if any(scene.problems for scene in played):
        raise typer.Exit(1)


def _set_stage(database: Database, settings: WorkerSettings) -> Stage:
    vault = Vault(settings.secret_key.get_secret_value())
    carrier = Carrier(vault, settings.sip_domain, hash_password(PASSWORD), utc_now())
    with database.transaction() as session:
        stage = set_stage(session, carrier)
        records = trunk_records(session, vault, stage.fresh)
    with closing(KamailioRegistrar(settings.registrar_url)) as registrar:
        for failure in registrar.put_trunks(records):
            if failure is not None:
                raise failure
    return stage


def _perform(database: Database, api: PortalApi, stage: Stage, patience: float) -> list[Scene]:
    def stock(_: str) -> str:
        with database.transaction() as session:
            done = refill(session, stage.empty, utc_now())
        if done.retried:
            hint_after_commit()
        return f"standorte numbers stock --area-code {stage.empty.area_code}: {going_on(len(done.retried))}"

    def cancel(id: str) -> str:
        api.cancel(id)
        return "cancelled through the API, as the requester"

    played = scenes(stage, stock, cancel)
    colours = {scene.title: COLOURS[place % len(COLOURS)] for place, scene in enumerate(played)}
    with Live(_standing(played), console=out, refresh_per_second=8, transient=True) as live:

        def say(scene: Scene, sentence: str) -> None:
            line = Text.assemble((f"{scene.title:<40} ", colours[scene.title]), sentence)
            live.console.print(line)
            live.update(_standing(played))

        Play(api, played, say, patience).run()
    return played


def _mail_folder(settings: WorkerSettings) -> Path | None:
    """Where the mail catcher keeps what it caught; None if it is not the embedded stack that we talk to."""
    directory = StackDirectory()
    ours = directory.read().environment.get("DATABASE_URL") == settings.database_url
    return directory.mail if ours and directory.mail.is_dir() else None


def _check_mails(database: Database, played: Sequence[Scene], folder: Path | None, since: float) -> dict[str, str]:
    """Whether everybody concerned got exactly one mail; by scene, how many or why nobody can tell."""
    completed = [scene for scene in played if scene.view and scene.view.status == Status.COMPLETED]
    ids = [uuid.UUID(scene.view.id) for scene in completed if scene.view]
    words: dict[str, str] = {}
    with database.transaction() as session:
        if folder is not None:
            caught = caught_mails(session, folder, ids, since - 1)
            for id, scene in zip(ids, completed, strict=True):
                words[scene.title] = _compared(scene, dict(caught[id]))
        else:
            # No embedded stack: what the workers say they have sent is all that can be known.
            sent = [message for message in messages_of(session, ids) if message.state is MessageState.SENT]
            for id, scene in zip(ids, completed, strict=True):
                addresses = [message.recipient_address for message in sent if message.request_id == id]
                words[scene.title] = _compared(scene, {a: addresses.count(a) for a in addresses}) + " sent"
    return words


def _compared(scene: Scene, got: dict[str, int]) -> str:
    if got != dict.fromkeys(scene.recipients, 1):
        found = ", ".join(f"{count} to {address}" for address, count in sorted(got.items())) or "none"
        scene.problems.append(f"mails: {found}; one each should go to {', '.join(sorted(scene.recipients))}")
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
