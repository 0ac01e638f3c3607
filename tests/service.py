"""Starts the whole service as `make run` does, in a folder and on ports of its own."""

import contextlib
import email
import email.message
import email.policy
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import jwt

ROOT = Path(__file__).parent.parent
T = TypeVar("T")
# By which tests report what came back, as a relay does.
RELAY_SECRET = "whsec_bm90IGEgc2VjcmV0LCBmb3IgdGVzdHMgYWxvbmU="


def free_ports(count: int) -> list[int]:
    """Returns ports that nothing listened at a moment ago.

    They are below those that the system gives to outgoing connections: none of these, of which
    tests beside this one make many, takes a port before the server starts that it is for.
    """
    found: set[int] = set()
    while len(found) < count:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(11_000, 32_000)))
            found.add(probe.getsockname()[1])
    return list(found)


@dataclass
class Service:
    """A running service: its process, its folder, and what dev.json says."""

    process: subprocess.Popen[str]
    var: Path
    environment: dict[str, str]
    output: Path
    token: str
    resellerId: str  # noqa: N815
    rest: str
    rest_tls: str
    grpc: str
    ca: str
    mail: str
    smtp: str
    bounces: str
    serviceAccountKey: str = ""  # noqa: N815

    @property
    def headers(self) -> dict[str, str]:
        """What authorizes a REST call."""
        return {"authorization": f"Bearer {self.token}"}

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What authorizes a gRPC call."""
        return (("authorization", f"Bearer {self.token}"),)

    def invitation(self, **changes: Any) -> dict[str, Any]:
        """Returns the body of an Invite that nobody else sends."""
        return {
            "resellerId": self.resellerId,
            "name": "Рога и копыта",
            "invitationEmail": f"ostap-{uuid.uuid4().hex}@example.com",
            "person": {"name": "Остап", "tin": "7707083893"},
            **changes,
        }

    def invite(self, **changes: Any) -> dict[str, Any]:
        """Invites through REST and returns the operation."""
        answer = httpx.post(
            f"{self.rest}/billing/v1/customers:invite",
            json=self.invitation(**changes),
            headers=self.headers,
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def operation(self, operation_id: str) -> dict[str, Any]:
        """Reads an operation through REST."""
        answer = httpx.get(f"{self.rest}/operations/{operation_id}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def finished(self, operation_id: str) -> dict[str, Any]:
        """Waits for an operation to end and returns it."""

        def done() -> dict[str, Any] | None:
            found = self.operation(operation_id)
            return found if found["done"] else None

        return eventually(done)

    def mails_to(self, address: str) -> list[email.message.EmailMessage]:
        """Returns the caught e-mails to an address, oldest first."""
        mails = [
            email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            for file in sorted(Path(self.mail).glob("*.eml"))
        ]
        return [mail for mail in mails if address in str(mail["To"])]

    def command(self, *words: str) -> str:
        """Runs a command line on the service's folder, and returns what it prints."""
        done = command(self.environment, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def assertion(self, key_file: Path | None = None) -> str:
        """Returns what a key of a service account proves it by, signed as SDKs do."""
        key = json.loads((key_file or Path(self.serviceAccountKey)).read_text())
        now = int(time.time())
        claims = {
            "iss": key["service_account_id"],
            "aud": f"https://iam.{self.rest_tls.removeprefix('https://')}/iam/v1/tokens",
            "iat": now,
            "exp": now + 3600,
        }
        return jwt.encode(claims, key["private_key"], "PS256", {"kid": key["id"]})

    def stop(self) -> int:
        """Stops it as Ctrl-C does and returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def command(env: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command line of the server in an environment, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "server", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(env: Mapping[str, str], *words: str) -> str:
    """Returns the one line that a command ends with which is not done."""
    done = command(env, *words)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def eventually(find: Callable[[], T | None], within_s: float = 30.0) -> T:
    """Asks until there is an answer; another process gives no event to wait on."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing within {within_s} s")


def environment(var: Path, **settings: object) -> dict[str, str]:
    """Returns the environment of a service that shares nothing with others."""
    names = ["HTTP", "HTTPS", "GRPC", "SMTP", "BOUNCE", "METRICS"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    return {
        **clean,
        "BILLING_VAR": str(var),
        **{f"BILLING_{name}_PORT": str(port) for name, port in ports.items()},
        **{f"BILLING_{name.upper()}": str(value) for name, value in settings.items()},
    }


@contextlib.contextmanager
def running(var: Path, env: dict[str, str] | None = None, **settings: object) -> Iterator[Service]:
    """Runs the service until the block ends; `settings` are BILLING_ variables in lower case."""
    env = env or environment(var, **settings)
    var.mkdir(parents=True, exist_ok=True)
    output = var / "output.txt"
    with output.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "dev"],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    handover = var / "dev.json"

    def ready() -> dict[str, str] | None:
        assert process.poll() is None, output.read_text()
        return json.loads(handover.read_text()) if handover.exists() else None

    try:
        yield Service(process, var, env, output, **eventually(ready, 60))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
