"""The two blueprints on which pages of several subjects hang, so that their addresses begin alike."""

from __future__ import annotations

from flask import Blueprint

portal = Blueprint("portal", __name__)
locations = Blueprint("locations", __name__, url_prefix="/standortverwaltung")
