"""Clients that were not made for this service, each in an environment of its own."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import Reports
from tests.service import Service

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
    "yandexcloud": (
        *(*_BASICS, "billing accounts", "access bindings"),
        *("retry", "retry interceptor", "key file"),
    ),
    "nodejs_sdk": (*_BASICS, "billing accounts", "access bindings", "retry"),
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
        *(
            f"{what} by {web}{name}"
            for what in ("changes", "stream")
            for web in ("", "web: ")
            for name in ("grpc-web", "connect binary", "connect json")
        ),
    ),
    "grpc_web": ("binary", "text", "stream in text"),
    "chromium": (
        *(
            f"{before}connect-web: {name}{behind}"
            for before, behind in (
                *(("", ""), ("changes by ", ""), ("stream by ", "")),
                ("", ", from another origin"),
            )
            for name in ("grpc-web", "connect binary", "connect json")
        ),
        *("grpc-web: binary", "grpc-web: text", "grpc-web: stream in text"),
    ),
    "gapic": (
        "generate",
        *(
            f"{way}: {name}"
            for way in ("gRPC", "REST")
            for name in (
                *("invite and wait", "failed operation", "list", "update"),
                "delete and take back",
            )
        ),
    ),
    "openapi_python_client": (
        *("generate", "invite and wait", "repeat with a key", "list", "update"),
    ),
    "hey_api": ("generate and compile", "invite and wait", "repeat with a key"),
}
# What `make generators` runs as well: they take minutes, and Java.
GENERATORS = {
    "openapi_typescript": ("generate and compile", "invite and wait", "repeat with a key"),
    "openapi_generator": tuple(
        f"{kind}: {call}"
        for kind in ("python", "typescript-fetch")
        for call in ("generate and compile", "invite and wait", "repeat with a key")
    ),
}
if os.environ.get("GENERATORS"):
    CALLS |= GENERATORS
_OUTPUTS = {
    "yandexcloud": r"customer \w{20} of reseller \w{20}\n",
    "nodejs_sdk": r"customer \w{20} of reseller \w{20}\n",
    "google_api_core": r"invited resellers/\w{20}/customers/\w{20} by resellers/\w{20}/invitations/\w{20}\n",
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
def test_the_snippet_of_a_client_runs_twice(
    client: str, run: Callable[[str, str], "subprocess.CompletedProcess[str]"]
) -> None:
    for _ in range(2):
        ran = run(client, "snippet")
        assert ran.returncode == 0, ran.stderr
        assert re.fullmatch(_OUTPUTS[client], ran.stdout), ran.stdout


def test_the_node_snippet_runs_on_the_oldest_node_that_it_asks_for(
    served: tuple[Service, Path],
) -> None:
    service, _ = served
    (_, script), modules = environments.command("nodejs_sdk", "snippet")
    node = environments.oldest_node()
    env = {"PATH": os.environ["PATH"], "BILLING_VAR": str(service.var), **modules}
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == "v22.15.0\n"
    ran = subprocess.run([node, script], env=env, capture_output=True, text=True, timeout=60)
    assert re.fullmatch(_OUTPUTS["nodejs_sdk"], ran.stdout), ran.stderr


def test_the_node_snippet_says_which_sdk_to_install(tmp_path: Path) -> None:
    # What npm takes on an older Node.js has no part named billing-v1.
    old = tmp_path / "@yandex-cloud" / "nodejs-sdk"
    old.mkdir(parents=True)
    (old / "index.js").write_text("")
    (_, script), _ = environments.command("nodejs_sdk", "snippet")
    env = {"PATH": os.environ["PATH"], "NODE_PATH": str(tmp_path)}
    ran = subprocess.run(["node", script], env=env, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "too old an SDK, without billing: npm install @yandex-cloud/nodejs-sdk@3.2.0"
    ]
