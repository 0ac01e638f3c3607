"""What an answer may look like. README, 'What a REST caller can rely on', in code."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tests.fuzz import description, protos
from tests.fuzz.inputs import Input
from tests.fuzz.wire import Answer

# gRPC code -> HTTP status. 2 and 13 are defects; 14 can't be while the service is up.
_STATUSES = {
    1: {499},
    3: {400, 413, 415, 431},
    4: {504, 408},
    5: {404},
    6: {409},
    7: {403},
    8: {429},
    9: {400},
    10: {409},
    11: {400},
    12: {405, 501},
    16: {401},
}
_TIMES_OUT = 4
_STATIC = (b"/docs", b"/openapi.json")
_DOCUMENTS = ("/docs", "/openapi.json")
_PAGES = re.compile(rb"/+invitations(?:/|\?|$)")
_PAGE_STATUSES = {200, 303, 400, 404, 405, 408, 410, 413, 429, 431, 504}


class ContractViolation(AssertionError):  # noqa: N818
    """An answer outside the contract; the text says what is wrong, the same for the same defect."""


@dataclass(frozen=True)
class Accepted:
    """An answer that keeps the contract.

    `label` is what it counts as: "HTTP 400/3", "gRPC 5". `wrote` tells whether the call may have
    changed the database: True, False, or None where neither is known.
    """

    label: str
    wrote: bool | None


def check_answer(sent: Input, answer: Answer) -> Accepted:
    """Checks the answer to one whole request; raises ContractViolation."""
    if answer.end != "whole":
        if sent.deadline_s is not None and answer.end.startswith("reset"):
            return Accepted("reset at the deadline", None)
        raise ContractViolation(f"no whole answer: {answer.end}")
    if sent.transport in ("grpc", "grpc-direct"):
        return _check_grpc(sent, answer)
    return check_rest(answer, sent)


def check_rest(answer: Answer, sent: Input | None = None) -> Accepted:
    """Checks an answer over REST; what was asked is not known for the raw transports."""
    status = answer.status
    _check_headers(answer)
    if answer.trailers:
        raise ContractViolation("trailers behind a REST answer")
    verb = sent.header(b":method") if sent else b""
    if sent and _is_page(sent) and not _is_told_a_status(sent, answer):
        if not answer.header(b"content-type").startswith("text/html"):
            raise ContractViolation(f"a page as {answer.header(b'content-type')!r}")
        if status not in _PAGE_STATUSES:
            raise ContractViolation(f"a page with HTTP {status}")
        return Accepted(f"page {status}", status in {200, 303})
    if status == 302 and answer.header(b"location") in _DOCUMENTS:
        return Accepted("HTTP 302", False)  # of GET /
    if status == 200:
        if verb != b"HEAD" and not (sent and sent.header(b":path").startswith(_STATIC)):
            _check_result(sent, answer)
        return Accepted("HTTP 200", not (sent and _is_rest_read(sent)))
    if answer.header(b"x-operation-poll-interval"):
        raise ContractViolation("x-operation-poll-interval on an error")
    if status == 405 and not answer.header(b"allow"):
        raise ContractViolation("405 without Allow")
    if status == 429 and not answer.header(b"retry-after"):
        raise ContractViolation("429 without Retry-After")
    if verb == b"HEAD":
        if answer.body:
            raise ContractViolation("a body on HEAD")
        if status not in {each for some in _STATUSES.values() for each in some}:
            raise ContractViolation(f"HTTP {status}")
        return Accepted(f"HTTP {status}", False)
    code = _check_status(sent, answer)
    if status not in _STATUSES.get(code, ()):
        raise ContractViolation(f"HTTP {status} with code {code}")
    if sent and sent.method and status:
        wrong = description.wrong_answer(sent.method, status, json.loads(answer.plain_body))
        if wrong:
            raise ContractViolation(wrong)
    return Accepted(f"HTTP {status}/{code}", None if code == _TIMES_OUT else False)


def _is_told_a_status(sent: Input, answer: Answer) -> bool:
    """Whether a program posted the form: no browser sends a key."""
    is_json = answer.header(b"content-type") == "application/json"
    return is_json and bool(sent.header(b"idempotency-key"))


def _is_page(sent: Input | None) -> bool:
    return sent is not None and _PAGES.match(sent.header(b":path")) is not None


def _is_rest_read(sent: Input) -> bool:
    """Whether the call never changes anything; a GET that cancels does."""
    return sent.method.startswith("GET ") and not sent.method.endswith(":cancel")


def _check_headers(answer: Answer) -> None:
    for name, _ in answer.headers:
        if name.startswith((b"grpc-", b"x-envoy-")) or name.endswith(b"-bin") or name == b"server":
            raise ContractViolation(f"the header {name.decode()} leaks")
    if not answer.header(b"x-request-id"):
        raise ContractViolation(f"HTTP {answer.status} without x-request-id")


def _check_result(sent: Input | None, answer: Answer) -> None:
    if answer.header(b"content-type") != "application/json":
        raise ContractViolation(f"HTTP 200 as {answer.header(b'content-type')!r}")
    try:
        body = json.loads(answer.plain_body)
    except ValueError:
        raise ContractViolation("HTTP 200 whose body is not JSON") from None
    if sent and sent.method:
        wrong = description.wrong_answer(sent.method, 200, body)
        if not wrong and sent.body:
            wrong = description.wrong_request(sent.method, sent.body)
        if wrong:
            raise ContractViolation(wrong)


def _check_status(sent: Input | None, answer: Answer) -> int:
    """Returns the code of the `google.rpc.Status` that the answer must be."""
    if answer.header(b"content-type") != "application/json":
        raise ContractViolation(f"HTTP {answer.status} as {answer.header(b'content-type')!r}")
    try:
        body = _out_of_envelope(sent, answer, json.loads(answer.plain_body))
        if not isinstance(body, dict) or body.keys() != {"code", "message", "details"}:
            raise ContractViolation(
                f"HTTP {answer.status} whose body is not code, message and details"
            )
        status = json_format.ParseDict(body, status_pb2.Status())
    except (ValueError, json_format.ParseError):
        raise ContractViolation(
            f"HTTP {answer.status} whose body is not google.rpc.Status"
        ) from None
    _check_details(status, answer)
    return int(status.code)


def _out_of_envelope(sent: Input | None, answer: Answer, body: Any) -> Any:
    """Returns the bare status of an error under /v1/, which comes in Google's envelope."""
    google_style = sent is not None and sent.header(b":path").startswith(b"/v1/")
    if google_style and sent and sent.method and "error" not in body:
        raise ContractViolation("an error under /v1/ without the envelope")
    if not isinstance(body, dict) or body.keys() != {"error"} or not (google_style or sent is None):
        return body
    error = dict(body["error"])
    if error["code"] != answer.status:
        raise ContractViolation(f"HTTP {answer.status} whose envelope says {error['code']}")
    error["code"] = code_pb2.Code.Value(error.pop("status"))
    return error


def _check_details(status: status_pb2.Status, answer: Answer) -> None:
    if not status.message:
        raise ContractViolation(f"code {status.code} without a message")
    found: dict[str, Any] = {}
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])
        found[kind.__name__] = detail = kind()
        packed.Unpack(detail)
    if "ErrorInfo" not in found or found["ErrorInfo"].domain != "billing.example.com":
        raise ContractViolation(f"code {status.code} without an ErrorInfo")
    if "RequestInfo" in found:
        said, shown = found["RequestInfo"].request_id, answer.header(b"x-request-id")
        if said != shown:
            raise ContractViolation("RequestInfo and x-request-id differ")


def _check_grpc(sent: Input, answer: Answer) -> Accepted:
    if answer.status != 200:
        raise ContractViolation(f"gRPC with HTTP {answer.status}")
    if not answer.header(b"content-type").startswith("application/grpc"):
        raise ContractViolation(f"gRPC as {answer.header(b'content-type')!r}")
    said = answer.header(b"grpc-status")
    if not said.isdecimal():
        raise ContractViolation(f"grpc-status is {said!r}")
    code = int(said)
    if code and code not in _STATUSES:
        raise ContractViolation(f"gRPC code {code}: {answer.header(b'grpc-message')[:80]}")
    if code == _TIMES_OUT and sent.deadline_s is None:
        raise ContractViolation("gRPC code 4 without a deadline")
    if sent.transport == "grpc" and not answer.header(b"x-request-id"):
        raise ContractViolation(f"gRPC code {code} without x-request-id")
    if code:
        _check_grpc_details(code, answer)
        return Accepted(f"gRPC {code}", None if code == _TIMES_OUT else False)
    _check_message(sent, answer)
    return Accepted("gRPC 0", not protos.is_read(sent.method))


def _check_grpc_details(code: int, answer: Answer) -> None:
    packed = answer.header(b"grpc-status-details-bin")
    if not packed:
        return  # grpcio's or Envoy's own refusal
    status = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
    if status.code != code:
        raise ContractViolation(f"gRPC code {code} with details of code {status.code}")
    _check_details(status, answer)


def _check_message(sent: Input, answer: Answer) -> None:
    body = answer.plain_body
    result: Message = protos.output_type(sent.method)()
    try:
        while body:
            size = int.from_bytes(body[1:5])
            result.ParseFromString(body[5 : 5 + size])
            body = body[5 + size :]
    except DecodeError:
        raise ContractViolation("gRPC code 0 with another message than the method's") from None
