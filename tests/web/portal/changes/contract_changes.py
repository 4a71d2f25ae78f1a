"""Functions for tests of the pages that change a contract: submit such a page, and confirm the prices shown next."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

from werkzeug.test import TestResponse

from models.calendar_days import berlin_day
from tests.factories import NOW
from tests.web.conftest import Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get
from tests.web.portal.telephony.test_suspension import press

DAY = berlin_day(NOW) + timedelta(days=30)


def plain(page: str) -> str:
    """Return the page's text without tags and invisible characters, each run of white space as one space."""
    text = re.sub("[\u2066-\u2069]", "", unescape(re.sub("<[^>]*>", " ", page))).replace("\xa0", " ")
    return " ".join(text.split())


def follow_link(front: Front, site: Site, path: str, who: str) -> str:
    """Sign in, expect a link to `path` on the site's dashboard, and return the HTML of the page at `path`.

    `who` signs in: the "manager" of the main account or the site's "administrator".
    """
    come_in(front, front.manager.email if who == "manager" else site.administrator.email)
    assert f'href="{path}"' in get(front, site.path)
    return get(front, path)


def show_prices(front: Front, path: str, page: str | None = None, **typed: str) -> TestResponse:
    """Submit the fields `typed` on the page at `path`; return the page of prices, or fail if the answer is not valid.

    `page` is the HTML of the page at `path`; None: it is opened now.
    """
    shown = press(front, path, page, **typed)
    assert shown.status_code == 200
    assert_valid(shown.text)
    return shown


def confirm(front: Front, path: str, shown: TestResponse) -> TestResponse:
    """Press the button on the page of prices `shown`, which sends its hidden fields to `path`; return the answer."""
    fields = dict(re.findall('<input type="hidden" name="([a-z_]+)" value="([^"]*)">', shown.text))
    return press(front, path, shown.text, **{name: value for name, value in fields.items() if name != "csrf_token"})


def send(front: Front, path: str, **typed: str) -> TestResponse:
    """Submit the fields `typed` on the page at `path`, and confirm on the page of prices.

    Return the answer to the confirmation. Fails unless the first answer is a valid page.
    """
    return confirm(front, path, show_prices(front, path, **typed))


def assert_asked_for(sent: TestResponse) -> None:
    """Fail unless the answer to a confirmation redirects to the page of the new request."""
    assert sent.status_code == 303 and "/anfragen/" in sent.location


def assert_planned_in_overview(front: Front, said: str) -> None:
    """Fail unless the overview, as cards and as a table, contains the text `said` and not "In Bearbeitung"."""
    for view in ("karten", "tabelle"):
        overview = plain(get(front, f"/standortverwaltung?ansicht={view}"))
        assert said in overview and "In Bearbeitung" not in overview
