"""Tests that a right-to-left name in a page does not move the numbers and words beside it, in a real browser."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from models.accounts.accounts import Account
from models.people.users import User
from tests.browser.conftest import Portal
from tests.browser.test_portal import open_overview, sign_in

HEBREW, ARABIC = "שלום 7", "مرحبا 12"

# The words of each block of text, as they stand in the document, with the places where the browser draws them. Names in
# right-to-left letters are one word.
SWAPPED = """(names) => {
  const words = new RegExp([...names, "[^\\\\s\\u2068\\u2069]+"].join("|"), "gu");
  const blocks = new Map(), wrong = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    let block = node.parentElement;
    if (block.closest(".unseen, script, option")) continue;
    while (getComputedStyle(block).display === "inline") block = block.parentElement;
    for (const found of node.data.matchAll(words)) {
      const range = document.createRange();
      range.setStart(node, found.index);
      range.setEnd(node, found.index + found[0].length);
      const place = range.getBoundingClientRect();
      if (!place.width) continue;
      if (!blocks.has(block)) blocks.set(block, []);
      blocks.get(block).push({word: found[0], left: place.left, top: place.bottom, is: names.includes(found[0])});
    }
  }
  let beside = 0;
  for (const line of blocks.values()) {
    for (let i = 1; i < line.length; i++) {
      const [before, after] = [line[i - 1], line[i]];
      if (Math.abs(before.top - after.top) > 4) continue;
      beside += before.is || after.is;
      if (after.left < before.left) wrong.push(`${before.word} stands after ${after.word}`);
    }
  }
  return [wrong, beside];
}"""


@pytest.fixture
def names(portal: Portal) -> list[str]:
    """Give all accounts a Hebrew name and all people an Arabic name; return both names.

    The names are stored without the characters FSI and PDI, which isolate text of another direction.
    """
    with portal.database.transaction() as session:
        session.execute(sa.update(Account).values(name=HEBREW, street=f"{ARABIC}", city=HEBREW, contact_name=ARABIC))
        session.execute(sa.update(User).values(name=ARABIC))
    return [HEBREW, ARABIC]


def test_nothing_changes_its_place_beside_a_right_to_left_name(page: Page, portal: Portal, names: list[str]) -> None:
    sign_in(page, portal)
    with portal.database.transaction() as session:
        sub = session.scalars(sa.select(Account.customer_number).where(Account.id != portal.main.id)).first()
    start, own = portal.url + "/standortverwaltung", portal.main.customer_number
    beside = 0
    for path in (f"{start}/{sub}", start, f"{start}?ansicht=tabelle", f"{start}/{sub}/loesen", f"{start}/{own}",
                 f"{start}/nebenaccount", f"{portal.url}/anfragen", f"{portal.url}/benutzer/{own}"):  # fmt: skip
        page.goto(path)
        wrong, pairs = page.evaluate(SWAPPED, names)
        assert wrong == [], path
        beside += pairs
    assert beside > 15


def test_a_field_takes_the_direction_of_what_is_typed(page: Page, portal: Portal) -> None:
    open_overview(page, portal)
    field = page.get_by_role("searchbox")
    expect(field).to_have_css("unicode-bidi", "plaintext")
    field.fill(ARABIC)
    page.keyboard.press("Enter")
    expect(page.get_by_role("searchbox")).to_have_value(ARABIC)
