"""The portal as devices with passkeys know it, and the question that a person's passkey answers."""

from __future__ import annotations

from models.db.caller import Named, name_to_database
from models.people.passkeys import Question, Site, ask_for_passkey, site_of
from web.resources import resources


def passkey_site() -> Site | None:
    """Return the portal as devices know it, by BASE_URL; None if its host is an IP address, which no passkey is for."""
    settings = resources().settings
    return site_of(settings.base_url, settings.carrier.name or "Standortverwaltung")


def passkey_question(user_id: int) -> Question | None:
    """Return a question that one of the user's passkeys answers; None if the user has none. Outside a transaction."""
    site = passkey_site()
    if site is None:
        return None
    with resources().database.transaction() as session:
        name_to_database(session, Named.PERSON, user_id)
        return ask_for_passkey(session, resources().vault, site, user_id, resources().clock())
