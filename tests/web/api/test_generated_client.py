"""Tests that the client which openapi-python-client generates from the API's document can call the API."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import openapi_python_client as generator
import pytest
from openapi_python_client.config import Config, ConfigFile, MetaType

from tests.web.conftest import ORDER, Front


@pytest.fixture
def client(front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Generate a Python client of the API from its OpenAPI document; provide it with the manager's token.

    It calls the application in this process. Its package can be imported as `generated` until the end of the test.
    """
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(front.client.get("/api/v1/openapi.json").get_json()))
    config = Config.from_sources(
        ConfigFile(post_hooks=[]), MetaType.NONE, document, "utf-8", overwrite=True, output_path=tmp_path / "generated"
    )
    errors = generator.generate(config=config)
    assert [error.header for error in errors] == []
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("generated").AuthenticatedClient("http://portal.example", front.token)
    application = httpx.WSGITransport(front.client.application)
    headers = {"Authorization": f"Bearer {front.token}"}
    yield made.set_httpx_client(httpx.Client(transport=application, base_url="http://portal.example", headers=headers))
    for name in [name for name in sys.modules if name.split(".")[0] == "generated"]:
        del sys.modules[name]


def test_a_generated_client_orders_and_reads_answers_and_errors(front: Front, client: Any) -> None:
    models = importlib.import_module("generated.models")
    api = {path.stem: path for path in Path(str(models.__file__)).parents[1].glob("api/*/*.py")}

    def call(ending: str, *arguments: Any, **facts: Any) -> Any:
        [path] = [path for name, path in api.items() if name.endswith(ending)]
        module = importlib.import_module(f"generated.api.{path.parent.name}.{path.stem}")
        return module.sync_detailed(*arguments, client=client, **facts).parsed

    order = models.OrderBody.from_dict(ORDER)
    accepted = call("orders_post", body=order, idempotency_key="one")
    assert isinstance(accepted, models.RequestBody), accepted
    assert (accepted.kind, accepted.status) == ("order", "acknowledged")
    assert call("requests_id_get", accepted.id).timeline[0].code == "order_received"
    numbers = [account.customer_number for account in call("accounts_get").items]
    assert numbers == [front.main.customer_number, accepted.customer_number]
    order.location.postal_code = "99999"
    refused = call("orders_post", body=order, idempotency_key="two")
    assert isinstance(refused, models.Problem)
    assert (refused.status, refused.errors[0].field) == (422, "location.postal_code")
