"""Traces: one for a call and all that it leads to, and nothing at all unless they are on."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.service import ROOT, eventually, running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALL = "yandex.cloud.billing.v1.CustomerService.Invite"
PARENT = "00f067aa0ba902b7"


class Collector:
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self._body()
                if self.path == "/v1/traces":
                    outer.take(body)
                self.send_response(200)
                self.end_headers()

            def _body(self) -> bytes:
                length = self.headers["content-length"]
                if length is not None:
                    return self.rfile.read(int(length))
                body = b""
                while size := int(self.rfile.readline(), 16):  # chunked, as Envoy sends it
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def of(self, trace_id: str) -> dict[str, Span]:
        """Returns the spans of a trace by name."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    threading.Thread(target=started.server.serve_forever, daemon=True).start()
    yield started
    started.server.shutdown()
    started.server.server_close()


# A caller's own ID may have any form.
@pytest.mark.parametrize("own_id", [{}, {"x-request-id": "order-17"}])
def test_a_call_and_all_that_it_leads_to_are_one_trace(
    collector: Collector, tmp_path: Path, own_id: dict[str, str]
) -> None:
    url = f"http://127.0.0.1:{collector.server.server_port}"
    with running(tmp_path / "var", traces_url=url, webhook_allow_private=1) as service:
        webhooks = f"{service.rest}/v1/resellers/{service.resellerId}/webhooks"
        added = httpx.post(webhooks, json={"url": f"{url}/hook"}, headers=service.headers)
        assert added.status_code == 200, added.text
        answer = httpx.post(
            f"{service.rest}/billing/v1/customers:invite",
            json=service.invitation(name="Рога и копыта"),
            headers={**service.headers, **own_id, "traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
        service.finished(answer.json()["id"])
        needed = {
            *("POST /billing/v1/customers:invite", CALL),
            *("transaction create_invitations", "send e-mail", "deliver event"),
        }
        found = eventually(
            lambda: spans if needed <= (spans := collector.of(TRACE)).keys() else None, within_s=60
        )
        gateway = found["POST /billing/v1/customers:invite"]
        assert gateway.parent_span_id.hex() == PARENT
        call = found[CALL]
        assert call.parent_span_id == gateway.span_id
        for name in needed - {gateway.name, CALL}:
            assert found[name].parent_span_id == call.span_id
        log = (service.var / "logs" / "server-0.log").read_text()
        delivered = [line for line in log.splitlines() if "event delivered" in line]
        invitation = "inv" + answer.json()["metadata"]["customerId"][3:]
        for id_ in (answer.json()["id"], added.json()["name"].rpartition("/")[2], invitation):
            assert any(id_ in line for line in delivered)
        told = b"".join(collector.bodies)
        for personal in ("Рога", "example.com", service.token[-20:]):
            assert personal.encode() not in told


def test_what_callers_write_into_headers_is_in_no_span(
    collector: Collector, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{collector.server.server_port}"
    known = "/billing.v1.CustomerService/GetCustomer"
    with running(tmp_path / "var", traces_url=url) as service:
        address = service.rest.removeprefix("http://")
        headers = (
            *service.metadata,
            ("traceparent", f"00-{TRACE}-{PARENT}-01"),
            ("x-client-trace-id", "ostap@example.com"),
        )
        options = [("grpc.default_authority", "ostap.example.com")]
        with grpc.insecure_channel(address, options) as channel:
            for method in ("/ostap@example.com/Get", f"{known}?ostap@example.com"):
                call: Any = channel.unary_unary(method)
                with pytest.raises(grpc.RpcError):
                    call(b"", metadata=headers)
        eventually(lambda: {"grpc", known} <= collector.of(TRACE).keys(), within_s=60)
    assert b"ostap" not in b"".join(collector.bodies)


def test_the_libraries_are_imported_only_when_traces_are_on() -> None:
    look = "import sys, server.process; print('opentelemetry' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
