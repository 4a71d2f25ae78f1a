"""An application whose answer is larger than what the sockets of client and server take, as that of a large export."""

from __future__ import annotations

from flask import Flask, Response

SIZE = 20_000_000


def create_app() -> Flask:
    """Return a Flask application with a large answer at /large and a small one at /small."""
    app = Flask("large")

    @app.get("/large")
    def large() -> Response:
        return Response((bytes(100_000) for _ in range(SIZE // 100_000)), headers={"Content-Length": str(SIZE)})

    @app.get("/small")
    def small() -> str:
        return "small"

    return app
