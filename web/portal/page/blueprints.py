"""The Flask blueprints that several modules share: `portal` (no URL prefix) and `locations` (/standortverwaltung)."""

from __future__ import annotations

from flask import Blueprint

portal = Blueprint("portal", __name__)
locations = Blueprint("locations", __name__, url_prefix="/standortverwaltung")
