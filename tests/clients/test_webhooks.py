"""Webhooks against the whole service, with the receivers that docs/ shows."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.environments import HERE, command
from tests.service import ROOT, Service, eventually, free_ports

PAGE = (ROOT / "docs/callers/webhooks.md").read_text()
RECEIVERS = {"webhooks_python": "py", "webhooks_node": "js"}

# The first run installs the packages.
pytestmark = pytest.mark.timeout(600)


@dataclass
class Receiver:
    """A running receiver and what it has printed: type, subject and event of each delivery."""

    output: Path

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.output.read_text().splitlines()]

    def got(self, type_: str) -> list[str] | None:
        """Returns the first event of a type, None before it came."""
        return next((line for line in self.lines() if line[0] == type_), None)


@contextmanager
def receiving(client: str, secret: str, port: int, folder: Path) -> Iterator[Receiver]:
    """Runs a receiver as the page says."""
    words, env = command(client, "receiver")
    output = folder / f"{client}.txt"
    with output.open("w") as out:
        process = subprocess.Popen(
            words,
            env={**os.environ, **env, "WEBHOOK_SECRET": secret, "PORT": str(port)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: _listens(port), 60)
        yield Receiver(output)
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def created(service: Service, port: int) -> dict[str, Any]:
    """Creates a webhook by the page's call, which leads to a port of this machine."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", str(HERE / "curl" / "add_webhook.sh")],
        env={**os.environ, "BILLING_VAR": str(service.var), "PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["secret"], found
    return found


@pytest.mark.parametrize("client", RECEIVERS)
def test_receivers_are_told_what_happens(service: Service, client: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    webhook = created(service, port)
    path = f"{service.rest}/v1/{webhook['name']}"
    with httpx.Client(headers=service.headers) as rest:
        try:
            with receiving(client, webhook["secret"], port, tmp_path) as receiver:
                # The one that came with its creation found nobody, and waits for its next try.
                assert rest.post(f"{path}:test").status_code == 200
                test = eventually(lambda: receiver.got("billing.webhook.test.v1"))
                assert test[1] == "-"
                service.invite()
                invited = eventually(lambda: receiver.got("billing.customer.invited.v1"))
                assert invited[1].startswith(f"resellers/{service.resellerId}/customers/")
                # The same event again changes nothing, and a new secret does not lose one.
                assert rest.post(f"{path}:redeliver", json={"event": invited[2]}).status_code == 200
                tests = [rest.post(f"{path}:test").json()["event"]]
                assert rest.post(f"{path}:rotateSecret").status_code == 200
                tests.append(rest.post(f"{path}:test").json()["event"])
                eventually(lambda: {line[2] for line in receiver.lines()} >= set(tests))

            def sent_twice() -> bool:
                attempts = rest.get(f"{path}/attempts").json()["attempts"]
                events = [each["event"] for each in attempts if each["status"] == 204]
                return events.count(invited[2]) == 2

            assert eventually(sent_twice)
            assert [line[2] for line in receiver.lines()].count(invited[2]) == 1
            assert "lastSuccessTime" in rest.get(path).json()
        finally:
            rest.delete(path)


@pytest.mark.parametrize("client", RECEIVERS)
def test_receivers_refuse_what_is_not_signed(client: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/"
    with receiving(client, "whsec_" + "c2VjcmV0" * 4, port, tmp_path) as receiver:
        headers = {"webhook-id": "evt1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
        assert httpx.post(url, content=b"{}", headers=headers).status_code == 401
        assert not any("billing." in line[0] for line in receiver.lines() if line)


@pytest.mark.parametrize(("client", "language"), RECEIVERS.items())
def test_receivers_are_shown_as_they_are_tested(client: str, language: str) -> None:
    (file,) = (HERE / client).glob("receiver.*")
    text = file.read_text()
    assert f"```{language}\n{text}```" in PAGE
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 20
