"""The carrier's own pages (imprint, privacy notice, terms, help), shown without a login.

The setting of each is a text or a URL; only a text is shown here, a URL is linked instead.
"""

from __future__ import annotations

from flask import Blueprint, abort, render_template

from tasks.settings import CarrierPage
from tasks.wording.labels import carrier_page_text
from web.portal.page.locale import locale
from web.resources import resources

carrier_pages = Blueprint("carrier", __name__)


@carrier_pages.get(f"/<any({', '.join(CarrierPage)}):slug>")
def show(slug: str) -> str:
    """Show the carrier's page with this path, such as `impressum`, whose text is in the settings.

    Abort with 404 if there is no such page, or if its setting is missing or is a URL.
    """
    page = CarrierPage(slug)
    text = resources().settings.carrier.texts.get(page)
    if text is None:
        abort(404)
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]
    return render_template("page/carrier.html", title=carrier_page_text(page, locale()), paragraphs=paragraphs)
