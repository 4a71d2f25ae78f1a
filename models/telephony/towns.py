"""Towns that share another town's Ortsnetz, or have another name than their Ortsnetz.

The phonenumbers package knows one name for an area code, but an Ortsnetz may include further towns, and merged towns
have a name that no Ortsnetz has. Only well-known cases are listed. Pure Python.
"""

from __future__ import annotations

from collections.abc import Mapping

FURTHER_TOWNS: Mapping[str, tuple[str, ...]] = {
    "0208": ("Mülheim an der Ruhr",),
    "02131": ("Kaarst",),
    "02173": ("Monheim am Rhein",),
    "02204": ("Bergisch Gladbach",),
    "02241": ("Troisdorf", "Sankt Augustin"),
    "02325": ("Herne",),
    "0340": ("Dessau-Roßlau",),
    "034901": ("Dessau-Roßlau",),
    "03475": ("Eisleben",),
    "03491": ("Wittenberg",),
    "03494": ("Bitterfeld-Wolfen",),
    "040": ("Norderstedt",),
    "06134": ("Wiesbaden",),
    "0621": ("Ludwigshafen am Rhein",),
    "069": ("Offenbach am Main",),
    "07031": ("Sindelfingen",),
    "0711": ("Esslingen am Neckar", "Fellbach", "Filderstadt", "Leinfelden-Echterdingen", "Ostfildern"),
    "0731": ("Neu-Ulm",),
    "07621": ("Weil am Rhein",),
    "07720": ("Villingen-Schwenningen",),
    "07721": ("Villingen-Schwenningen",),
    "07741": ("Waldshut-Tiengen",),
    "089": ("Garching bei München", "Ottobrunn", "Unterföhring", "Unterhaching"),
    # With its state: there is another one in the Odenwald.
    "0911": ("Fürth Bayern",),
}
"""Area codes, each with the towns inside its Ortsnetz (local network), besides the town that names the Ortsnetz."""

NO_AREA_CODES = frozenset({"06215", "06216", "062195", "062196", "062199"})
"""Prefixes that phonenumbers lists as area codes but are none: parts of 0621 that lie in Ludwigshafen."""
