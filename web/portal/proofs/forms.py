"""The forms for proofs: codes, logins, documents, answers to consent requests, and a corrected contact address."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import PasswordField, RadioField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length

from models.proofs.proofs import Decision
from web.portal.page.form_errors import missing
from web.portal.page.typed_fields import normalize_email


class AnswerForm(FlaskForm):  # type: ignore[misc]
    """The form in which a signed-in administrator accepts or declines a consent request. Nothing is preselected."""

    decision = RadioField(
        _("Your answer"),
        choices=[SelectChoice(Decision.ACCEPTED, _("I agree")), SelectChoice(Decision.DECLINED, _("I decline"))],
        validators=[DataRequired(_("Choose whether you agree or decline."))],
    )


class CodeForm(FlaskForm):  # type: ignore[misc]
    """The form for a code from a mail or a letter, or for the link code of another account."""

    code = StringField(_("Code"), validators=[DataRequired(_("Enter the code.")), Length(max=40)])


class CredentialsForm(FlaskForm):  # type: ignore[misc]
    """The form for the login of an administrator of the account to attach. It is checked on submit and never stored."""

    email = StringField(
        _("E-mail address of the other login"),
        validators=[DataRequired(_("Please enter the e-mail address.")), Length(max=254)],
    )
    password = PasswordField(
        _("Password of the other login"), validators=[DataRequired(_("Please enter the password.")), Length(max=1024)]
    )


class LetterForm(FlaskForm):  # type: ignore[misc]
    """The form for the customer number and the code that are printed on a letter. No login is needed for it."""

    customer_number = StringField(
        _("Customer number"), validators=[DataRequired(missing("customer_number")), Length(max=40)]
    )
    code = StringField(_("Code"), validators=[DataRequired(_("Enter the code.")), Length(max=40)])


class CodedAnswerForm(AnswerForm, CodeForm):
    """The form in which an administrator answers a consent request without signing in, with the code from the mail."""


class ContactAddressForm(FlaskForm):  # type: ignore[misc]
    """The form in which the requester of an order corrects the contact's e-mail address."""

    email = StringField(
        _("Contact's e-mail address"),
        filters=[lambda typed: typed.strip() if typed else typed],
        validators=[DataRequired(missing("contact.email")), normalize_email],
    )


class DocumentForm(FlaskForm):  # type: ignore[misc]
    """The form to upload a document that proves an order's connection address or the need for phone numbers."""

    file = FileField(_("Document (PDF, PNG or JPEG, 10 MB at the most)"))
