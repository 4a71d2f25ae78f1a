"""The program that runs the web application under gunicorn: `python -m web.serve`, with gunicorn's options.

The settings are checked first, so that a missing one is reported in one line, not in a traceback of every process. Then
the application's modules are imported, and the facts about places are read, before gunicorn forks: so its processes
start at once and share that memory. Each process builds its own application.
"""

from __future__ import annotations

import importlib
import sys

import structlog
from gunicorn.app import wsgiapp

from models.telephony.place_facts import read_places_once
from models.version import VERSION
from tasks import tracing
from tasks.logs import configure_logging
from tasks.settings import SettingsError
from web.settings import WebSettings

log = structlog.get_logger()


def main() -> None:
    """Check the settings, then run gunicorn. Exits with status 2 and a message if a setting is missing or invalid."""
    try:
        settings = WebSettings()
        settings.make_directories()
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    importlib.import_module("web.app")
    tracing.load()
    configure_logging(settings.log_format)
    log.info("program.started", program="web", version=VERSION)
    if fault := read_places_once(settings.database_url):
        log.warning("places.not_read", error=repr(fault))
    wsgiapp.run()


if __name__ == "__main__":
    main()
