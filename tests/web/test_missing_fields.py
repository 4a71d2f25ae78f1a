"""Tests that no form of the portal ends in an error 500 if one of its fields is missing, as programs can send it."""

from __future__ import annotations

import sqlalchemy as sa

from tests.kept_rows import kept_rows
from tests.web.conftest import Back, Front
from tests.web.test_naughty_strings import Trial, found_forms
from tests.web.whole_portal import whole_portal


def test_no_form_breaks_without_any_one_of_its_fields(front: Front, back: Back, superuser: sa.Engine) -> None:
    portal = whole_portal(front, back)
    left_out, broken = 0, []
    with kept_rows(superuser) as rows:
        for (endpoint, _), (visitor, form) in sorted(found_forms(portal).items()):
            if endpoint == "people.sign_out":
                continue
            trial = Trial(portal, rows, visitor, form, endpoint)
            for name in dict.fromkeys(name for name, _ in form.values if name != "csrf_token"):
                left_out += 1
                if trial.without(name) >= 500:
                    broken.append((endpoint, name))
            trial.begin_again()
    assert (broken, left_out > 200) == ([], True)
