"""Makes locations for tests of the portal, and opens their pages.

A location is a sub-account with a trunk, an administrator, a local member and a forwarding when busy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.contracts.contracts import Contract
from models.people.audit_log import AuditEvent
from models.people.rights import Role
from models.people.users import User
from models.states import Origin
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from models.vault import Vault
from tests.audit_entries import entries_of_deeds
from tests.factories import NOW, PASSWORD, join, make_account, make_user
from tests.web.conftest import SECRET, Front, form_token
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in

OLD = "the secret of the trunk"


def make_trunk(session: Session, account: Account, sip_user: str = "t000000000001") -> int:
    """Create a contract and an active trunk of the account, with the SIP password `OLD`. Return the trunk's id."""
    contract = Contract(account_id=account.id, started_at=NOW)
    session.add(contract)
    session.flush()
    trunk = SipTrunk(
        account_id=account.id,
        contract_id=contract.id,
        sip_user=sip_user,
        domain="sip.example",
        secret=Vault(SECRET).seal(OLD),
        channels=4,
        created_at=NOW,
    )
    session.add(trunk)
    session.flush()
    return trunk.id


@dataclass
class Site:
    """A location: a sub-account with a trunk, an administrator, a local member and a forwarding when busy.

    `trunk` and `forwarding` are row ids. The properties are paths of the location's pages in the portal.
    """

    account: Account
    administrator: User
    member: User
    trunk: int
    forwarding: int

    @property
    def path(self) -> str:
        """Return the path of the account's dashboard."""
        return f"/standortverwaltung/{self.account.customer_number}"

    @property
    def secret(self) -> str:
        """Return the path of the page that shows the trunk's SIP password."""
        return f"{self.path}/sip/{self.trunk}/passwort"

    @property
    def renewal(self) -> str:
        """Return the path of the page that renews the trunk's SIP password."""
        return f"{self.path}/sip/{self.trunk}/erneuern"


def make_site(session: Session, main: Account, origin: Origin = Origin.LINK, **facts: Any) -> Site:
    """Create a location: a sub-account of `main` with a trunk, an administrator, a local member and a forwarding.

    `origin` says how the account became a sub-account; `facts` are values of the account's columns. The forwarding is
    one when busy.
    """
    account = make_account(session, **{"name": "Filiale Köln", **facts})
    administrator, member = make_user(session, name="Lore Lokal"), make_user(session, name="Mia Mitglied")
    join(session, administrator, account)
    join(session, member, account, Role.LOCAL_MEMBER)
    attach(session, main.id, account.id, origin, NOW)
    forwarding = CallForwarding(account_id=account.id, condition=Condition.BUSY, target="+491711234567")
    session.add(forwarding)
    trunk = make_trunk(session, account)
    session.flush()
    return Site(account, administrator, member, trunk, forwarding.id)


def give_numbers(session: Session, site: Site, first: int = 49221700340) -> int:
    """Assign a block of ten numbers to the site's trunk; return the block's id.

    `first` is the first number in E.164, as an integer.
    """
    facts = {"area_code": "0221", "first_number": first, "size": 10, "trunk_id": site.trunk}
    block = NumberBlock(account_id=site.account.id, available_from=NOW, **facts)
    session.add(block)
    session.flush()
    return block.id


def come_in(front: Front, email: str) -> None:
    """Sign in as the user with this e-mail address. A user who is signed in is signed out first."""
    with front.client.session_transaction() as session:
        is_signed_in = "_user_id" in session
    if is_signed_in:
        front.client.post("/abmelden", data={"csrf_token": form_token(front.client)})
    assert sign_in(front, email)[0] == 302


def arrive(front: Front, email: str) -> str:
    """Sign in as the user with this e-mail address; return the path of the page to which /standortverwaltung leads.

    A user who is signed in is signed out first.
    """
    come_in(front, email)
    return front.client.get("/standortverwaltung", follow_redirects=True).request.path


def get(front: Front, path: str, status: int = 200) -> str:
    """Return the HTML of the page at `path`. Fail unless it has this status, and valid HTML if the status is 200."""
    answer = front.client.get(path)
    assert answer.status_code == status, (path, answer.status_code)
    if status == 200:
        assert_valid(answer.text)
    return answer.text


def enter(front: Front, path: str, password: str = PASSWORD) -> tuple[int, str]:
    """Open the page at `path`, which shows or renews a SIP password, and submit its form with `password`.

    `password` is entered as the user's own. Return status and HTML of the answer.
    """
    page = front.client.get(path).text
    return send(front, path, page, password)


def send(front: Front, path: str, page: str, password: str = PASSWORD) -> tuple[int, str]:
    """Submit the form of `page` (HTML), which shows or renews a SIP password, to `path`.

    `password` is entered as the user's own. Return status and HTML of the answer. Fails unless the answer has the
    header Cache-Control: no-store.
    """
    found = re.search(r'name="issue" value="([^"]*)"', page)
    assert found is not None
    data = {"csrf_token": csrf(page), "password": password, "issue": found[1]}
    answer = front.client.post(path, data=data)
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.text


def deeds(front: Front) -> list[tuple[AuditEvent, int | None, int | None]]:
    """Return the entries of the audit log without those about access (such as sign-ins), the oldest first.

    Each is event, user id (None: the carrier), and id of the main account. The latter is set if the user had the right
    only by a role in that main account; otherwise it is None.
    """
    with front.database.transaction() as session:
        entries = entries_of_deeds(session)
        return [(entry.deed, entry.user_id, entry.through_id) for entry in entries]
