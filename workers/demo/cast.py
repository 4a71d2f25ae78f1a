"""The people and sites of the demo data: a company with its sites, other customers of the carrier, and their logins.

All of them are invented. E-mail addresses end in example.com or example.de. Phone numbers are from the ranges that the
Bundesnetzagentur reserves for films, in area codes that have such a range.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.people.rights import Role
from models.values import Locale

PASSWORD = "standort-demo"  # noqa: S105 - of the demo data, printed at every start
MAIN_NUMBER = "1111111"


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """A login for trying out the demo: `who` names the person and their role, `can` what can be tried with it."""

    who: str
    email: str
    password: str
    can: str


@dataclass(frozen=True, slots=True)
class Person:
    """A demo user: name, e-mail address, language, and whether they belong to the carrier's staff."""

    name: str
    email: str
    locale: Locale = "de"
    is_staff: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """An account of the demo data: its address, administrator, trunk and number block.

    With None as customer number the account gets a new one. `product` is the trunk's key in the price list, `channels`
    the number of simultaneous calls, `block_size` the number of phone numbers.
    """

    customer_number: str | None
    name: str
    street: str
    postal_code: str
    city: str
    area_code: str
    administrator: Person
    product: str = "trunk-2"
    channels: int = 2
    block_size: int = 10


@dataclass(frozen=True, slots=True)
class Pool:
    """An Ortsnetz (local exchange area) with a range of 1,000 phone numbers that the demo can add to its number pool.

    The subscriber numbers, without the area code, are `prefix` followed by 000 to 999. `postal_code` is a postal code
    of `city`.
    """

    area_code: str
    city: str
    postal_code: str
    prefix: str


POOLS = (
    Pool("030", "Berlin", "10179", "23125"),
    Pool("040", "Hamburg", "20457", "66969"),
    Pool("069", "Frankfurt am Main", "60313", "90009"),
    Pool("0221", "Köln", "50667", "4710"),
    Pool("089", "München", "80331", "99998"),
    # From here on there is no range kept free for films, so a range that looks just as invented is used.
    Pool("0211", "Düsseldorf", "40213", "99998"),
    Pool("0231", "Dortmund", "44137", "99998"),
    Pool("0341", "Leipzig", "04109", "99998"),
    Pool("0351", "Dresden", "01069", "99998"),
    Pool("0421", "Bremen", "28195", "99998"),
    Pool("0431", "Kiel", "24103", "99998"),
    Pool("0511", "Hannover", "30159", "99998"),
    Pool("0521", "Bielefeld", "33602", "99998"),
    Pool("0711", "Stuttgart", "70173", "99998"),
    Pool("0911", "Nürnberg", "90402", "99998"),
)

EMPTY_POOL = Pool("0251", "Münster", "48143", "99998")
"""A pool without numbers, on purpose: an order for its area code is held until `standorte numbers stock` fills it."""

MAXI = Person("Maxi Mustermensch", "maxi.mustermensch@example.com")
SAM = Person("Sam Standort", "sam.standort@example.com")
EMILY = Person("Emily Example", "emily.example@example.com", locale="en")
BACK_OFFICE = Person("Bo Backoffice", "backoffice@example.com", is_staff=True)
HEIDI = Person("Heidi Hafen", "hamburg@example.de")
LARS = Person("Lars Lager", "lager.hamburg@example.de")
ALOIS = Person("Alois Alpen", "muenchen@example.de")
STEFFI = Person("Steffi Stern", "stuttgart@example.de")

MAIN = Site(
    MAIN_NUMBER, "Mustermensch Logistik GmbH", "Oranienplatz 5", "10999", "Berlin", "030", MAXI,
    "trunk-10", 10, 100,
)  # fmt: skip

BIELEFELD = Site(
    "2000521", "Mustermensch Lager Bielefeld", "Alter Markt 3", "33602", "Bielefeld", "0521",
    Person("Bert Bielefeld", "bielefeld@example.de"),
)  # fmt: skip
HAMBURG = Site(
    "2000040", "Mustermensch Umschlag Hamburg", "Am Sandtorkai 12", "20457", "Hamburg", "040", HEIDI,
    "trunk-10", 6, 10,
)  # fmt: skip
MUENCHEN = Site("2000089", "Alpenfracht AG", "Rosenheimer Str. 8", "81669", "München", "089", ALOIS, "trunk-10", 10, 10)
STUTTGART = Site("2000711", "Alpenfracht Stuttgart", "Königstr. 21", "70173", "Stuttgart", "0711", STEFFI)
KOELN = Site(
    "2000221", "Mustermensch Filiale Köln", "Hohe Str. 40", "50667", "Köln", "0221",
    Person("Klara Köln", "koeln@example.de"),
)  # fmt: skip

EXISTING = (
    BIELEFELD,
    HAMBURG,
    MUENCHEN,
    STUTTGART,
    KOELN,
    Site(
        "2000069", "Mustermensch Filiale Frankfurt", "Zeil 77", "60313", "Frankfurt am Main", "069",
        Person("Frida Frankfurt", "frankfurt@example.de"),
    ),
    Site(
        "2000341", "Mustermensch Lager Leipzig", "Grimmaische Str. 9", "04109", "Leipzig", "0341",
        Person("Leo Leipzig", "leipzig@example.de"),
    ),
    Site(
        "2000351", "Mustermensch Filiale Dresden", "Prager Str. 2", "01069", "Dresden", "0351",
        Person("Dora Dresden", "dresden@example.de"),
    ),
    Site(
        "2000421", "Mustermensch Kontor Bremen", "Böttcherstr. 4", "28195", "Bremen", "0421",
        Person("Bruno Bremen", "bremen@example.de"),
    ),
    Site(
        "2000511", "Mustermensch Filiale Hannover", "Georgstr. 11", "30159", "Hannover", "0511",
        Person("Hanno Hannover", "hannover@example.de"),
    ),
)  # fmt: skip

KIEL = Site(
    "2000431", "Mustermensch Werft Kiel", "Sophienblatt 12", "24103", "Kiel", "0431",
    Person("Kai Kiel", "kiel@example.de"),
)  # fmt: skip
DUESSELDORF = Site(
    "2000211", "Mustermensch Depot Düsseldorf", "Schadowstr. 30", "40212", "Düsseldorf", "0211",
    Person("Dilan Düssel", "duesseldorf@example.de"),
)  # fmt: skip

REGISTERED = {MAIN: "HRB 111111 B, Amtsgericht Charlottenburg", MUENCHEN: "HRB 222222, Amtsgericht München"}
"""The main accounts with a known contract holder, each with the holder's number in the commercial register."""

INVOICE_NUMBER = "SR-1111111-1"
BILLED_TOGETHER = (KIEL, DUESSELDORF)
"""Sites on the main account's collective invoice that are not attached at first: a scheduled job attaches them."""

ROLES = (
    (SAM, MAIN, Role.LOCATION_MANAGER),
    (EMILY, MAIN, Role.LOCATION_MANAGER),
    (MAXI, BIELEFELD, Role.ADMINISTRATOR),
    (LARS, HAMBURG, Role.LOCAL_MEMBER),
)
"""Roles in addition to each site's own administrator: user, site, role."""

LINKS = ((MAIN, HAMBURG), (MUENCHEN, STUTTGART))
"""Pairs of sites that are attached from the start: main account, sub-account."""

TAGS = {HAMBURG: ["Hafen", "Region Nord"]}
"""The tags that main accounts have given their sub-accounts."""


def _login(who: str, person: Person, can: str) -> DemoLogin:
    return DemoLogin(f"{person.name}, {who}", person.email, PASSWORD, can)


DEMO_LOGINS = (
    _login("administrator of 1111111", MAXI, "everything; also administers 2000521 Bielefeld: link it at once"),
    _login("location manager of 1111111", SAM, "order and link sub-accounts, reach every site"),
    _login("location manager of 1111111", EMILY, "the same, in English"),
    _login("administrator of 2000040 Hamburg", HEIDI, "a sub-account's own login, undisturbed by the link"),
    _login("local member of 2000040 Hamburg", LARS, "the call forwarding of that site, nothing else"),
    _login("administrator of 2000221 Köln", KOELN.administrator, "prove ownership: link 2000221 with this login"),
    _login("administrator of 2000089 Alpenfracht", ALOIS, "a main account: linking 2000089 is rejected"),
    _login("administrator of 2000711 Alpenfracht", STEFFI, "attached to 2000089 already: rejected too"),
    _login("back office", BACK_OFFICE, "see what is stuck and why; first sets up an authenticator app"),
)
"""The logins that the embedded stack prints at every start. Other sites have CITY@example.de (frankfurt@example.de)."""
