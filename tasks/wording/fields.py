"""The sentences for an input field that breaks a rule: what is wrong, and what is allowed.

The API, the portal's forms and bulks (uploaded files) use these sentences. Fields are named as in the API's bodies,
such as `location.city`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from models.values import Locale
from tasks.wording.formats import long_date
from tasks.wording.translate import N_, translate

# By the code of a rule. `allowed`: what would be right.
RULES: Mapping[str, str] = {
    "extra_forbidden": N_("There is no such field."),
    "unknown_product": N_("There is no such product. See /api/v1/products."),
    "not_offered": N_("Possible are: %(allowed)s"),
    "unknown_option": N_("There is no such option."),
    "unknown_destination": N_("This is no key of a country or network. Examples: DE, AT, 870"),
    "forwardings_outside": N_("Calls are forwarded elsewhere: %(allowed)s"),
    "administrator_chooses": N_(
        "Only an administrator may allow further countries, on the dashboard once the order is completed; an API token "
        "cannot. Leave these out: %(allowed)s"
    ),
    "not_own_number": N_("This is not one of the phone numbers of this account."),
    "without_option": N_("This belongs to the option %(allowed)s, which is not chosen."),
    "option_twice": N_("An option is named twice."),
    "unknown_block_size": N_("Possible are: %(allowed)s"),
    "channels_out_of_range": N_("With this product 1 to %(allowed)s simultaneous calls are possible."),
    "same_address": N_("This is the address that we have already. Enter the right one, or have a new e-mail sent."),
    "unknown_area_code": N_("There is no Ortsnetz with this area code."),
    "house_number_missing": N_("Enter the house number. If there is none, write “ohne Hausnummer” after the street."),
    "unknown_postal_code": N_("There is no such postal code."),
    "unknown_postal_code_of": N_("There is no such postal code. Postal codes of %(city)s: %(postal_codes)s"),
    "postal_code_elsewhere": N_(
        "This postal code belongs to %(towns)s, not to %(city)s. Postal codes of %(city)s: %(postal_codes)s"
    ),
    "area_code_mismatch": N_("This area code does not fit the address. Area codes that fit: %(allowed)s"),
    "not_with_area_code": N_("Does not fit the area code: see there."),
    "not_with_postal_code": N_("Does not fit the postal code: see there."),
    "own_account": N_("This is your own customer number. Enter that of the account that you want to add."),
    "already_ours": N_("This account is a sub-account of yours already."),
    "not_of_company": N_(
        "This is neither your main account nor a sub-account whose contracts your company pays for. Enter the customer "
        "number of such an account, or leave the row out."
    ),
    "not_changeable": N_(
        "The contract of this account cannot be changed by you, or not any more. Please leave the row out."
    ),
    "change_running": N_(
        "A change of this trunk that takes effect at once is running. Wait until it is done, or leave the row out."
    ),
    "no_such_trunk": N_("The account has no such SIP trunk. If it has only one, leave this cell empty."),
    "trunk_twice": N_(
        "An earlier line of the file is about this trunk already. Leave one of them out, or send it in a file of its "
        "own."
    ),
    "account_twice": N_("An earlier line of the file is about this account already. Leave one of them out."),
    "not_sub_account": N_("This is not a sub-account of your main account. Please leave the row out."),
    "not_detachable": N_("You may not detach this account. Please leave the row out."),
    "no_trunk": N_("This account has no SIP trunk that could move. Please leave the row out."),
    "already_running": N_(
        "A request of this kind is running for the account already. Wait until it has ended, take it back, or leave "
        "the row out."
    ),
    "twice": N_("This customer number is in the file twice."),
    "tag_too_long": N_("A tag has at most %(allowed)s characters."),
    "tag_with_comma": N_("A tag has no comma."),
    "too_many_tags": N_("At most %(allowed)s tags are possible."),
    "not_accepted": N_("This is not right, or is not valid any more."),
    "no_document": N_("This is neither PDF nor PNG nor JPEG."),
    "too_large": N_("The document has more than 10 MB."),
    "doubled": N_("This stands twice in the body. Send it once."),
    "unreadable": N_("This has control characters, which no text can have. Please type it anew."),
    "unprintable": N_(
        "We cannot print %(allowed)s, and this is also printed on letters. Please leave this character out, or write "
        "the name in other letters, for example in Latin ones."
    ),
    "web_address": N_(
        "Please leave out web and e-mail addresses: we also write this in e-mails to other people, where they would be"
        " links."
    ),
    "unreadable_character": N_(
        "A character of this could not be read. Please type the cell anew, or save the file as UTF-8."
    ),
    "not_ascii_before_at": N_(
        "Mail servers do not know addresses with umlauts or other special letters before the @. Please enter another "
        "address of this person, for example with “joerg” for “jörg”."
    ),
    "not_as_dialled": N_(
        "Please enter one phone number, in nothing but the digits that are dialled, extension included: 030 901820-12"
    ),
    "service_number": N_(
        "Emergency and service numbers such as 110, 115, 116…, 118…, 0137, 0180 and 0900 cannot be entered here. "
        "Please enter the number of the person."
    ),
    "error_value": N_("This is an error of the spreadsheet, such as #N/A or #REF!. Please type the value itself."),
    "shortened_number": N_(
        "The spreadsheet has shortened this number, and its last digits are lost. Please type it in full, and in the "
        "file format the column as text."
    ),
    "high_risk": N_(
        "An order cannot forward calls to this number: it belongs to a satellite network or is in a country known for "
        "fraud with calls. Enter another one, or leave the fallback out; once the order is completed, an administrator "
        "can set up a call forwarding to this number on the dashboard."
    ),
    "day_passed": N_("This day is over. Choose today or a later day, or none for at once."),
    "day_too_far": N_("This can be asked for up to %(allowed)s."),
    "after_planned": N_(
        "A change is planned for %(allowed)s already. Take that one back first, or choose a later day."
    ),
    "contract_ends": N_(
        "The contract is cancelled and ends with the end of %(allowed)s. Choose an earlier day, or take the "
        "cancellation back first."
    ),
    "before_earliest_end": N_("The contract can end with the end of %(allowed)s at the earliest."),
    "end_too_far": N_("The contract can be cancelled up to the end of %(allowed)s."),
    "change_planned": N_(
        "A change of the contract is planned for %(allowed)s. Take it back first, or choose this day or a later one."
    ),
    "present_address": N_("This is the present connection address."),
    "numbers_planned": N_(
        "Additional phone numbers are ordered, which may not fit the new address. Wait until they are assigned, or "
        "take that order back first."
    ),
    "move_planned": N_(
        "The account is about to move, and its phone numbers may change. Order numbers after the move, or take it back "
        "first."
    ),
    "unknown_month": N_("Costs can be asked for up to the month %(allowed)s."),
    "detached_before": N_(
        "The account leaves the main account on %(allowed)s. Choose an earlier day; for a later one the account's own "
        "administrators ask."
    ),
    "detached_before_proof": N_(
        "The account leaves the main account on %(allowed)s, and the new address may be proved only after that. The "
        "account's own administrators can order the move."
    ),
    "detach_planned": N_(
        "The other side has planned the detachment for %(allowed)s. You can choose an earlier day, or none for at once."
    ),
    "change_is_lost": N_(
        "A change of the contract is planned for %(allowed)s, and who has asked for it would no longer see the account "
        "then. Take the change back first, or choose a later day."
    ),
    "too_many_changes": N_("%(allowed)s changes wait for their days already. Take one of them back first."),
    "nothing_changes": N_("So it is already. Choose another product or another number of channels."),
    "no_body": N_("This call has no body. A day stands in the address: ?effective_on=2027-01-31"),
    "cursor": N_("We did not give out this cursor."),
}

# By the field that is empty.
MISSING: Mapping[str, str] = {
    "location.name": N_("Enter a name for the location."),
    "location.street": N_("Enter street and house number."),
    "location.postal_code": N_("Enter the postal code."),
    "location.city": N_("Enter the city."),
    "contact.name": N_("Enter the contact's name."),
    "contact.email": N_("Enter the contact's e-mail address."),
    "local_user.name": N_("Enter the name of the person who shall sign in."),
    "local_user.email": N_("Enter the e-mail address of the person who shall sign in."),
    "product": N_("Choose a product."),
    "directory_entry": N_("Say what the directory entry is to be: its name, its address or not, and where."),
    "directory_entry.name": N_("Enter the name for the directory."),
    "directory_entry.show_address": N_("Choose whether the address is shown."),
    "directory_entry.published_in": N_("Choose at least one place of publication."),
    "mobile_number": N_("Enter the mobile number for the fallback."),
    "numbers.area_code": N_("Enter the area code."),
    "numbers.block_size": N_("Choose how many phone numbers you need."),
    "holder.name": N_("Enter the legal name."),
    "holder.form": N_("Choose the legal form."),
    "holder.register_number": N_("Enter the register number."),
    "holder.born_on": N_("Enter the date of birth."),
    "holder.street": N_("Enter street and house number."),
    "holder.postal_code": N_("Enter the postal code."),
    "holder.city": N_("Enter the city."),
    "customer_number": N_("Enter the customer number."),
    "file": N_("Choose a document."),
}

_ONE_LINE = N_("At most 120 characters in one line, please.")
_ONE_LONG_LINE = N_("At most 200 characters in one line, please.")
# By the field, or the last part of its name, that has not the right form.
MALFORMED: Mapping[str, str] = {
    "location.name": _ONE_LINE,
    "location.street": _ONE_LINE,
    "location.city": _ONE_LINE,
    "contact.name": _ONE_LINE,
    "holder.name": _ONE_LONG_LINE,
    "holder.form": N_("Choose the legal form."),
    "holder.register_number": _ONE_LONG_LINE,
    "holder.born_on": N_("This is no date of birth. An example: 31.12.1980"),
    "holder.street": _ONE_LONG_LINE,
    "holder.postal_code": N_("This is no postal code."),
    "holder.city": _ONE_LONG_LINE,
    "local_user.name": _ONE_LINE,
    "local_user": N_(
        "Enter the name and, in angle brackets, the e-mail address: Hanna Palmer <hanna@company.de>. Or enter "
        "“Contact”, or leave the cell empty."
    ),
    "postal_code": N_("A German postal code has five digits."),
    "email": N_("This is no complete e-mail address. An example: name@company.de"),
    "phone": N_("This is no phone number. An example: 030 901820"),
    "directory_entry.name": _ONE_LINE,
    "show_address": N_("Yes or no, please."),
    "published_in": N_("Possible are: print, online, enquiries"),
    "mobile_number": N_("This is no mobile number. An example: 0151 23456789"),
    "area_code": N_("An area code has three to six digits and begins with 0."),
    "block_size": N_("Possible are: 1, 10, 100"),
    "customer_number": N_("A customer number has seven digits."),
    "proof.code": N_("A link code has ten characters."),
    "method": N_("Possible are administers_both, credentials, link_code and consent."),
    "locale": N_("Possible are de and en."),
    "effective_on": N_("This is no day. An example: 2027-01-31"),
    "month": N_("This is no month. An example: 2026-11"),
    "last_day": N_("This is no day. An example: 2027-01-31"),
    "sip_user": N_("This is no SIP user name."),
    "request_uri": N_("Possible are “contact” (as the phone has registered) and “number” (by the dialled number)."),
    "countries": N_("Enter one to 60 keys of countries or networks, such as DE, AT or 870."),
    "kind": N_("Possible are email_code, letter_code, credentials and link_code."),
    "what": N_("Possible are email, letter and consent."),
}

# By the code, where nothing is said of the field.
_OTHERWISE: Mapping[str, str] = {
    "missing": N_("This is missing."),
    "string_too_short": N_("This is missing."),
    "string_too_long": N_("This is too long."),
    "int_type": N_("This has to be a whole number."),
}

_MORE = N_("%(listed)s and %(more)s more")


def malformed(field: str) -> str | None:
    """Return the English sentence for a field whose text has the wrong form, such as letters in a postal code.

    `field` is the field's path in the API's body, such as `location.postal_code`. None if there is no sentence for it.
    """
    return MALFORMED.get(field) or MALFORMED.get(field.rpartition(".")[2])


def field_error(locale: Locale, field: str, code: str, allowed: object = None) -> str:
    """Return the sentence, in the language `locale`, that says what is wrong with a field and what is allowed.

    `field` is the field's path in the API's body, `code` the code of an `InvalidField` or of a Pydantic error.
    `allowed` is the valid value, or a list of valid values, None if unknown. It may also be a mapping of the sentence's
    placeholders to values; an entry `more_<name>` then says how many further values the list `<name>` leaves out.
    """
    by_field = MISSING.get(field) if code in ("missing", "string_too_short") else malformed(field)
    sentence = RULES.get(code) or by_field or _OTHERWISE.get(code) or N_("This does not have the right form.")
    if isinstance(allowed, Mapping):
        facts = {name: _shown(locale, value, allowed.get(f"more_{name}", 0)) for name, value in allowed.items()}
        return translate(locale, sentence, **facts)
    return translate(locale, sentence, allowed=_shown(locale, allowed))


def _shown(locale: Locale, allowed: object, more: int = 0) -> object:
    if isinstance(allowed, date):
        return long_date(allowed, locale)
    if not isinstance(allowed, tuple | list):
        return allowed
    listed = ", ".join(map(str, allowed))
    return translate(locale, _MORE, listed=listed, more=more) if more else listed
