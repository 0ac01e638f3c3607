"""What gen/openapi.json says of requests and answers."""

import json
import re
from functools import cache
from typing import Any

import jsonschema_rs

from tests.gateway.openapi_document import DOCUMENT, resolve

# On any path, for what is wrong with HTTP itself.
_EVERYWHERE = {"405", "413", "501"}
_SNAKE = re.compile("_([a-z0-9])")


def wrong_answer(label: str, status: int, body: Any) -> str:
    """Returns how an answer differs from what the operation `label` ("GET /path") promises, or ""."""
    responses = _operation(label)["responses"]
    if str(status) in _EVERYWHERE:
        return ""
    if str(status) not in responses:
        return f"{label} promises no HTTP {status}"
    validator = _answer_validator(label, str(status))
    wrong = next(validator.iter_errors(body), None)
    return f"{label}: {wrong.message[:200]}" if wrong else ""


def wrong_request(label: str, body: bytes) -> str:
    """Returns why a body that the operation took is not one that the description allows, or ""."""
    try:
        value = json.loads(body, object_pairs_hook=_without_doubles)
    except ValueError as error:
        return f"{label} took what is not JSON: {error}"
    wrong = next(_request_validator(label).iter_errors(value), None)
    return f"{label} took what it should not: {wrong.message[:200]}" if wrong else ""


def _operation(label: str) -> dict[str, Any]:
    verb, _, path = label.partition(" ")
    found: dict[str, Any] = DOCUMENT["paths"][path][verb.lower()]
    return found


@cache
def _answer_validator(label: str, status: str) -> jsonschema_rs.Validator:
    response = resolve(_operation(label)["responses"][status])
    (content, *_) = response["content"].values()  # of a stream each object
    return _validator(content["schema"])


@cache
def _request_validator(label: str) -> jsonschema_rs.Validator:
    body = _operation(label).get("requestBody", {})
    return _validator(body["content"]["application/json"]["schema"] if body else {"const": {}})


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(
        schema | {"components": DOCUMENT["components"]}, validate_formats=True
    )


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object with names as the description has them: the service takes both spellings."""
    named = {_SNAKE.sub(lambda found: found[1].upper(), name): value for name, value in pairs}
    if len(named) < len(pairs):
        raise ValueError("a name is given twice")
    return named
