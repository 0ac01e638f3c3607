"""Calls: a channel by TLS, a token with each call, and failures as one line."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from client import errors
from client.credentials import Credentials
from client.errors import USAGE, ClientError
from client.profiles import Profile

Metadata = tuple[tuple[str, str], ...]
M = TypeVar("M", bound=Message)
R = TypeVar("R")

_WITHIN_S = 30.0
# A call that the service could not answer is repeated so often, and after at most this long.
_TRIES = 4
_LONGEST_PAUSE_S = 5.0
_WAIT_S = 10
_OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.enable_retries", 0)]


class Connection:
    """One service, called as one caller for one reseller."""

    def __init__(self, profile: Profile, pause: Callable[[float], None] = time.sleep) -> None:
        self.endpoint = profile.endpoint
        self._reseller = profile.reseller.removeprefix("resellers/")
        self._pause = pause
        self.channel = open_channel(profile)
        self._credentials = Credentials(profile, self.channel)

    @property
    def reseller(self) -> str:
        """The reseller's name, `resellers/{reseller}`."""
        return f"resellers/{self.reseller_id}"

    @property
    def reseller_id(self) -> str:
        """The reseller's ID."""
        if not self._reseller:
            raise ClientError(
                "which reseller? Say --reseller ID, or log in with it: `billing login --reseller ID`",
                USAGE,
            )
        return self._reseller

    def name(self, collection: str, given: str) -> str:
        """Returns the full name of what is given by its ID, or by that name."""
        return given if "/" in given else f"{self.reseller}/{collection}/{given}"

    def call(self, method: Callable[..., R], request: Message, *, key: str = "") -> R:
        """Makes a call, and repeats it while that is safe and the service is away.

        With `key`, an idempotency key, a call that changes something is done once, however often it
        is made; "" makes one.
        """
        key = key or str(uuid.uuid4())
        renewed = False
        for tried in range(1, _TRIES + 1):
            try:
                return self.attempt(method, request, key)
            except grpc.RpcError as error:
                code = error.code()
                if code is grpc.StatusCode.UNAUTHENTICATED and not renewed:
                    renewed = self.renew()
                    if renewed:
                        continue
                wait_s = errors.retry_after_s(error)
                away = code is grpc.StatusCode.UNAVAILABLE and not errors.is_untrusted(error)
                may_repeat = away or wait_s is not None
                if tried == _TRIES or not may_repeat or (wait_s or 0) > _LONGEST_PAUSE_S:
                    raise errors.of_call(error, self.endpoint) from None
                self._pause(0.25 * 2**tried if wait_s is None else wait_s)
        raise AssertionError("unreachable")

    def attempt(self, method: Callable[..., R], request: Message, key: str = "") -> R:
        """Makes a call once, with an idempotency key if it has one; a failure is raised as it is."""
        metadata = self.metadata() + ((("idempotency-key", key),) if key else ())
        return method(request, metadata=metadata, timeout=_WITHIN_S)

    def pages(
        self,
        method: Callable[..., Any],
        request: Any,
        field: str,
        limit: int | None = None,
    ) -> Iterator[list[Any]]:
        """Yields the pages of a list, `limit` resources at most."""
        left = limit
        while left is None or left > 0:
            request.page_size = min(1000, left) if left is not None else 1000
            answer = self.call(method, request)
            found = list(getattr(answer, field))[:left]
            yield found
            if left is not None:
                left -= len(found)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    def stream(self, method: Callable[..., Iterable[M]], request: Message) -> Iterator[M]:
        """Yields what a stream tells, until it ends; a failure is raised as it is."""
        yield from method(request, metadata=self.metadata())

    def wait(
        self, operation: operations_pb2.Operation, tell: Callable[[operations_pb2.Operation], None]
    ) -> operations_pb2.Operation:
        """Returns the operation once it is done; calls `tell` with it each time it is looked at."""
        stub = operations_pb2_grpc.OperationsStub(self.channel)
        while not operation.done:
            tell(operation)
            operation = self.call(
                stub.WaitOperation,
                operations_pb2.WaitOperationRequest(
                    name=operation.name, timeout=Duration(seconds=_WAIT_S)
                ),
            )
        return operation

    def metadata(self) -> Metadata:
        """Returns the headers that say who calls."""
        return (("authorization", f"Bearer {self._credentials.token()}"),)

    def renew(self) -> bool:
        """Has the next call bring a new token; False where there is only that one."""
        return self._credentials.forget()


def open_channel(profile: Profile) -> grpc.Channel:
    """Opens a channel by TLS."""
    return grpc.secure_channel(profile.endpoint, channel_credentials(profile), _OPTIONS)


def channel_credentials(profile: Profile) -> grpc.ChannelCredentials:
    """Returns what the service's certificate is verified by."""
    if not profile.ca:
        return grpc.ssl_channel_credentials()
    try:
        authority = Path(profile.ca).expanduser().read_bytes()
    except OSError as error:
        raise ClientError(f"--ca: {profile.ca} can't be read: {error.strerror}", USAGE) from None
    if b"BEGIN CERTIFICATE" not in authority:
        raise ClientError(f"--ca: {profile.ca} holds no certificate in PEM form", USAGE)
    return grpc.ssl_channel_credentials(authority)
