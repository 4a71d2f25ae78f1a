"""The program that runs the web application under gunicorn: `python -m web.serve`, with gunicorn's options.

The settings are checked first, so that a missing setting is reported in one line instead of in a traceback of every
process. The application's modules are imported before gunicorn forks, so that its processes share their memory and
start at once; each process builds its own application.
"""

from __future__ import annotations

import importlib
import sys

from gunicorn.app import wsgiapp

from tasks.settings import SettingsError
from web.settings import WebSettings


def main() -> None:
    """Check the settings, then run gunicorn. Exits with status 2 and a message if a setting is missing or invalid."""
    try:
        WebSettings().make_directories()
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    importlib.import_module("web.app")
    wsgiapp.run()


if __name__ == "__main__":
    main()
