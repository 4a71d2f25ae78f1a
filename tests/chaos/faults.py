"""The faults of a chaos run: functions that cause a fault, wait while it lasts, and end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import psutil
import redis
import sqlalchemy as sa

from models.accounts.accounts import Account
from tests.chaos.plant import Plant
from tests.chaos.second_host import second_host
from tests.named_functions import named
from workers import programs

Fault = Callable[[Plant, float], None]
"""A function that causes a fault in the plant, lets it last for the given number of seconds, and ends it."""
FAULTS: dict[str, Fault] = {}
"""All faults by their names in the report, in the order of a run."""
LATE = 0.5
"""Seconds by which each answer of the slow registrar is late: less than any time limit, but far more than usual."""
LOCKED_ROW = "database: one customer's account locked"


_fault = partial(named, FAULTS)


@_fault("worker: some processes killed, three times")
def kill_worker_processes(plant: Plant, seconds: float) -> None:
    for _ in range(3):
        plant.programs["worker"].kill(some=4)
        time.sleep(seconds / 3)


@_fault("worker: killed with all its processes")
def kill_worker(plant: Plant, seconds: float) -> None:
    plant.programs["worker"].kill()
    time.sleep(seconds)


@_fault("worker: its first process killed")
def kill_workers_parent(plant: Plant, seconds: float) -> None:
    plant.programs["worker"].kill(first=True)
    time.sleep(seconds)


@_fault("worker: stopped and continued")
def stop_worker(plant: Plant, seconds: float) -> None:
    stopped = plant.programs["worker"].all()
    _signal(stopped, signal.SIGSTOP)
    time.sleep(seconds)
    _signal(stopped, signal.SIGCONT)


@_fault("beat: killed")
def kill_beat(plant: Plant, seconds: float) -> None:
    plant.programs["beat"].kill()
    time.sleep(seconds)


@_fault("beat: two of them")
def second_beat(plant: Plant, seconds: float) -> None:
    second = plant.start("second beat", programs.beat(plant.directory / "second-schedule"))
    time.sleep(seconds)
    second.end()


@_fault("front: killed in the midst of requests")
def kill_front(plant: Plant, seconds: float) -> None:
    plant.programs["front"].kill()
    time.sleep(seconds)


@_fault("front: its answers lost")
def lose_answers(plant: Plant, seconds: float) -> None:
    with plant.to_front.losing_answers():
        time.sleep(seconds)


@_fault("redis: stopped and started empty")
def stop_redis(plant: Plant, seconds: float) -> None:
    plant.redis.stop()
    time.sleep(seconds)
    plant.redis.start()


@_fault("redis: flushed, three times")
def flush_redis(plant: Plant, seconds: float) -> None:
    for _ in range(3):
        _redis(plant, "FLUSHALL")
        time.sleep(seconds / 3)


@_fault("redis: full")
def fill_redis(plant: Plant, seconds: float) -> None:
    _redis(plant, "CONFIG", "SET", "maxmemory", "1")
    time.sleep(seconds)
    _redis(plant, "CONFIG", "SET", "maxmemory", "0")


@_fault("redis: a read-only replica")
def read_only_redis(plant: Plant, seconds: float) -> None:
    _redis(plant, "REPLICAOF", "127.0.0.1", "1")
    time.sleep(seconds)
    _redis(plant, "REPLICAOF", "NO", "ONE")


@_fault("redis: frozen")
def freeze_redis(plant: Plant, seconds: float) -> None:
    with redis.Redis.from_url(plant.redis.url()) as client:
        frozen = [psutil.Process(int(client.info()["process_id"]))]  # type: ignore[index, unused-ignore]
    _signal(frozen, signal.SIGSTOP)
    time.sleep(seconds)
    _signal(frozen, signal.SIGCONT)


@_fault("database: restarted, fast")
def restart_database(plant: Plant, seconds: float) -> None:
    _restart(plant, signal.SIGINT)
    time.sleep(seconds)


@_fault("database: restarted, immediate")
def crash_database(plant: Plant, seconds: float) -> None:
    _restart(plant, signal.SIGQUIT)
    time.sleep(seconds)


@_fault("database: connections cut, again and again")
def cut_database(plant: Plant, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        plant.to_portal.cut()
        time.sleep(0.4)


@_fault("database: its host silent")
def silence_database(plant: Plant, seconds: float) -> None:
    plant.to_portal.silence()
    time.sleep(seconds)
    plant.to_portal.speak()


@_fault(LOCKED_ROW)
def lock_row(plant: Plant, seconds: float) -> None:
    with suppress(sa.exc.DBAPIError), plant.database.transaction() as session:
        id = plant.customers[1].main.id
        session.execute(sa.select(Account).where(Account.id == id).with_for_update())
        time.sleep(seconds)


@_fault("registrar: silent")
def silence_registrar(plant: Plant, seconds: float) -> None:
    plant.to_registrar.silence()
    time.sleep(seconds)
    plant.to_registrar.speak()


@_fault("registrar: late, but answering")
def slow_registrar(plant: Plant, seconds: float) -> None:
    with plant.to_registrar.answering_late(LATE):
        time.sleep(seconds)


@_fault("registrar: connections cut, also after a commit")
def cut_registrar(plant: Plant, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        plant.to_registrar.cut()
        time.sleep(0.15)


@_fault("mail server: slow")
def slow_mail(plant: Plant, seconds: float) -> None:
    _mood(plant, "slow", seconds)


@_fault("mail server: silent")
def silence_mail(plant: Plant, seconds: float) -> None:
    plant.to_mail.silence()
    time.sleep(seconds)
    plant.to_mail.speak()


@_fault("mail server: refuses one recipient for now")
def refuse_one(plant: Plant, seconds: float) -> None:
    _mood(plant, "refuses one for now", seconds)


@_fault("mail server: refuses one recipient for good")
def refuse_one_for_good(plant: Plant, seconds: float) -> None:
    _mood(plant, "refuses one for good", seconds)


@_fault("letters: their disk full")
def fill_letters_disk(plant: Plant, seconds: float) -> None:
    """Mount a small, full disk in the place of the letters' folder, and unmount it after `seconds`.

    Only root can do that. For other users a file stands in the folder's place: another error, with the same effect.
    """
    folder = plant.directory / "letters"
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]).returncode:
        print("letters: no disk can be mounted here, so a file stands in the folder's place")
        _block_letters(plant, seconds)
        return
    try:
        with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        time.sleep(seconds)
    finally:
        # A worker may have a letter open on it.
        subprocess.run(["umount", "--lazy", folder], check=True)


@_fault("mail server: hangs up after DATA")
def hang_up(plant: Plant, seconds: float) -> None:
    _mood(plant, "hangs up after DATA", seconds)


@_fault("clock: of a second host, two minutes ahead")
def clock_ahead(plant: Plant, seconds: float) -> None:
    with second_host(plant, 120):
        time.sleep(seconds)


@_fault("clock: of a second host, two minutes behind")
def clock_behind(plant: Plant, seconds: float) -> None:
    with second_host(plant, -120):
        time.sleep(seconds)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _redis(plant: Plant, *command: str) -> None:
    with redis.Redis.from_url(plant.redis.url()) as client:
        client.execute_command(*command)


def _restart(plant: Plant, how: signal.Signals) -> None:
    pid = int((plant.postgres.data_dir / "postmaster.pid").read_text().split()[0])
    server = psutil.Process(pid)
    server.send_signal(how)
    psutil.wait_procs([server], timeout=20)
    plant.postgres.start()
    # Our own connections have ended too.
    plant.database.close()


def _block_letters(plant: Plant, seconds: float) -> None:
    folder, kept = plant.directory / "letters", plant.directory / "kept"
    folder.rename(kept)
    folder.write_text("a file where the folder should be")
    time.sleep(seconds)
    folder.unlink()
    # The worker may make the folder anew in this moment.
    folder.mkdir(exist_ok=True)
    for letter in kept.iterdir():
        letter.rename(folder / letter.name)
    kept.rmdir()


def _mood(plant: Plant, mood: str, seconds: float) -> None:
    plant.mail.mood = mood
    time.sleep(seconds)
    plant.mail.mood = "well"
