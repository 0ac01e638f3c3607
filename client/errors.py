"""What goes wrong, in one line that says what to do next, and the exit code that tells it to scripts."""

import os

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

REFUSED = 1
USAGE = 2
AWAY = 3
NOT_LOGGED_IN = 4
INTERRUPTED = 130
UNREAD = 141

AWAY_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class ClientError(Exception):
    """A command can't go on; the text is one line."""

    def __init__(self, message: str, exit_code: int = REFUSED) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


def of_call(error: grpc.RpcError, endpoint: str) -> ClientError:
    """Returns what a failed call says, with the fields that are wrong."""
    code = error.code()
    text = description(error, endpoint)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        given = "BILLING_CLI_TOKEN" if os.environ.get("BILLING_CLI_TOKEN") else ""
        todo = f"renew {given}, or unset it" if given else "log in again with `billing login`"
        return ClientError(f"{text}: {todo}", NOT_LOGGED_IN)
    if code in AWAY_CODES:
        lasts = details(error).reason or is_untrusted(error)
        return ClientError(text + ("" if lasts else "; the command can be repeated"), AWAY)
    return ClientError(text)


def description(error: grpc.RpcError, endpoint: str) -> str:
    """Returns what a failed call says, without what to do next."""
    code, text = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return f"{endpoint} does not take your credentials"
    found = details(error)
    if is_untrusted(error):
        return (
            f"the certificate of {endpoint} can't be verified: name the authority that signed it with "
            "--ca FILE"
        )
    if code in AWAY_CODES and not found.reason:
        return _away(text, endpoint)
    more = [f"{field}: {why}" for field, why in found.violations]
    more += [role for role in found.metadata.get("roles", "").split(",") if role]
    missing = "; ".join(each for each in more if each not in text)
    full = f"{text.rstrip('.')}: {missing}" if missing else text
    reason = f" [{found.reason}]" if found.reason else ""
    request = f" (request {found.request_id})" if found.request_id and not more else ""
    return f"{full or code.name}{reason}{request}"


def is_untrusted(error: grpc.RpcError) -> bool:
    """Tells whether the service's certificate can't be verified, which no repetition mends."""
    text = (error.details() or "").lower().replace("_", " ")
    return error.code() in AWAY_CODES and "certificate verify failed" in text


def retry_after_s(error: grpc.RpcError) -> float | None:
    """Returns how many seconds to wait before the call is repeated, where it says so."""
    return details(error).retry_s


class Details:
    """What an error says to programs."""

    def __init__(self) -> None:
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.request_id = ""
        # Fields that are wrong, and why.
        self.violations: list[tuple[str, str]] = []
        self.retry_s: float | None = None


def details(error: grpc.RpcError) -> Details:
    """Returns what an error says to programs."""
    found = Details()
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:
        status = None
    for packed in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        request = error_details_pb2.RequestInfo()
        if packed.Unpack(info):
            found.reason, found.metadata = info.reason, dict(info.metadata)
        elif packed.Unpack(bad):
            found.violations += [(each.field, each.description) for each in bad.field_violations]
        elif packed.Unpack(retry):
            found.retry_s = retry.retry_delay.ToMilliseconds() / 1000
        elif packed.Unpack(request):
            found.request_id = request.request_id
    return found


def _away(text: str, endpoint: str) -> str:
    lower = text.lower()
    if "ssl" in lower or "handshake" in lower:
        return f"{endpoint} speaks no TLS that can be agreed on; is that the right port?"
    if "name resolution" in lower or "dns" in lower or "resolve" in lower:
        return f"there is no host of the name {endpoint}: look at --endpoint or at the profile"
    if "deadline" in lower:
        return f"{endpoint} did not answer in time"
    return f"{endpoint} does not answer: is it the right address, and does the service run?"
