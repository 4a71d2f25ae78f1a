"""Front-end files of others, installed into `static/vendor/` at set-up (`.make/assets`); done without if missing."""

from __future__ import annotations

from pathlib import Path

from flask import current_app, url_for


def vendor(name: str) -> str | None:
    """The address of such a file, or None where it was not installed: the page then works without it."""
    assert current_app.static_folder is not None
    if not Path(current_app.static_folder, "vendor", name).is_file():
        return None
    return url_for("static", filename=f"vendor/{name}")
