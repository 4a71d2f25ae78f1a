"""Tests that the project's wheel, built from a clean checkout, works in an empty environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from models import migrations
from models.contracts.catalogue import PRICE_LIST
from tests.made_once import made_once

ROOT = Path(__file__).parents[2]
ROOMS = ("models", "tasks", "workers", "web")
NEEDED = (*ROOMS, ".make", "celeryconfig.py", "LICENSE", "pyproject.toml", "README.md")
"""The files and folders from which the wheel is built, the same as in the container."""
PROGRAM = """
from models import migrations
from models.contracts.catalogue import PRICE_LIST
from web.app import create_app

print(migrations.head_revision(), len(PRICE_LIST), migrations.__file__)
client = create_app().test_client()
for language in ("de", "en"):
    print(client.get("/anmelden", headers={"Accept-Language": language}).text)
"""
SETTINGS = {
    "PATH": "/usr/bin:/bin",
    "DATABASE_URL": "postgresql+psycopg://127.0.0.1:1/standorte",
    "REDIS_URL": "redis://127.0.0.1:1",
    "SECRET_KEY": "for-development-only: the key of the tests",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the files of a clean checkout, without a network; return the wheel's file."""
    [found] = made_once(tmp_path_factory, "wheel", _build).glob("*.whl")
    return found


def _build(folder: Path) -> None:
    source = folder / "source"
    source.mkdir(parents=True)
    made = shutil.ignore_patterns("__pycache__", "*.mo")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=made)
        else:
            shutil.copy(ROOT / name, source / name)
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, source], check=True)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an empty Python environment and install the wheel into it; return the environment's folder.

    The wheel's dependencies are found in the environment of the tests.
    """

    def install(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        subprocess.run([*pip, "install", "--no-deps", "--no-index", "--quiet", wheel], check=True)
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

    return made_once(tmp_path_factory, "environment", install)


def test_the_wheel_has_every_file_of_the_rooms_and_the_translations(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        found = {name for name in content.namelist() if ".dist-info/" not in name}
    there = {
        file.relative_to(ROOT).as_posix()
        for room in ROOMS
        for file in (ROOT / room).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    compiled = {Path(name).with_suffix(".mo").as_posix() for name in there if name.endswith(".po")}
    assert compiled
    assert found == there | compiled | {"celeryconfig.py"}


def test_an_empty_environment_runs_the_console(environment: Path, tmp_path: Path) -> None:
    standorte = environment / "bin" / "standorte"
    for arguments, said in ((["--help"], "users"), (["roles", "sql"], "CREATE ROLE standorte_owner")):
        ran = subprocess.run([standorte, *arguments], cwd=tmp_path, env=SETTINGS, capture_output=True, text=True)
        assert (ran.returncode, said in ran.stdout) == (0, True), ran.stderr


def test_an_empty_environment_shows_pages_in_both_languages(environment: Path, tmp_path: Path) -> None:
    command = [str(environment / "bin" / "python"), "-c", PROGRAM]
    ran = subprocess.run(command, cwd=tmp_path, env=SETTINGS, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    facts, _, pages = ran.stdout.partition("\n")
    revision, count, place = facts.split()
    assert (revision, int(count)) == (migrations.head_revision(), len(PRICE_LIST))
    assert Path(place).is_relative_to(environment)
    assert "Passwort vergessen?" in pages and "Forgotten your password?" in pages
