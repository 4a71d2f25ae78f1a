"""Render mails and letters from Jinja templates. The templates are English, and are translated by `tasks.wording`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Literal
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from models.messages.outbox import Message
from models.people.rights import Role, Scope
from models.states import RefusalReason
from models.typed_codes import display_code
from models.values import Locale
from models.vault import Vault
from tasks.outbox.receipt_facts import NOTHING, Details
from tasks.ports import Letter, Mail
from tasks.settings import Carrier
from tasks.wording.destination_names import destination_text
from tasks.wording.document_refusals import refusal_text
from tasks.wording.formats import count_text, day_text, euros, last_day_text, moment_text, number_text
from tasks.wording.labels import carrier_page_text, role_text, scopes_text
from tasks.wording.link_rights import link_rights
from tasks.wording.text_direction import isolate_names
from tasks.wording.translate import translations

Form = Literal["txt", "html", "letter"]

NO_CARRIER = Carrier()
"""A carrier with no name, address, phone number, e-mail address or links."""
_WIDTH = 96
_COLUMN = 18
_PRODUCT, _PRICE = 40, 14


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered mail: its subject, and its body as text and as HTML."""

    subject: str
    text: str
    html: str


def render_mail(
    message: Message,
    vault: Vault,
    base_url: str,
    domain: str,
    details: Details = NOTHING,
    carrier: Carrier = NO_CARRIER,
) -> Mail:
    """Render a queued message as a mail.

    `base_url` is the portal's URL, with which links begin; `domain` is the domain of the Message-ID; `carrier` is the
    sender. The code and the link token are not stored: `vault` derives them from `message.proof`, a list of words that
    identifies the proof, such as its kind, account and issue. `details` are variables and attachments that were read
    from the database for this mail.
    """
    facts = {**all_facts(message, vault, base_url), **details.facts}
    rendered = render(message.template, message.locale, facts, carrier)
    return Mail(
        message_id=message.message_id(domain),
        recipient_name=message.recipient_name,
        recipient_address=message.recipient_address,
        locale=message.locale,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        attachments=tuple(details.attach()),
    )


def render_letter(message: Message, vault: Vault, base_url: str) -> Letter:
    """Render a queued message as a letter to print; its link begins with `base_url`, the portal's URL.

    The letter's code is not stored: `vault` derives it from `message.proof`, the words that identify the proof.
    """
    facts = all_facts(message, vault, base_url)
    template = _environment("letter", message.locale).get_template(f"{message.template}.jinja")
    return Letter(
        key=message.key,
        recipient=tuple(message.recipient_address.splitlines()),
        locale=message.locale,
        subject=_subject(template, message.locale, facts),
        text=_text(template, "letter", message.locale, facts),
        date=day_text(message.queued_at, message.locale),
        link=f"{facts['link']}?{urlencode({'kundennummer': facts['customer_number']})}",
        code=facts.get("code"),
    )


def all_facts(message: Message, vault: Vault, base_url: str) -> dict[str, Any]:
    """Return the variables of a message's template: the stored facts, `link` (a URL of the portal) and maybe `code`.

    If `message.proof` is set, `vault` derives from its words the `code` and, if the link ends with a slash, a token
    that is added to the link. Otherwise there is no `code`.
    """
    facts = dict(message.facts)
    link = base_url + facts.pop("path")
    if message.proof is None:
        return {**facts, "link": link}
    # A path that ends with a slash goes on with the token.
    token = vault.token(*message.proof) if link.endswith("/") else ""
    return {**facts, "link": link + token, "code": display_code(vault.code(*message.proof))}


def render(template: str, locale: Locale, facts: Mapping[str, object], carrier: Carrier = NO_CARRIER) -> Rendered:
    """Render a mail from the template `template` (a file name without `.jinja`) with `facts` as its variables.

    `carrier` is the sender. Raises `jinja2.UndefinedError` if a variable of the template is missing.
    """
    found = _environment("txt", locale).get_template(f"{template}.jinja")
    html = _environment("html", locale).get_template(f"{template}.jinja")
    return Rendered(
        _subject(found, locale, facts),
        _text(found, "txt", locale, facts, carrier),
        html.render(_context("html", locale, facts, carrier)),
    )


def _text(
    template: Template, form: Form, locale: Locale, facts: Mapping[str, object], carrier: Carrier = NO_CARRIER
) -> str:
    return re.sub(r"\n{3,}", "\n\n", template.render(_context(form, locale, facts, carrier))).strip() + "\n"


def _subject(template: Template, locale: Locale, facts: Mapping[str, object]) -> str:
    context = template.new_context(_context("txt", locale, facts))
    return " ".join("".join(template.blocks["subject"](context)).split())


def _context(
    form: Form, locale: Locale, facts: Mapping[str, object], carrier: Carrier = NO_CARRIER
) -> dict[str, object]:
    return {
        **facts,
        "carrier": carrier,
        "lang": locale,
        "layout": f"layout.{form}",
        "parts": "parts.html" if form == "html" else "parts.txt",
    }


@lru_cache
def _environment(form: Form, locale: Locale) -> Environment:
    environment = Environment(
        loader=PackageLoader("tasks", "outbox/templates"),
        autoescape=form == "html",  # noqa: S701 - plain text has nothing to escape
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translations(locale), newstyle=True)  # type: ignore[attr-defined]
    isolate_names(environment, partial(count_text, locale=locale))
    environment.globals["link_rights"] = partial(link_rights, locale)
    # A letter's lines are broken by the printer, who knows how wide they are.
    environment.filters |= {
        "reflow": _one_line if form == "letter" else _reflow,
        "column": _column,
        "phone": number_text,
        "destination": lambda number: destination_text(number, locale),
        "day": lambda moment: day_text(_read(moment), locale),
        "moment": lambda moment: moment_text(_read(moment), locale),
        "last_day": lambda end: last_day_text(_read(end), locale),
        "euros": partial(euros, locale=locale),
        "item": _one_line if form == "letter" else _item,
        "cell": _cell,
        "widths": _widths,
        "amount": _amount,
        "refusal": lambda reason, note, locale: refusal_text(RefusalReason(reason), note, locale),
        "role": lambda role, locale: role_text(Role(role), locale),
        "scopes": lambda scopes: scopes_text(map(Scope, scopes), locale),
        "carrier_page": lambda page: carrier_page_text(page, locale),
    }
    return environment


def _read(moment: str) -> datetime:
    # Of a fact that is missing, `str` raises the error that names it.
    return datetime.fromisoformat(str(moment))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _reflow(text: str) -> str:
    return textwrap.fill(_one_line(text), _WIDTH, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.indent(_reflow(text), "  ").replace("  ", "- ", 1)


def _column(name: str) -> str:
    return name.ljust(_COLUMN)


def _cell(text: str) -> str:
    return text.ljust(_PRODUCT)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column of a table, in characters; 0 for the last column, which is not padded."""
    return [*(max(map(len, column)) + 2 for column in list(zip(*rows, strict=True))[:-1]), 0]


def _amount(text: str) -> str:
    return text.rjust(_PRICE)
