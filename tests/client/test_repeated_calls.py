"""Calls that the service could not answer are repeated when it says, a few times."""

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2, status_pb2

from client.connection import Connection
from client.errors import ClientError
from client.profiles import Profile


class _Refusal(grpc.RpcError):
    """RESOURCE_EXHAUSTED, to be repeated after so many milliseconds; None: it does not say."""

    def __init__(self, retry_ms: int | None) -> None:
        status = status_pb2.Status(code=8, message="slow down")
        if retry_ms is not None:
            delay = Duration()
            delay.FromMilliseconds(retry_ms)
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        self._metadata = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.RESOURCE_EXHAUSTED

    def details(self) -> str:
        return "slow down"

    def trailing_metadata(self) -> Any:
        return self._metadata


@pytest.mark.parametrize(
    ("refusals", "paused_s"),
    [([25, 0, 1], [0.025, 0.0, 0.001]), ([0, 0, 0], [0.0] * 3)],
)
def test_a_call_is_repeated_when_the_service_says(
    refusals: list[int], paused_s: list[float]
) -> None:
    left, pauses = list(refusals), list[float]()

    def method(_: Empty, **__: object) -> str:
        if left:
            raise _Refusal(left.pop(0))
        return "answered"

    made = Connection(Profile(endpoint="localhost:1", token="t"), pauses.append)
    assert made.call(method, Empty()) == "answered"
    assert pauses == paused_s
    made.channel.close()


@pytest.mark.parametrize("retry_ms", [None, 6_000])
def test_a_call_that_is_not_to_be_repeated_soon_is_not(retry_ms: int | None) -> None:
    pauses = list[float]()

    def method(_: Empty, **__: object) -> str:
        raise _Refusal(retry_ms)

    made = Connection(Profile(endpoint="localhost:1", token="t"), pauses.append)
    with pytest.raises(ClientError):
        made.call(method, Empty())
    assert pauses == []
    made.channel.close()
