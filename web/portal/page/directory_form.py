"""The choices of the form fields for a directory entry: where it is published, and whether it shows the address.

The order form and the page that changes a directory entry use them.
"""

from __future__ import annotations

from flask_babel import lazy_gettext
from wtforms.fields.choices import SelectChoice

from tasks.wording import labels

YES_NO = {"yes": True, "no": False}
ADDRESS = [
    SelectChoice("yes", lazy_gettext("With the connection address")),
    SelectChoice("no", lazy_gettext("Without an address")),
]
PUBLICATION_NAMES = {place: lazy_gettext(name) for place, name in labels.PUBLICATIONS.items()}
PUBLICATIONS = [SelectChoice(place, name) for place, name in PUBLICATION_NAMES.items()]
