"""The interface explains itself: an example for every message; for every refusal field, rule and remedy."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from cardlib.wire import Message
from tests.issuance.conftest import REGION, Centre, ok, refused

NUMBER = "A00000011"
"""Its check digit is right, A00000012's is not."""


def _messages(parent: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in parent.__subclasses__():
        yield child
        yield from _messages(child)


async def test_every_body_has_an_example_that_its_message_takes(centre: Centre) -> None:
    api = centre.app.openapi()
    schemas = api["components"]["schemas"]
    ours = [message for message in _messages(Message) if message.__module__.startswith(("issuance.", "cardlib."))]
    checked = {message.__name__: message for message in ours}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            for body in (operation.get("requestBody", {}), *answers):
                content = body.get("content", {}).get("application/json")
                if content is None or "example" in content:
                    continue
                schema = content["schema"]
                name = schema.get("items", schema).get("$ref", "").rpartition("/")[2]
                assert schemas.get(name, {}).get("examples"), f"{method} {path}: {name} has no example"
                for example in schemas[name]["examples"]:
                    if name in checked:
                        checked[name].model_validate_json(json.dumps(example))


async def ask(centre: Centre, method: str, path: str, body: Any = None) -> Any:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    return await centre.as_("all").request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(
    ("method", "path", "body", "location", "rule"),
    [
        ("GET", "/v1/cards/A00000012", None, "path.card_number", "card_number"),
        ("GET", "/v1/cards/测/history", None, "path.card_number", "card_number"),
        ("POST", "/v1/cards/A00000012/cancel", {}, "path.card_number", "card_number"),
        ("POST", "/v1/found-cards", {"card_number": "A1", "outlet": "hall-3"}, "body.card_number", "card_number"),
        ("POST", f"/v1/cards/{NUMBER}/holder", {"version": 1}, "body", "holder_nothing"),
        ("POST", f"/v1/cards/{NUMBER}/replacements", {"keeps_number": "?"}, "body.keeps_number", "bool_parsing"),
        ("POST", "/v1/applications", {"region": REGION, "person": "?"}, "body.person", "model_attributes_type"),
        ("POST", "/v1/applications", {"region": REGION, "items": []}, "body.items", "dict_type"),
        ("POST", "/v1/card-numbers/changes", {"numbers": NUMBER}, "body.numbers", "tuple_type"),
        ("POST", "/v1/hsm/debits/2147483690/outcome", {"outcome": "done"}, "body", "debit_proof"),
        ("POST", "/v1/clients", {"public_jwk": {"kty": "RSA"}}, "body.public_jwk", "public_jwk"),
        ("GET", "/v1/cards?expires_until=1.5", None, "query.expires_until", "date_from_datetime_inexact"),
    ],
)
async def test_a_refusal_names_the_field_and_its_rule(
    centre: Centre, method: str, path: str, body: Any, location: str, rule: str
) -> None:
    await centre.register("all", ("operator", "terminal"))
    response = await ask(centre, method, path, body)
    problem = refused(response, "INPUT_INVALID", response.status_code)
    found = {field["location"]: field for field in problem["fields"]}
    assert found[location]["reason"] == rule
    assert "…" not in str(found[location])


async def test_who_lost_is_told_who_did_what(centre: Centre, orders: list[dict[str, Any]]) -> None:
    """Two operators saw version 1; the names of the clerk, the act and the new state come back to the second."""
    await centre.stock()
    number = (await centre.issue(1))["card_number"]
    seen = ok(await centre.as_("operator").get(f"/v1/cards/{number}"))["version"]

    async def lose(kind: str, clerk: str, **body: Any) -> Any:
        headers = {"Idempotency-Key": secrets.token_hex(8), "X-Clerk": clerk}
        return await centre.as_("operator").post(
            f"/v1/cards/{number}/loss", json={"kind": kind} | body, headers=headers
        )

    ok(await lose("formal", "clerk-07", version=seen))
    detail = refused(await lose("temporary", "clerk-09", version=seen), "CONFLICT", 409)["detail"]
    assert "clerk-07 did lose at 2026-01-05" in detail
    assert "1 -> 2" in detail
    blind = refused(await lose("temporary", "clerk-09"), "CARD_STATE", 409)["detail"]
    assert "经办 clerk-07" in blind
    assert "by clerk-07" in blind


async def test_a_rejection_sent_twice_gets_its_answer_again(centre: Centre) -> None:
    path = f"/v1/applications/{ok(await centre.apply(1), 201)['id']}/reject"

    async def reject(reason: str, key: str | None) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await centre.as_("operator").post(path, json={"reason": reason}, headers=headers)

    first = ok(await reject("moved away", "reject-0001"))
    again = await reject("moved away", "reject-0001")
    assert (ok(again), again.headers["Idempotency-Replayed"]) == (first, "true")
    refused(await reject("other", "reject-0001"), "IDEMPOTENCY_CONFLICT", 409)
    refused(await reject("moved away", None), "APPLICATION_STATE", 409)
