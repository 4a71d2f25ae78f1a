"""The two blueprints that several subjects add their routes to, because their URLs have one prefix."""

from __future__ import annotations

from flask import Blueprint

portal = Blueprint("portal", __name__)
locations = Blueprint("locations", __name__, url_prefix="/standortverwaltung")
