"""What goes wrong in a chaos run. Each fault is a function that causes it and ends it; its docstring is its name."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import redis
import sqlalchemy as sa

from models.accounts.accounts import Account
from tests.chaos.plant import Plant, skewed_worker
from workers import programs

Fault = Callable[[Plant, float], None]
"""Causes the fault, lets it last for so many seconds, and ends it."""


def kill_worker_processes(plant: Plant, seconds: float) -> None:
    """worker: some processes killed, three times"""
    for _ in range(3):
        plant.programs["worker"].kill(some=4)
        time.sleep(seconds / 3)


def kill_worker(plant: Plant, seconds: float) -> None:
    """worker: killed with all its processes"""
    plant.programs["worker"].kill()
    time.sleep(seconds)


def kill_workers_parent(plant: Plant, seconds: float) -> None:
    """worker: its first process killed"""
    plant.programs["worker"].kill(first=True)
    time.sleep(seconds)


def stop_worker(plant: Plant, seconds: float) -> None:
    """worker: stopped and continued"""
    stopped = plant.programs["worker"].all()
    _signal(stopped, signal.SIGSTOP)
    time.sleep(seconds)
    _signal(stopped, signal.SIGCONT)


def kill_beat(plant: Plant, seconds: float) -> None:
    """beat: killed"""
    plant.programs["beat"].kill()
    time.sleep(seconds)


def second_beat(plant: Plant, seconds: float) -> None:
    """beat: two of them"""
    second = plant.start("second beat", programs.beat(plant.directory / "second-schedule"))
    time.sleep(seconds)
    second.end()


def kill_front(plant: Plant, seconds: float) -> None:
    """front: killed in the midst of requests"""
    plant.programs["front"].kill()
    time.sleep(seconds)


def stop_redis(plant: Plant, seconds: float) -> None:
    """redis: stopped and started empty"""
    plant.redis.stop()
    time.sleep(seconds)
    plant.redis.start()


def flush_redis(plant: Plant, seconds: float) -> None:
    """redis: flushed, three times"""
    for _ in range(3):
        _redis(plant, "FLUSHALL")
        time.sleep(seconds / 3)


def fill_redis(plant: Plant, seconds: float) -> None:
    """redis: full"""
    _redis(plant, "CONFIG", "SET", "maxmemory", "1")
    time.sleep(seconds)
    _redis(plant, "CONFIG", "SET", "maxmemory", "0")


def read_only_redis(plant: Plant, seconds: float) -> None:
    """redis: a read-only replica"""
    _redis(plant, "REPLICAOF", "127.0.0.1", "1")
    time.sleep(seconds)
    _redis(plant, "REPLICAOF", "NO", "ONE")


def freeze_redis(plant: Plant, seconds: float) -> None:
    """redis: frozen"""
    with redis.Redis(port=plant.redis.port) as client:
        frozen = [psutil.Process(int(client.info()["process_id"]))]  # type: ignore[index, unused-ignore]
    _signal(frozen, signal.SIGSTOP)
    time.sleep(seconds)
    _signal(frozen, signal.SIGCONT)


def restart_database(plant: Plant, seconds: float) -> None:
    """database: restarted, fast"""
    _restart(plant, signal.SIGINT)
    time.sleep(seconds)


def crash_database(plant: Plant, seconds: float) -> None:
    """database: restarted, immediate"""
    _restart(plant, signal.SIGQUIT)
    time.sleep(seconds)


def cut_database(plant: Plant, seconds: float) -> None:
    """database: connections cut, again and again"""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        plant.to_portal.cut()
        time.sleep(0.4)


def silence_database(plant: Plant, seconds: float) -> None:
    """database: its host silent"""
    plant.to_portal.silence()
    time.sleep(seconds)
    plant.to_portal.speak()


def lock_row(plant: Plant, seconds: float) -> None:
    """database: one customer's account locked"""
    with suppress(sa.exc.DBAPIError), plant.database.transaction() as session:
        id = plant.customers[1].main.id
        session.execute(sa.select(Account).where(Account.id == id).with_for_update())
        time.sleep(seconds)


def silence_registrar(plant: Plant, seconds: float) -> None:
    """registrar: silent"""
    plant.to_registrar.silence()
    time.sleep(seconds)
    plant.to_registrar.speak()


def cut_registrar(plant: Plant, seconds: float) -> None:
    """registrar: connections cut, also after a commit"""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        plant.to_registrar.cut()
        time.sleep(0.15)


def slow_mail(plant: Plant, seconds: float) -> None:
    """mail server: slow"""
    _mood(plant, "slow", seconds)


def silence_mail(plant: Plant, seconds: float) -> None:
    """mail server: silent"""
    plant.to_mail.silence()
    time.sleep(seconds)
    plant.to_mail.speak()


def refuse_one(plant: Plant, seconds: float) -> None:
    """mail server: refuses one recipient for now"""
    _mood(plant, "refuses one for now", seconds)


def refuse_one_for_good(plant: Plant, seconds: float) -> None:
    """mail server: refuses one recipient for good"""
    _mood(plant, "refuses one for good", seconds)


def lose_letters(plant: Plant, seconds: float) -> None:
    """letters: no room for them"""
    folder = plant.directory / "letters"
    kept = folder.rename(folder.with_name("kept")) if folder.exists() else None
    folder.write_text("a file where the folder should be")
    time.sleep(seconds)
    folder.unlink()
    if kept is not None:
        kept.rename(folder)


def hang_up(plant: Plant, seconds: float) -> None:
    """mail server: hangs up after DATA"""
    _mood(plant, "hangs up after DATA", seconds)


def clock_ahead(plant: Plant, seconds: float) -> None:
    """clock: of a second worker, two minutes ahead"""
    _beside(plant, 120, seconds)


def clock_behind(plant: Plant, seconds: float) -> None:
    """clock: of a second worker, two minutes behind"""
    _beside(plant, -120, seconds)


FAULTS: tuple[Fault, ...] = (
    kill_worker_processes, kill_worker, kill_workers_parent, stop_worker, kill_beat, second_beat, kill_front,
    stop_redis, flush_redis, fill_redis, read_only_redis, freeze_redis,
    restart_database, crash_database, cut_database, silence_database, lock_row,
    silence_registrar, cut_registrar,
    slow_mail, silence_mail, refuse_one, refuse_one_for_good, hang_up, lose_letters,
    clock_ahead, clock_behind,
)  # fmt: skip


def name_of(fault: Fault) -> str:
    """Return what the fault is called in the report."""
    assert fault.__doc__ is not None
    return fault.__doc__


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _redis(plant: Plant, *command: str) -> None:
    with redis.Redis(port=plant.redis.port) as client:
        client.execute_command(*command)


def _restart(plant: Plant, how: signal.Signals) -> None:
    pid = int((plant.postgres.data_dir / "postmaster.pid").read_text().split()[0])
    server = psutil.Process(pid)
    server.send_signal(how)
    psutil.wait_procs([server], timeout=20)
    plant.postgres.start()
    # Our own connections have ended too.
    plant.database.close()


def _mood(plant: Plant, mood: str, seconds: float) -> None:
    plant.mail.mood = mood
    time.sleep(seconds)
    plant.mail.mood = "well"


def _beside(plant: Plant, off: float, seconds: float) -> None:
    command, environment = skewed_worker(off)
    worker = plant.start("skewed worker", command, **environment)
    time.sleep(seconds + 3)
    worker.end()
