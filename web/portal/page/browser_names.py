"""The names of browsers and operating systems, read from User-Agent headers, for lists and mails about sign-ins."""

from __future__ import annotations

import re

from flask import request
from flask_babel import gettext

from models.people.login_changes import Where

# In this order, because browsers also name the browsers that they imitate.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """Return the browser and operating system that a User-Agent header names: "Firefox, Windows".

    A part that is not recognized is left out; without both, returns "Unknown browser" in the user's language.
    """
    return known_browser_name(user_agent) or gettext("Unknown browser")


def known_browser_name(user_agent: str) -> str:
    """Return the browser and operating system that a User-Agent header names; empty if neither is recognized."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), None)
    system = next((name for sign, name in _SYSTEMS if re.search(rf"\b{sign}\b", user_agent)), None)
    return ", ".join(filter(None, (browser, system)))


def here() -> Where:
    """Return the browser's name ("" if unknown) and IP address of the current request, for mails and the audit log."""
    return Where(known_browser_name(request.user_agent.string), request.remote_addr or "")
