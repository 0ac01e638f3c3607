"""None of the sandbox is in what `serve` and `gateway` run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
from billing.sandbox.v1 import sandbox_service_pb2, sandbox_service_pb2_grpc
from google.protobuf import descriptor_pb2

from tests.service import ROOT, Service, environment, eventually


class Production(NamedTuple):
    """Where `serve` and `gateway` are reached; the database is the sandbox's, so that its token holds."""

    grpc: str
    rest: str
    config: Path
    headers: dict[str, str]


@pytest.fixture(scope="module")
def production(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    env = environment(folder / "var", database_url=f"sqlite:///{service.var}/billing.db")
    rest = f"http://127.0.0.1:{env['BILLING_HTTP_PORT']}"
    with ExitStack() as parts:
        for words in (("serve", "--dev", "--no-worker"), ("gateway",)):
            log = parts.enter_context((folder / f"{words[0]}.txt").open("w"))
            process = parts.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "server", *words],
                    cwd=ROOT,
                    env=env,
                    stdout=log,
                    stderr=log,
                )
            )
            parts.callback(process.terminate)
        made = Production(
            f"127.0.0.1:{env['BILLING_GRPC_PORT']}",
            rest,
            folder / "var" / "envoy" / "envoy.json",
            service.headers,
        )
        eventually(lambda: _answers(made), 60)
        yield made


def _answers(made: Production) -> bool:
    try:
        return httpx.get(f"{made.rest}/v1/operations", headers=made.headers).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/sandbox/v1/resellers"),
        ("GET", "/sandbox/v1/emails"),
        ("GET", "/sandbox/v1/clock"),
        ("POST", "/sandbox/v1/clock:advance"),
        ("POST", "/sandbox/v1:reset"),
    ],
)
def test_its_paths_are_unknown(production: Production, verb: str, path: str) -> None:
    body: dict[str, str] | None = {} if verb == "POST" else None
    answer = httpx.request(verb, production.rest + path, headers=production.headers, json=body)
    assert answer.status_code == 404, answer.text


def test_its_methods_are_unknown(production: Production) -> None:
    metadata = (("authorization", production.headers["authorization"]),)
    for address in (production.grpc, production.rest.removeprefix("http://")):
        with grpc.insecure_channel(address) as channel:
            stub: Any = sandbox_service_pb2_grpc.SandboxServiceStub(channel)
            for method in sandbox_service_pb2.DESCRIPTOR.services_by_name["SandboxService"].methods:
                request = getattr(sandbox_service_pb2, method.input_type.name)()
                with pytest.raises(grpc.RpcError) as refused:
                    getattr(stub, method.name)(request, metadata=metadata)
                assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_its_header_says_nothing(production: Production) -> None:
    headers = {**production.headers, "x-sandbox-fault": "unavailable"}
    assert httpx.get(f"{production.rest}/v1/operations", headers=headers).status_code == 200


def test_envoy_knows_nothing_of_it(production: Production) -> None:
    config = production.config.read_text()
    assert "sandbox" not in config.lower()
    (transcoder,) = set(re.findall(r'"proto_descriptor": *"([^"]+)"', config))
    for file in (Path(transcoder), ROOT / "gen/descriptors.pb", ROOT / "gen/transcoded.pb"):
        found = descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes())
        assert [each.name for each in found.file if "sandbox" in each.package] == []
    for name in ("envoy.yaml", "gen/openapi.json"):
        assert "sandbox/v1" not in (ROOT / name).read_text()


def test_what_serve_imports_has_none_of_it() -> None:
    code = (
        "import sys, server.__main__, server.commands, server.process, server.gateway_runner; "
        "print([name for name in sys.modules if 'sandbox' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
