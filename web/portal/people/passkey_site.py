"""The portal's data as a WebAuthn relying party, and the challenges that users' passkeys answer."""

from __future__ import annotations

from models.db.caller import Named, name_to_database
from models.people.passkeys import Question, Site, ask_for_passkey, site_of
from web.resources import resources


def passkey_site() -> Site | None:
    """Return the portal's data as a WebAuthn relying party: host and origin of BASE_URL, and the carrier's name.

    None if the host is an IP address, for which browsers offer no passkeys.
    """
    settings = resources().settings
    return site_of(settings.base_url, settings.carrier.name or "Standortverwaltung")


def passkey_question(user_id: int) -> Question | None:
    """Return a new challenge for the passkeys of the user `user_id`. Call it outside a transaction.

    None if the user has no passkey, or if the portal's host is an IP address.
    """
    site = passkey_site()
    if site is None:
        return None
    with resources().database.transaction() as session:
        name_to_database(session, Named.PERSON, user_id)
        return ask_for_passkey(session, resources().vault, site, user_id, resources().clock())
