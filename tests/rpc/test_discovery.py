"""yandex.cloud.endpoint.ApiEndpointService."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from yandex.cloud.endpoint import api_endpoint_service_pb2, api_endpoint_service_pb2_grpc

from server.config import Settings, SettingsError
from server.settings_sources import read_settings
from tests.rpc.conftest import Api

SERVICES = ["billing", "endpoint", "iam", "operation"]


def stub(api: Api) -> Any:
    return api_endpoint_service_pb2_grpc.ApiEndpointServiceStub(api.channel)


async def addresses(api: Api, came_to: str = "") -> set[str]:
    """Returns the addresses that are given to a caller without credentials."""
    metadata = (("x-forwarded-host", came_to),) if came_to else ()
    listed = await stub(api).List(
        api_endpoint_service_pb2.ListApiEndpointsRequest(), metadata=metadata
    )
    assert [endpoint.id for endpoint in listed.endpoints] == SERVICES
    for service in SERVICES:
        one = await stub(api).Get(
            api_endpoint_service_pb2.GetApiEndpointRequest(api_endpoint_id=service),
            metadata=metadata,
        )
        assert one in listed.endpoints
    return {endpoint.address for endpoint in listed.endpoints}


@pytest.mark.parametrize(
    ("came_to", "address"),
    [
        ("", "localhost:8443"),
        ("127.0.0.1:9443", "127.0.0.1:9443"),
        ("[::1]:9443", "[::1]:9443"),
        ("billing.example", "billing.example:443"),
        ("billing.example:1 \" onload='x'", "localhost:8443"),
    ],
)
async def test_callers_are_sent_where_they_came_to(api: Api, came_to: str, address: str) -> None:
    assert await addresses(api, came_to) == {address}


class TestWithSetting:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(var=tmp_path, endpoint="billing.example:443")

    async def test_the_set_address_is_given_to_all_callers(self, api: Api) -> None:
        assert await addresses(api) == {"billing.example:443"}
        assert await addresses(api, "127.0.0.1:9443") == {"billing.example:443"}


@pytest.mark.parametrize("address", ["billing.example", "https://billing.example:443", "a:b", ":1"])
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BILLING_ENDPOINT", address)
    with pytest.raises(SettingsError, match="BILLING_ENDPOINT"):
        read_settings()


async def test_an_unknown_service_is_not_found(api: Api) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(api).Get(
            api_endpoint_service_pb2.GetApiEndpointRequest(api_endpoint_id="compute")
        )
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "null",
        "app.example.com",
        "https://app.example.com/",
        "https://App.example.com",
        "https://*.example.com",
        "https://app.example.com:443",
        "http://localhost:80",
        "https://app.example.com,ftp://example.com",
        "https://a'] || true || ['",
    ],
)
def test_origins_that_no_browser_sends_are_refused(
    monkeypatch: pytest.MonkeyPatch, origins: str
) -> None:
    monkeypatch.setenv("BILLING_CORS_ORIGINS", origins)
    with pytest.raises(SettingsError, match="BILLING_CORS_ORIGINS: list origins as browsers send"):
        read_settings()


def test_origins_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_CORS_ORIGINS", "https://app.example.com, http://[::1]:3000")
    assert read_settings().origins == ["https://app.example.com", "http://[::1]:3000"]


async def test_a_page_of_less_than_nothing_is_refused(api: Api) -> None:
    """As by all lists; what the size is else has no effect."""
    ask = api_endpoint_service_pb2.ListApiEndpointsRequest
    assert len((await stub(api).List(ask(page_size=100_000))).endpoints) == len(SERVICES)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(api).List(ask(page_size=-1))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "page_size" in (refused.value.details() or "")
