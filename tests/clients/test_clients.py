"""Clients that were not made for this service, each in an environment of its own."""

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.clients.conftest import Reports

_BASICS = (
    "discovery",
    "invite",
    "create",
    "list",
    "suspend",
    "activate",
    "failed operation",
    "cancel",
)
CALLS = {
    "yandexcloud": (*_BASICS, "billing accounts", "retry", "retry interceptor", "key file"),
    "nodejs_sdk": (*_BASICS, "billing accounts", "retry"),
    "google_api_core": (
        "invite",
        "failed operation",
        "cancel",
        "operations client",
        "operations client over REST",
    ),
    "grpc_requests": _BASICS,
    "curl": (*_BASICS, "retry"),
    "connect_es": (
        *("grpc-web", "connect binary", "connect json"),
        *("web: grpc-web", "web: connect binary", "web: connect json"),
        *("stream by grpc-web", "stream by connect binary"),
        *("stream by web: grpc-web", "stream by web: connect binary"),
    ),
}
_OUTPUTS = {
    "yandexcloud": r"customer \w{20} of reseller \w{20}\n",
    "nodejs_sdk": r"customer \w{20} of reseller \w{20}\n",
    "google_api_core": r"customer \w{20} of reseller \w{20}\n",
    "grpc_requests": r"operation \w{20} customer \w{20}\n",
    "curl": r'\{"id":"\w{20}",.*"done":false,.*\}',
}

# The first run installs the clients.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("client", "call"), [(client, call) for client, calls in CALLS.items() for call in calls]
)
def test_a_client_makes_the_call(
    client: str,
    call: str,
    reports: Callable[[str], Reports],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("client", client)
    record_property("call", call)
    said = reports(client)
    assert said[call].ok, said[call].note


@pytest.mark.parametrize("client", CALLS)
def test_each_client_makes_the_calls_listed_here(
    client: str, reports: Callable[[str], Reports]
) -> None:
    assert set(reports(client)) == set(CALLS[client])


@pytest.mark.parametrize("client", _OUTPUTS)
def test_the_readme_snippet_of_a_client_runs_twice(
    client: str, run: Callable[[str, str], "subprocess.CompletedProcess[str]"]
) -> None:
    for _ in range(2):
        ran = run(client, "snippet")
        assert ran.returncode == 0, ran.stderr
        assert re.fullmatch(_OUTPUTS[client], ran.stdout), ran.stdout
