"""Reading of database URLs that name several PostgreSQL hosts, a primary server and its standbys."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

_HOST = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>[0-9]+))?")
_PORT = "5432"


def in_one_form(url: str) -> str:
    """Rewrite the URL of a database that names several hosts, so that both SQLAlchemy and libpq can read it.

    The form in libpq's documentation, `postgresql+psycopg://user@one:5432,two:5432/name`, which SQLAlchemy cannot read,
    becomes `postgresql+psycopg://user@/name?host=one,two&port=5432,5432`. Unless the URL has `target_session_attrs`, it
    gets `read-write`, so that standbys, which cannot be written, are skipped. A URL with one host is returned
    unchanged. Raises `ValueError` if the list of hosts cannot be read.
    """
    parts = urlsplit(url)
    person, at, listed = parts.netloc.rpartition("@")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "," in listed:
        found = [_HOST.fullmatch(host) for host in listed.split(",")]
        if "host" in options or "port" in options:
            raise ValueError("must name its hosts once: before the database's name, or as host= and port= behind it")
        if not all(found):
            raise ValueError("must name its hosts as host:port,host:port")
        options["host"] = ",".join(match["host"].strip("[]") for match in found if match)
        options["port"] = ",".join(match["port"] or _PORT for match in found if match)
        parts = parts._replace(netloc=person + at)
    elif "," in options.get("host", ""):
        options.setdefault("port", ",".join(_PORT for _ in options["host"].split(",")))
    else:
        return url
    options.setdefault("target_session_attrs", "read-write")
    query = "&".join(f"{name}={quote(value, safe=',:')}" for name, value in options.items())
    return urlunsplit(parts._replace(query=query))
