"""Traces: one for a call and all that it leads to, and nothing at all unless they are on."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.service import ROOT, eventually, running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector:
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") is None:
                    outer.take(body)
                self.send_response(200)
                self.end_headers()

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


def test_a_call_its_transaction_and_its_e_mail_are_one_trace(
    collector: Collector, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{collector.server.server_port}"
    with running(tmp_path / "var", traces_url=url) as service:
        answer = httpx.post(
            f"{service.rest}/billing/v1/customers:invite",
            json=service.invitation(name="Рога и копыта"),
            headers={**service.headers, "traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
        service.finished(answer.json()["id"])
        found = eventually(
            lambda: spans if len(spans := collector.of(TRACE)) >= 3 else None, within_s=30
        )
        call = found["yandex.cloud.billing.v1.CustomerService.Invite"]
        assert call.parent_span_id.hex() == PARENT
        for name in ("transaction create_invitations", "send e-mail"):
            assert found[name].parent_span_id == call.span_id
        told = b"".join(collector.bodies)
        for personal in ("Рога", "example.com", service.token[-20:]):
            assert personal.encode() not in told


def test_the_libraries_are_imported_only_when_traces_are_on() -> None:
    look = "import sys, server.process; print('opentelemetry' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
