"""The API endpoint that shows the price list."""

from __future__ import annotations

from dataclasses import asdict

from flask import Response

from models.contracts.catalogue import ProductKind, orderable_products
from web.api import schemas
from web.api.blueprint import api, json_response
from web.api.call_transaction import call_transaction
from web.api.problems import language
from web.resources import resources


@api.get("/products", responses={200: schemas.ProductList})
def list_products() -> Response:
    """List the products that can be ordered with their prices and, for SIP trunks, the terms of their contracts."""
    with call_transaction() as session:
        items = [
            {
                "key": product.key,
                "kind": product.kind,
                "name": product.name(language()),
                "channels": product.channels,
                "block_size": product.block_size,
                "monthly_cents": product.monthly_cents,
                "one_off_cents": product.one_off_cents,
                "terms": asdict(product.terms) if product.kind is ProductKind.TRUNK else None,
            }
            for product in orderable_products(session, resources().clock())
        ]
    return json_response({"items": items})
