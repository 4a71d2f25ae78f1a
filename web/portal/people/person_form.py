"""The fields of every form that invites a person: name and e-mail address."""

from __future__ import annotations

from flask_babel import lazy_gettext
from flask_wtf import FlaskForm
from wtforms import EmailField, StringField
from wtforms.validators import DataRequired, Length

from models.messages.outbox import Recipient
from models.values import Locale
from web.portal.page.typed_fields import normalize_email, refuse_unsuitable_name


class PersonForm(FlaskForm):  # type: ignore[misc]
    """Base of the forms that invite a person: name and e-mail address."""

    name = StringField(
        lazy_gettext("Name"),
        validators=[DataRequired(lazy_gettext("Enter the name.")), Length(max=200), refuse_unsuitable_name],
    )
    email = EmailField(
        lazy_gettext("E-mail address"),
        validators=[DataRequired(lazy_gettext("Enter the e-mail address.")), normalize_email],
    )

    def recipient(self, locale: Locale) -> Recipient:
        """Return the typed person as the recipient of a mail in this language. Call only if the form is valid."""
        return Recipient(self.name.data.strip(), self.email.data.lower(), locale)
