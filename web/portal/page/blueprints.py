"""The two blueprints to which several modules add their routes, because the URLs of these share a prefix."""

from __future__ import annotations

from flask import Blueprint

portal = Blueprint("portal", __name__)
locations = Blueprint("locations", __name__, url_prefix="/standortverwaltung")
