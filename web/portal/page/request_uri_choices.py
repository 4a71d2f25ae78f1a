"""The form choices of a trunk's setting `request_uri`: what the request line (Request-URI) of incoming calls contains.

The order form and the page that changes this setting use them.
"""

from __future__ import annotations

from flask_babel import lazy_gettext
from wtforms.fields.choices import SelectChoice

from models.telephony.trunks import RequestUri

CHOICES = [
    SelectChoice(RequestUri.CONTACT, lazy_gettext("As the phone has registered")),
    SelectChoice(RequestUri.NUMBER, lazy_gettext("By the dialled number")),
]
"""The kinds of request line for incoming calls, as choices of a form field."""
