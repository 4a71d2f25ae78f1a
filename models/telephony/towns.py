"""Towns that share another town's Ortsnetz (local exchange area), or whose name is not that of their Ortsnetz.

The phonenumbers package knows one name for an area code. But an Ortsnetz may include further towns, and the name of
merged towns may be that of no Ortsnetz. Only well-known cases are listed here; for all others, the carrier's staff are
asked (`models.telephony.place_answers`). Uses no database.
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
    "030": ("Ahrensfelde", "Schönefeld"),
    "0340": ("Dessau-Roßlau",),
    "0341": ("Markkleeberg",),
    "034901": ("Dessau-Roßlau",),
    "03475": ("Eisleben",),
    "03491": ("Wittenberg",),
    "03494": ("Bitterfeld-Wolfen",),
    "0351": ("Freital", "Radebeul"),
    "040": ("Barsbüttel", "Glinde", "Norderstedt", "Oststeinbek", "Reinbek", "Schenefeld", "Wentorf bei Hamburg"),
    "0511": ("Hemmingen", "Laatzen", "Langenhagen"),
    "06134": ("Wiesbaden",),
    "06196": ("Eschborn", "Schwalbach am Taunus", "Sulzbach (Taunus)"),
    "0621": ("Ludwigshafen am Rhein",),
    "069": ("Offenbach am Main",),
    "07031": ("Sindelfingen",),
    "0711": ("Esslingen am Neckar", "Fellbach", "Filderstadt", "Leinfelden-Echterdingen", "Ostfildern"),
    "0731": ("Neu-Ulm",),
    "07621": ("Weil am Rhein",),
    "07720": ("Villingen-Schwenningen",),
    "07721": ("Villingen-Schwenningen",),
    "07741": ("Waldshut-Tiengen",),
    "089": (
        "Aschheim", "Garching bei München", "Germering", "Gräfelfing", "Grünwald", "Haar", "Ismaning",
        "Kirchheim bei München", "Neubiberg", "Neuried", "Oberhaching", "Oberschleißheim", "Ottobrunn", "Planegg",
        "Pullach im Isartal", "Putzbrunn", "Taufkirchen", "Unterföhring", "Unterhaching", "Unterschleißheim",
    ),
    "0911": ("Fürth", "Oberasbach", "Stein", "Zirndorf"),
}  # fmt: skip
"""Area codes, each with the towns inside its Ortsnetz (local exchange area), besides the town that names the Ortsnetz.

Of several towns of one name the one near the Ortsnetz is meant: Fürth beside Nürnberg, not that in the Odenwald.
"""

NO_AREA_CODES = frozenset({"06215", "06216", "062195", "062196", "062199"})
"""Prefixes that phonenumbers lists as area codes but are none: parts of 0621 that lie in Ludwigshafen."""
