"""The auditor's checks of what requests have made: accounts, contracts, prices, trunks, numbers, registrar's rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, Rows, check

ENDED = {"completed", "rejected", "cancelled"}


@check("doubled or missing at the end: contract, trunk, numbers")
def provisioned_once(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each completed order without exactly one contract, trunk and number block.

    Also yield one for each order that was rejected or cancelled and has any of them.
    """
    for row in evidence.ask(
        """
        SELECT r.id, r.status,
            (SELECT count(*) FROM contracts c WHERE c.request_id = r.id AND c.ended_at IS NULL) AS contracts,
            (SELECT count(*) FROM sip_trunks t WHERE t.request_id = r.id AND t.state <> 'closed') AS trunks,
            (SELECT count(*) FROM number_blocks b JOIN sip_trunks t ON t.id = b.trunk_id
                WHERE t.request_id = r.id) AS blocks
        FROM requests r WHERE r.kind = 'order'
        """
    ):
        found = [row[name] for name in ("contracts", "trunks", "blocks")]
        if found != [int(row["status"] == "completed")] * 3 and row["status"] in ENDED:
            yield f"order {row['id']} ({row['status']}): contracts, trunks, blocks are {found}"


@check("doubled accounts, or accounts in wrong hands")
def accounts(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each account that has not exactly one order, or the wrong main account or state.

    An account that existed before the run has no order. An ordered or linked account belongs to the main account of its
    last completed request, a detached one to none, and the account of an order that was rejected or cancelled is
    closed.
    """
    before = set(evidence.record["accounts"])
    for row in evidence.ask(
        "SELECT a.customer_number, count(r.id) FROM accounts a"
        " LEFT JOIN requests r ON r.account_id = a.id AND r.kind = 'order' GROUP BY 1 ORDER BY 1"
    ):
        if row["count"] != int(row["customer_number"] not in before):
            yield f"account {row['customer_number']} has {row['count']} orders"
    for row in evidence.ask(
        """
        SELECT DISTINCT ON (a.id) a.customer_number, a.state, a.main_id, r.kind, r.status, r.id, r.main_id AS wanted
        FROM requests r JOIN accounts a ON a.customer_number = r.customer_number
        WHERE r.status = 'completed' AND r.kind IN ('order', 'link', 'switch', 'detach')
            OR r.kind = 'order' AND r.status IN ('rejected', 'cancelled')
        ORDER BY a.id, r.created_at DESC
        """
    ):
        wanted = ("active", None if row["kind"] == "detach" else row["wanted"])
        if row["status"] != "completed":
            wanted = ("closed", None)
        if (row["state"], row["main_id"]) != wanted:
            found = (row["state"], row["main_id"])
            yield f"account {row['customer_number']} is {found} and not {wanted} after {row['kind']} {row['id']}"


@check("charges and channels otherwise than ordered and changed")
def charges(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each contract whose lines do not follow from its order and from the changes completed since.

    A contract begins with the tariff, the number block and the options of the order, each once and at the agreed price.
    Each change of the tariff ends the line of the old tariff and begins a new line at the same moment. The trunk and
    its row at the registrar must have the channels of the last change. A contract without an order must belong to an
    account that existed before the run.
    """
    blocks = {row["block_size"]: row["key"] for row in evidence.ask("SELECT key, block_size FROM products")}
    channels = {
        row["username"]: row["value"]
        for row in evidence.ask_registrar("SELECT username, value FROM usr_preferences WHERE attribute = 'channels'")
    }
    lines, changes = _by_contract(evidence)
    for order in evidence.ask(
        """
        SELECT r.id, r.product_key, r.channels, r.block_size, r.option_keys, r.price_lines, c.id AS contract_id,
            t.channels AS has_channels, t.sip_user
        FROM requests r JOIN contracts c ON c.request_id = r.id JOIN sip_trunks t ON t.contract_id = c.id
        WHERE c.ended_at IS NULL ORDER BY r.id
        """
    ):
        tariffs, wanted = [order["product_key"]], order["channels"]
        for change in changes[order["contract_id"]]:
            wanted = change["channels"]
            if change["product_key"] != tariffs[-1]:
                tariffs.append(change["product_key"])
        ordered = [order["product_key"], blocks[order["block_size"]], *order["option_keys"]]
        found = lines[order["contract_id"]]
        for wrong in (
            *_wrong_at_first([line for line in found if line["started_at"] is None], ordered, order["price_lines"]),
            *_wrong_in_time([line for line in found if line["kind"] == "trunk"], tariffs),
            *(f"{line['product_key']} ended" for line in found if line["kind"] != "trunk" and line["ended_at"]),
        ):
            yield f"order {order['id']}: {wrong}"
        there = (order["has_channels"], channels.get(order["sip_user"]))
        if there != (wanted, str(wanted)):
            yield f"order {order['id']}: trunk and registrar have {there} channels and not {wanted}"
    for row in evidence.ask(
        "SELECT c.id, a.customer_number FROM contracts c JOIN accounts a ON a.id = c.account_id"
        " WHERE c.request_id IS NULL"
    ):
        if row["customer_number"] not in evidence.record["accounts"]:
            yield f"contract {row['id']} of account {row['customer_number']} is of no order"


def _by_contract(evidence: Evidence) -> tuple[dict[int, Rows], dict[int, Rows]]:
    """Return the lines of each contract and the completed changes of each contract, as two dictionaries by contract id.

    The rows of each contract are in the order of time.
    """
    lines: dict[int, Rows] = defaultdict(list)
    for row in evidence.ask(
        "SELECT i.*, p.kind FROM contract_items i JOIN products p ON p.key = i.product_key"
        " ORDER BY i.started_at NULLS FIRST, i.ended_at NULLS LAST"
    ):
        lines[row["contract_id"]].append(row)
    changes: dict[int, Rows] = defaultdict(list)
    for row in evidence.ask(
        "SELECT t.contract_id, r.product_key, r.channels FROM requests r JOIN sip_trunks t ON t.id = r.changed_trunk_id"
        " WHERE r.kind = 'change' AND r.status = 'completed' ORDER BY r.created_at"
    ):
        changes[row["contract_id"]].append(row)
    return lines, changes


def _wrong_at_first(lines: Rows, ordered: list[str], agreed: Rows) -> Iterator[str]:
    """Yield a sentence if a contract's first lines are not the ordered products, and for each price that is wrong.

    `lines` are the contract's first lines, `ordered` the product keys of the order, `agreed` the order's stored price
    lines.
    """
    if sorted(line["product_key"] for line in lines) != sorted(ordered):
        yield f"lines are {sorted(line['product_key'] for line in lines)} and not {sorted(ordered)}"
    prices = {line["product_key"]: (line["monthly_cents"], line["one_off_cents"]) for line in agreed}
    for line in lines:
        found = (line["monthly_cents"], line["one_off_cents"])
        if found != prices.get(line["product_key"]):
            yield f"{line['product_key']} costs {found} and not {prices.get(line['product_key'])}"


def _wrong_in_time(lines: Rows, tariffs: list[str]) -> Iterator[str]:
    """Yield a sentence if a contract's tariffs are not the expected ones, and if one does not end when the next begins.

    `lines` are the contract's lines with a tariff, in the order of their beginnings; `tariffs` are the expected product
    keys: the ordered one, then that of each change.
    """
    found = [line["product_key"] for line in lines]
    if found != tariffs:
        yield f"tariffs were {found} and not {tariffs}"
    ends, begins = [line["ended_at"] for line in lines], [line["started_at"] for line in lines]
    if ends != [*begins[1:], None]:
        yield f"tariffs {found} begin at {begins} and end at {ends}"


@check("numbers with two owners")
def shared_numbers(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each number that belongs to two trunks, in the portal's or the registrar's database."""
    for row in evidence.ask(
        "SELECT a.first_number FROM number_blocks a JOIN number_blocks b ON a.id < b.id"
        " AND a.first_number < b.first_number + b.size AND b.first_number < a.first_number + a.size"
        " WHERE a.trunk_id IS NOT NULL AND b.trunk_id IS NOT NULL"
    ):
        yield f"+{row['first_number']} here"
    for row in evidence.ask_registrar(
        "SELECT alias_username, count(*) FROM dbaliases GROUP BY alias_username HAVING count(*) > 1"
    ):
        yield f"{row['alias_username']} at the registrar: {row['count']} rows"


@check("registrar differences")
def differences(evidence: Evidence) -> Iterator[str]:
    """Yield a finding for each difference between the registrar's database and the portal's.

    Compared are subscribers, passwords, suspensions, numbers, channels, and the forwardings with their targets.
    """
    trunks = {
        row["sip_user"]: row
        for row in evidence.ask(
            """
            SELECT t.sip_user, t.domain, t.secret, t.channels, t.state,
                coalesce((SELECT array_agg(f.target ORDER BY f.target) FROM call_forwardings f
                    WHERE f.account_id = t.account_id AND f.enabled), '{}') AS targets,
                coalesce((SELECT array_agg('+' || n ORDER BY n) FROM number_blocks b,
                    generate_series(b.first_number, b.first_number + b.size - 1) AS n WHERE b.trunk_id = t.id), '{}')
                    AS numbers
            FROM sip_trunks t WHERE t.state <> 'closed'
            """
        )
    }
    passwords = {row["username"]: row["ha1"] for row in evidence.ask_registrar("SELECT username, ha1 FROM subscriber")}
    for user in sorted(trunks.keys() ^ passwords.keys()):
        yield f"{user} is {'missing' if user in trunks else 'unknown'} there"
    numbers: dict[str, list[str]] = defaultdict(list)
    for row in evidence.ask_registrar("SELECT username, alias_username FROM dbaliases ORDER BY alias_username"):
        numbers[row["username"]].append(row["alias_username"])
    preferences: dict[str, dict[str, str]] = defaultdict(dict)
    for row in evidence.ask_registrar("SELECT username, attribute, value FROM usr_preferences"):
        if row["attribute"] in preferences[row["username"]]:
            yield f"{row['attribute']} of {row['username']} stands twice there"
        preferences[row["username"]][row["attribute"]] = row["value"]
    for user, trunk in trunks.items():
        said = preferences[user]
        compared = {
            "password": (passwords.get(user), evidence.password_digest(trunk)),
            "suspended": ("suspended" in said, trunk["state"] == "suspended"),
            "numbers": (numbers[user], trunk["numbers"]),
            "channels": (said.get("channels"), str(trunk["channels"])),
            "forwardings": (
                sorted(value.split()[0] for name, value in said.items() if name.startswith("forward.")),
                trunk["targets"],
            ),
        }
        for what, (there, here) in compared.items():
            if there != here and user in passwords:
                yield f"{what} of {user}: {there} there and {here} here"
