"""A bounded run of each family, the same each time; `make fuzz` goes further and elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.campaign import FAMILIES, SETTINGS, Campaign
from tests.fuzz.contract import ContractViolation, check_answer, check_rest
from tests.fuzz.inputs import Input, Known
from tests.fuzz.wire import Answer
from tests.service import running

INPUTS = 1500
SEED = 1
GET = Input("rest-h1", headers=((b":method", b"GET"), (b":path", b"/operations/a")))
CALL = Input("grpc", method="yandex.cloud.operation.OperationService.Get")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder = tmp_path_factory.mktemp("fuzz")
    with running(folder / "var", **SETTINGS) as service:
        campaign = Campaign(service, folder / "kept")
        yield campaign
        campaign.close()


@pytest.fixture(scope="module")
def known(campaign: Campaign) -> Known:
    return campaign.known()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_is_within_the_contract(campaign: Campaign, known: Known, family: str) -> None:
    campaign.run(family, INPUTS * FAMILIES[family][0] // 100, SEED, known)
    assert campaign.counts.inputs[family]
    assert [(each.violation, each.sent) for each in campaign.counts.findings.values()] == []


def test_the_service_lives_on(campaign: Campaign) -> None:
    campaign.settle()
    assert not campaign.died()
    assert campaign.counts.findings == {}


def test_a_row_that_a_refused_call_writes_is_noticed(campaign: Campaign, known: Known) -> None:
    """A violation of which nothing is known, made by another caller meanwhile."""
    refused = Input(
        "rest-h1", headers=((b":method", b"GET"), (b":path", b"/x"), (b":authority", b"a"))
    )
    campaign.invite_behind_its_back()
    with pytest.raises(ContractViolation, match="wrote to customers, operations"):
        campaign.send(refused)
    campaign.counts.findings.clear()


STATUS = {
    "code": 5,
    "message": "No.",
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "R",
            "domain": "billing.example.com",
        },
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "i"},
    ],
}


def refusal(status: int = 404, *more: tuple[bytes, bytes], **changes: object) -> Answer:
    """Returns an answer that keeps the contract but for the changes."""
    headers = [(b"content-type", b"application/json"), (b"x-request-id", b"i"), *more]
    return Answer("whole", status, headers, json.dumps(STATUS | changes).encode())


def test_a_good_refusal_passes() -> None:
    assert check_answer(GET, refusal()).label == "HTTP 404/5"


BREACHES = {
    "an internal error": refusal(500, code=13),
    "an unknown one": refusal(500, code=2),
    "a bad gateway": refusal(502, code=14),
    "unavailable while all is up": refusal(503, code=14),
    "a code that is not the status's": refusal(code=3),
    "no message": refusal(message=""),
    "no ErrorInfo": refusal(details=STATUS["details"][1:]),  # type: ignore[index]
    "another id": Answer("whole", 404, [*refusal().headers[:1], (b"x-request-id", b"j")], refusal().body),
    "more than a status": refusal(error="x"),
    "a header of gRPC's": refusal(404, (b"grpc-status", b"5")),
    "no id": Answer("whole", 404, refusal().headers[:1], refusal().body),
    "no JSON": Answer("whole", 404, refusal().headers, b"upstream connect error"),
    "text": Answer("whole", 404, [(b"content-type", b"text/plain"), (b"x-request-id", b"i")]),
    "trailers": Answer("whole", 404, refusal().headers, refusal().body, [(b"a", b"b")]),
    "405 without Allow": refusal(405, code=12),
    "429 without Retry-After": refusal(429, code=8),
    "no answer": Answer("silent"),
    "half an answer": Answer("closed", 404),
    "a reset": Answer("reset INTERNAL_ERROR"),
    "a result that is no JSON": Answer("whole", 200, refusal().headers, b"{"),
}  # fmt: skip


@pytest.mark.parametrize("answer", BREACHES.values(), ids=BREACHES)
def test_breaches_over_rest_are_noticed(answer: Answer) -> None:
    with pytest.raises(ContractViolation):
        check_answer(GET, answer)


def test_a_result_is_compared_with_the_description() -> None:
    operation = "GET /operations/{operationId}"
    answer = Answer("whole", 200, refusal().headers, b'{"id": 5}')
    check_rest(answer)
    with pytest.raises(ContractViolation, match="description"):
        check_answer(Input("rest-h1", method=operation), answer)


def grpc(code: bytes, body: bytes = b"", http: int = 200) -> Answer:
    headers = [(b"content-type", b"application/grpc"), (b"x-request-id", b"i")]
    return Answer("whole", http, headers, body, [(b"grpc-status", code)])


@pytest.mark.parametrize(
    "answer",
    [
        grpc(b"2"),
        grpc(b"13"),
        grpc(b"14"),
        grpc(b"4"),
        grpc(b""),
        grpc(b"5", http=503),
        grpc(b"0", b"\0\0\0\0\x02\xff\xff"),
    ],
)
def test_breaches_over_grpc_are_noticed(answer: Answer) -> None:
    with pytest.raises(ContractViolation):
        check_answer(CALL, answer)


def test_inputs_are_kept_without_what_is_secret(tmp_path: Path) -> None:
    known = Known(
        *("tok", "res", ("op0", "op1"), ("cu",), ("in",), ("ev",), ("wh",), ("li",)),
        *("j.w.t", "i.a.m"),
    )
    sent = Input("grpc", b"\0\xffop1 res", ((b"authorization", b"Bearer tok"),), "m", 0.5)
    stored = json.dumps(sent.to_json(known.secrets))
    assert "tok" not in stored
    assert Input.from_json(stored, known.secrets) == sent
