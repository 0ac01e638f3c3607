"""Queries that REST callers may send, and what they are told about the rest."""

import re

import httpx
import pytest

from tests.gateway.conftest import GatewayHarness
from tests.gateway.status import check_refusal, violations

pytestmark = pytest.mark.asyncio(loop_scope="session")


INVITE = "/billing/v1/customers:invite"
CUSTOMERS = "/billing/v1/customers"
WEBHOOK = "/v1/resellers/r/webhooks/w"
UNKNOWN_PARAMETER = "There is no such parameter."
OF_INT64 = "It must be from -9223372036854775808 to 9223372036854775807."
IN_PATH = "The path says what this is."


QUERIES: dict[str, tuple[str, dict[str, str]]] = {
    "path variable": ("/operations/a?operation_id=b", {"operation_id": IN_PATH}),
    "path variable, camel case": ("/operations/a?operationId=b", {"operationId": IN_PATH}),
    "path variable, encoded": ("/operations/a?operation%5Fid=b", {"operation_id": IN_PATH}),
    "path variable, all encoded": (
        "/operations/a?%6f%70%65%72%61%74%69%6f%6e%5f%69%64=b",
        {"operation_id": IN_PATH},
    ),
    "path variable of a pattern": ("/v1/operations/a?name=operations/b", {"name": IN_PATH}),
    "path variable that is fixed": ("/v1/operations?name=x", {"name": IN_PATH}),
    "encoded twice": ("/operations/a?operation%255Fid=b", {"operation%5Fid": UNKNOWN_PARAMETER}),
    "unknown": ("/operations/a?colour=red", {"colour": UNKNOWN_PARAMETER}),
    "misspelt": (
        f"{CUSTOMERS}?page_sze=1",
        {"page_sze": "There is no such parameter; did you mean page_size?"},
    ),
    "several": (
        f"{CUSTOMERS}?page_size=x&colour=%D1%8F&pageToken=%ff",
        {
            "page_size": "It must be a whole number.",
            "colour": UNKNOWN_PARAMETER,
            "pageToken": "It is not percent-encoded UTF-8.",
        },
    ),
    "twice": (
        f"{CUSTOMERS}?pageSize=1&page_size=2",
        {"page_size": "The parameter is given twice."},
    ),
    "beneath a text": (f"{CUSTOMERS}?resellerId.x=1", {"resellerId.x": UNKNOWN_PARAMETER}),
    "no name": (f"{CUSTOMERS}?=1", {"": UNKNOWN_PARAMETER}),
    "without value": (
        f"{CUSTOMERS}?resellerId=r&pageSize",
        {"pageSize": "It must be a whole number."},
    ),
    "numbers out of range, beside others": (
        f"{CUSTOMERS}?resellerId=r&pageSize=99999999999999999999&colour=red",
        {"pageSize": OF_INT64, "colour": UNKNOWN_PARAMETER},
    ),
    "below the least": (
        f"{CUSTOMERS}?resellerId=r&pageSize=-9223372036854775809",
        {"pageSize": OF_INT64},
    ),
    "of 32 bits": (
        "/v1/operations?pageSize=2147483648",
        {"pageSize": "It must be from -2147483648 to 2147483647."},
    ),
    "of thousands of digits": (
        f"{CUSTOMERS}?resellerId=r&pageSize={'9' * 5000}",
        {"pageSize": OF_INT64},
    ),
    "power": (
        f"{CUSTOMERS}?resellerId=r&pageSize=1e30",
        {"pageSize": "It must be a whole number."},
    ),
    "fraction": (
        f"{CUSTOMERS}?resellerId=r&pageSize=1.5",
        {"pageSize": "It must be a whole number."},
    ),
    "hexadecimal": (
        f"{CUSTOMERS}?resellerId=r&pageSize=0x10",
        {"pageSize": "It must be a whole number."},
    ),
    "infinity": (
        f"{CUSTOMERS}?resellerId=r&pageSize=Infinity",
        {"pageSize": "It must be a whole number."},
    ),
    "half true": (
        "/v1/operations?returnPartialSuccess=trle",
        {"returnPartialSuccess": "It must be true or false."},
    ),
}


@pytest.mark.parametrize(("path", "wrong"), QUERIES.values(), ids=QUERIES)
async def test_wrong_queries_are_refused_by_name(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, wrong: dict[str, str]
) -> None:
    response = await rest.get(path)
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == wrong
    assert harness.upstream.calls == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{INVITE}?name=x", "name"),
        (f"{INVITE}?person.email=x", "person.email"),
        (f"{INVITE}?person%2Eemail=x", "person.email"),
        ("/operations/a:cancel?operationId=b", "operationId"),
        (f"{CUSTOMERS}/a:activate?customer_id=b", "customer_id"),
    ],
)
async def test_a_query_beside_a_body_is_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, name: str
) -> None:
    response = await rest.post(path, json={})
    assert list(violations(check_refusal(response, 400, 3, "FIELDS_INVALID"))) == [name]
    assert harness.upstream.calls == []


@pytest.mark.parametrize(
    ("mask", "wrong"),
    [
        ("Url", "There is no field Url; did you mean url?"),
        ("url,contentTYPE", "There is no field contentTYPE; did you mean contentType?"),
        ("types,alert_Email", "There is no field alert_Email; did you mean alert_email?"),
        ("state.x", "There is no field state.x."),
        ("colour", "There is no field colour."),
        ("url,", "A comma has nothing before or behind it."),
        (",", "A comma has nothing before or behind it."),
        ("url,,types", "A comma has nothing before or behind it."),
        ("url, types", "There is no field  types; did you mean types?"),
        (",".join(["url"] * 101), "It must name at most 100 fields."),
    ],
)
async def test_a_mask_names_fields_letter_by_letter(
    harness: GatewayHarness, rest: httpx.AsyncClient, mask: str, wrong: str
) -> None:
    response = await rest.patch(WEBHOOK, params={"updateMask": mask}, json={})
    assert violations(check_refusal(response, 400, 3, "FIELDS_INVALID")) == {"updateMask": wrong}
    in_body = await rest.post(
        "/billing.v1.WebhookService/UpdateWebhook", json={"webhook": {}, "updateMask": mask}
    )
    assert in_body.status_code == 400
    assert wrong in in_body.json()["message"]
    assert harness.upstream.calls == []


async def test_a_mask_spells_keys_as_they_are(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    """The transcoder would make it `labels.tier`, which is another."""
    customer = "/v1/resellers/r/customers/c"
    response = await rest.patch(customer, params={"updateMask": "labels.Tier"}, json={})
    found = violations(check_refusal(response, 400, 3, "FIELDS_INVALID"))
    assert found == {"updateMask": "The key Tier can't have capital letters."}
    assert harness.upstream.calls == []


@pytest.mark.parametrize("mask", ["*", "url", "types,contentType,alert_email", ""])
async def test_masks_reach_the_server(
    harness: GatewayHarness, rest: httpx.AsyncClient, mask: str
) -> None:
    response = await rest.patch(WEBHOOK, params={"updateMask": mask}, json={})
    assert response.status_code == 200, response.text
    paths = harness.upstream.calls[0].request.update_mask.paths
    assert list(paths) == [re.sub("T", "_t", path) for path in mask.split(",") if path]


@pytest.mark.parametrize("size", [2**63 - 1, -(2**63), "007", "-0", "0" * 500])
async def test_numbers_that_fit_reach_the_server(
    harness: GatewayHarness, rest: httpx.AsyncClient, size: int | str
) -> None:
    response = await rest.get(f"{CUSTOMERS}?pageSize={size}")
    assert response.status_code == 200, response.text
    assert harness.upstream.calls[0].request.page_size == int(size)


async def test_a_query_is_decoded(harness: GatewayHarness, rest: httpx.AsyncClient) -> None:
    response = await rest.get(f"{CUSTOMERS}?resellerId=%D1%8F+b%2Bc&page%5Fsize=5&pageToken=&&")
    assert response.status_code == 200, response.text
    request = harness.upstream.calls[0].request
    assert (request.reseller_id, request.page_size, request.page_token) == ("я b+c", 5, "")
