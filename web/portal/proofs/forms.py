"""The forms of the pages on which people give their proofs."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import PasswordField, RadioField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length

from models.proofs.proofs import Decision
from web.portal.page.form_errors import missing


class AnswerForm(FlaskForm):  # type: ignore[misc]
    """The answer of an administrator who is signed in. Nothing is chosen before they choose."""

    decision = RadioField(
        _("Your answer"),
        choices=[SelectChoice(Decision.ACCEPTED, _("I agree")), SelectChoice(Decision.DECLINED, _("I decline"))],
        validators=[DataRequired(_("Choose whether you agree or decline."))],
    )


class CodeForm(FlaskForm):  # type: ignore[misc]
    """A code from a mail, a letter or another person."""

    code = StringField(_("Code"), validators=[DataRequired(_("Enter the code.")), Length(max=40)])


class CredentialsForm(FlaskForm):  # type: ignore[misc]
    """An administrator's login of an existing account, used once on the spot."""

    email = StringField(
        _("E-mail address of the other login"),
        validators=[DataRequired(_("Please enter the e-mail address.")), Length(max=254)],
    )
    password = PasswordField(
        _("Password of the other login"), validators=[DataRequired(_("Please enter the password.")), Length(max=1024)]
    )


class LetterForm(FlaskForm):  # type: ignore[misc]
    """What somebody has who has nothing but the letter."""

    customer_number = StringField(
        _("Customer number"), validators=[DataRequired(missing("customer_number")), Length(max=40)]
    )
    code = StringField(_("Code"), validators=[DataRequired(_("Enter the code.")), Length(max=40)])


class CodedAnswerForm(AnswerForm, CodeForm):
    """The same, with the code from the mail."""


class DocumentForm(FlaskForm):  # type: ignore[misc]
    """A document that proves an address."""

    file = FileField(_("Document (PDF, PNG or JPEG, 10 MB at the most)"))
